"""The checker of all fault tests: it applies the invariants I1 to I35 to a history and a snapshot of the store."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos import (
    counters,
    desk_ends,
    desk_rules,
    desk_times,
    edits,
    feed_rules,
    invariants,
    realtime,
    stream_rules,
    turn_rules,
)
from chaos.case import Allowances, Case, Violation
from chaos.history import Operation
from chaos.snapshot import Snapshot

DESK_RULES = (*desk_rules.RULES, *desk_ends.RULES, *desk_times.RULES)
RULES = (*invariants.RULES, *realtime.RULES, *edits.RULES, *counters.RULES, *DESK_RULES, *turn_rules.RULES)
FEED_RULES = (*feed_rules.RULES, *stream_rules.RULES)


@dataclass
class Verdict:
    """What the checker found, and the snapshot that it looked at."""

    snapshot: Snapshot
    violations: list[Violation] = field(default_factory=list)
    acknowledged: int = 0
    unknown: int = 0
    lost: list[Operation] = field(default_factory=list)
    doubled: int = 0
    inconsistent: int = 0


def check(
    operations: Sequence[Operation],
    snapshot: Snapshot,
    allowances: Allowances | None = None,
    *,
    leaks: Sequence[str] = (),
    unhandled: Sequence[str] = (),
) -> Verdict:
    """Apply every invariant.

    Two are applied here, because logs are their evidence. I14: no log and no error shows the text of a message;
    ``leaks`` are those that do. I12: every error reaches a caller; ``unhandled`` are exceptions that did not.
    """
    case = Case(operations, snapshot, allowances or Allowances())
    verdict = Verdict(snapshot, acknowledged=sum(op.outcome == "ok" for op in operations))
    verdict.unknown = sum(op.outcome == "unknown" for op in operations)
    for rule in (*RULES, *FEED_RULES):
        verdict.violations += rule(case)
    for leak in leaks:
        verdict.violations.append(Violation("I14", "", f"a log or an error shows the text of a message: {leak}"))
    verdict.violations += [Violation("I12", "", f"an exception that nobody handled: {error}") for error in unhandled]
    verdict.lost = case.lost
    verdict.doubled = case.doubled
    verdict.inconsistent = len({v.session for v in verdict.violations if v.invariant in ("I5", "I6")})
    return verdict
