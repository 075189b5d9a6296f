"""The invariants that depend on real time: what was acknowledged before a call began must be visible to that call.

Calls that overlap in time may have happened in either order. Each rule allows every order that the times permit.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Any

from chaos.case import EDITS, Case, Violation
from chaos.history import Operation

# These move the deadline of a session. Others that may: retract and pop, which do not if there is nothing to change.
SLIDES = frozenset(("create", "append", "record", "switch", "extend", "set_ttl", "replace", "clear", "rewrite"))
MAY_SLIDE = SLIDES | EDITS
CLOCKS = 0.05  # seconds by which the clocks of a recorder and of a server may have drifted apart
FIRST_AGENT = "ai"

Write = tuple[Operation, Any]  # an operation, and the value that it wrote


def end_of(op: Operation) -> float:
    """When the operation was over. One of unknown outcome may be done at any time after it began."""
    return op.ended if op.outcome == "ok" and op.ended is not None else inf


def values_left(writes: Iterable[Write], begun: float = inf, ended: float = inf) -> list[Any]:
    """The values that a reader may see between ``begun`` and ``ended``.

    These are the values that no acknowledged write had replaced before the reader began.
    """
    known = [(op, value) for op, value in writes if op.begun <= ended]
    latest = max((op.begun for op, _ in known if end_of(op) < begun), default=-inf)
    return [value for op, value in known if end_of(op) >= latest]


class _Highest:
    """The highest number that any caller had been given before a moment."""

    def __init__(self, given: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(given)
        self._moments = [moment for moment, _ in ordered]
        self._numbers = list(accumulate((number for _, number in ordered), max, initial=0))

    def before(self, moment: float) -> int:
        return self._numbers[bisect_left(self._moments, moment)]


def a_read_shows_what_was_acknowledged(case: Case) -> Iterator[Violation]:
    """I15: a read shows every message that was acknowledged, or shown to any caller, before the read began."""
    if case.allowances.lossy or case.allowances.stale_reads:
        return
    for session, operations in case.operations_of.items():
        if session in case.ended:
            continue
        messages = {op.id: op for op in reversed(operations) if op.id and op.outcome == "ok"}
        done = sorted(messages.values(), key=end_of)
        written = _Highest((end_of(op), max(number, op.seq or 0)) for number, op in enumerate(done, 1))
        reads = [op for op in operations if op.kind in ("history", "get") and op.outcome == "ok"]
        shown = _Highest((end_of(read), read.seq or 0) for read in reads)
        for read in reads:
            least = written.before(read.begun)
            if not case.allowances.unconfirmed_reads:
                least = max(least, shown.before(read.begun))
            if (read.seq or 0) < least:
                text = f"{read.writer} was shown messages up to {read.seq or 0}; {least} were known before it asked"
                yield Violation("I15", session, text)
            wanted = min(read.limit, read.seq or 0, case.allowances.bound)
            if read.kind == "history" and read.limit and read.count != wanted:
                text = f"{read.writer} asked for {read.limit} messages and was given {read.count} of {read.seq}"
                yield Violation("I15", session, text)


def each_switch_begins_one_epoch(case: Case) -> Iterator[Violation]:
    """I11: each switch begins exactly one epoch, and the last switch decides who the agent is."""
    if case.allowances.lossy:
        return
    for session, visible in case.snapshot.visible.items():
        if session not in case.created or session in case.handled:
            continue
        switches = [op for op in case.operations_of.get(session, ()) if op.kind == "switch"]
        by_note = {op.id: op for op in switches if op.id}
        noted = [by_note[message.id] for message in visible.messages if message.id in by_note]
        done = sum(op.outcome == "ok" or op in noted for op in switches)
        trimmed = visible.count > len(visible.messages)
        most = len(switches) if trimmed else done
        if not done <= visible.epoch <= most:
            yield Violation("I11", session, f"its epoch is {visible.epoch} after {done} to {most} switches")
        ranked = noted if not trimmed and len(noted) == done else []
        for epoch, op in enumerate(ranked, 1):
            if op.epoch not in (None, epoch):
                yield Violation("I11", session, f"the {epoch}. switch began epoch {op.epoch}")
                break
        agents = [FIRST_AGENT, *(op.agent for op in ranked)]
        if len(ranked) == len(switches) and all(agents) and visible.agent != agents[-1]:
            yield Violation("I11", session, f"{visible.agent} is its agent; the last switch was to {agents[-1]}")


def a_session_is_shown_as_it_was_written(case: Case) -> Iterator[Violation]:
    """I16: every read, and the store at the end, shows the ttl and the metadata that were written last."""
    if case.allowances.lossy:
        return
    for session, operations in case.operations_of.items():
        if session not in case.created:
            continue
        for read in operations:
            if read.kind == "get" and read.outcome == "ok" and read.count and not case.allowances.stale_reads:
                where = f"{read.writer} was shown"
                yield from _as_written(session, operations, read.metadata, read.ttl, where, read.begun, end_of(read))
                if session not in case.handled:
                    yield from _in_its_epoch(session, operations, read)
        visible, stored = case.snapshot.visible.get(session), case.snapshot.stored.get(session)
        if visible is not None and stored is not None:
            ttl = visible.ttl if session in case.handled else stored.ttl
            yield from _as_written(session, operations, visible.metadata, ttl, "it has")


def _as_written(
    session: str,
    operations: Sequence[Operation],
    metadata: dict[str, Any],
    ttl: int | None,
    where: str,
    begun: float = inf,
    ended: float = inf,
) -> Iterator[Violation]:
    """I16: the ttl and each entry of the metadata have a value that was written last."""
    ttls = values_left(((op, op.ttl) for op in operations if op.kind in ("create", "set_ttl")), begun, ended)
    if ttl not in ttls:
        yield Violation("I16", session, f"{where} a ttl of {ttl}; asked for was {_either(ttls)}")
    writes = [op for op in operations if op.kind in ("create", "update") or (op.kind == "append" and op.metadata)]
    counters = {op.new for op in operations if op.kind == "increment"}  # counters.py has the rule for them
    for name in sorted({name for op in writes for name in op.metadata} | metadata.keys() - counters):
        named = [(c, c.metadata.get(name)) for c in writes if c.kind == "create" or name in c.metadata]
        values = values_left(named, begun, ended)
        if metadata.get(name) not in values:
            text = f"{where} the metadata {name}={metadata.get(name)!r}; written was {_either(values)}"
            yield Violation("I16", session, text)


def _in_its_epoch(session: str, operations: Sequence[Operation], read: Operation) -> Iterator[Violation]:
    """I11: a reader is shown an epoch that had begun, and none older than those acknowledged before the read."""
    switches = [op for op in operations if op.kind == "switch" and op.begun <= end_of(read)]
    least = max((op.epoch or 0 for op in switches if end_of(op) < read.begun), default=0)
    if not least <= (read.epoch or 0) <= len(switches):
        text = f"{read.writer} was shown epoch {read.epoch}; {least} to {len(switches)} had begun"
        yield Violation("I11", session, text)


def _either(values: Iterable[Any]) -> str:
    return " or ".join(sorted({repr(value) for value in values})) or "nothing"


def a_deadline_is_ttl_after_the_last_activity(case: Case) -> Iterator[Violation]:
    """I16: the deadline of a session is its ttl after the last activity."""
    zero = case.snapshot.zero
    if zero is None or case.allowances.lossy:
        return
    for session, stored in case.snapshot.stored.items():
        deadline = stored.deadlines.get("meta")
        slides = [op for op in case.operations_of.get(session, ()) if op.kind in MAY_SLIDE]
        if deadline is None or stored.ttl is None or session not in case.created or session in case.handled:
            continue  # a sweep may have moved the deadline of one that the desk has handled
        last = (deadline - zero) / 1000 - stored.ttl  # the time of the last activity, by the recorder's clock
        earliest = max(op.begun for op in slides if op.outcome == "ok" and (op.kind in SLIDES or op.seqs))
        latest = max(map(end_of, slides))
        if not earliest - CLOCKS <= last <= latest + CLOCKS:
            text = f"its deadline is {last - earliest:+.2f} s from {stored.ttl} s after its last activity"
            yield Violation("I16", session, text)


def counts_and_lists_are_exact(case: Case) -> Iterator[Violation]:
    """I8: at every moment a count or a list has all sessions that live throughout the call, and no dead session."""
    if case.allowances.lossy or case.allowances.stale_reads:
        return
    assigned = {op.session for op in case.history if op.kind == "assign"}
    owners = {op.user for op in case.history if op.session in assigned}  # counters.py has the rule for their lists
    users = {op.user for op in case.history if op.kind == "list"} - owners
    lives = [
        (operations, _Life(operations))
        for operations in case.operations_of.values()
        if any(c.kind == "create" for c in operations)
    ]
    of_user: dict[str, list[_Life]] = {user: [] for user in users}
    for operations, life in lives:
        user = next(op.user for op in operations if op.kind == "create")
        if user in of_user:
            of_user[user].append(life)
    everybody = _Population([life for _, life in lives])
    by_user = {user: _Population(members) for user, members in of_user.items()}
    for op in case.history:
        if op.kind not in ("count", "list") or op.outcome != "ok" or op.user in owners - {""}:
            continue
        least, most = (everybody if op.kind == "count" else by_user[op.user]).between(op.begun, end_of(op))
        if not least <= op.count <= most:
            what = "counted" if op.kind == "count" else f"in the list of {op.user}"
            yield Violation("I8", "", f"{op.writer}: {op.count} {what}; {least} to {most} lived")


class _Life:
    """From when until when a session certainly lived, and from when until when it may have lived."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        creations = [op for op in operations if op.kind == "create"]
        deletes = [op for op in operations if op.kind == "delete"]
        asked = [op for op in operations if op.kind in ("create", "set_ttl")]
        ttls = [inf if op.ttl is None else op.ttl for op in asked]
        self.sure_from = min(map(end_of, creations))
        self.sure_until = min(
            [op.begun for op in deletes] + [op.begun + ttl - CLOCKS for op, ttl in zip(asked, ttls, strict=True)]
        )
        self.maybe_from = min(op.begun for op in creations)
        last = max(end_of(op) for op in operations if op.kind in MAY_SLIDE)
        self.maybe_until = min([end_of(op) for op in deletes] + [last + max(ttls) + CLOCKS])


class _Population:
    """How many sessions lived at a time."""

    def __init__(self, lives: Sequence[_Life]) -> None:
        def moments(of: Callable[[_Life], float]) -> list[float]:
            return sorted(map(of, lives))

        lives = list(lives)
        self._maybe_from, self._maybe_until = moments(lambda x: x.maybe_from), moments(lambda x: x.maybe_until)
        lives = [life for life in lives if life.sure_from < life.sure_until]
        self._sure_from, self._sure_until = moments(lambda x: x.sure_from), moments(lambda x: x.sure_until)

    def between(self, begun: float, ended: float) -> tuple[int, int]:
        """The lowest and the highest number that a call from ``begun`` until ``ended`` may count."""
        least = bisect_left(self._sure_from, begun) - bisect_right(self._sure_until, ended)
        most = bisect_right(self._maybe_from, ended) - bisect_left(self._maybe_until, begun)
        return max(least, 0), most


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    a_read_shows_what_was_acknowledged,
    each_switch_begins_one_epoch,
    a_session_is_shown_as_it_was_written,
    a_deadline_is_ttl_after_the_last_activity,
    counts_and_lists_are_exact,
)
