"""One judge for every proof: the invariants I1 to I16 over a history and a look at the store."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos import invariants, realtime
from chaos.case import Case, Terms, Violation
from chaos.look import Look
from chaos.recorder import Call


@dataclass
class Verdict:
    """What the checker found, and how much of it; and what it looked at."""

    look: Look
    violations: list[Violation] = field(default_factory=list)
    acknowledged: int = 0
    unknown: int = 0
    lost: list[Call] = field(default_factory=list)
    doubled: int = 0
    torn: int = 0


def check(
    calls: Sequence[Call],
    look: Look,
    terms: Terms | None = None,
    *,
    leaks: Sequence[str] = (),
    unheard: Sequence[str] = (),
) -> Verdict:
    """Judge all of it. ``leaks`` are log lines that show a text, ``unheard`` errors that nobody caught."""
    case = Case(calls, look, terms or Terms())
    verdict = Verdict(look, acknowledged=sum(call.outcome == "ok" for call in calls))
    verdict.unknown = sum(call.outcome == "unknown" for call in calls)
    for rule in (*invariants.RULES, *realtime.RULES):
        verdict.violations += rule(case)
    verdict.violations += [Violation("I14", "", f"a log or an error shows a text: {leak}") for leak in leaks]
    verdict.violations += [Violation("I12", "", f"an error that nobody caught: {error}") for error in unheard]
    verdict.lost = case.lost
    verdict.doubled = case.doubled
    verdict.torn = len({v.session for v in verdict.violations if v.invariant in ("I5", "I6")})
    return verdict
