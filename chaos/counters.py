"""The invariants of counters in metadata (I20) and of sessions that are given to other users (I8)."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from chaos.case import Case, Violation
from chaos.history import Operation
from chaos.realtime import Write, end_of, values_left


class _Shown(NamedTuple):
    """A number that a caller was given or shown."""

    begun: float
    ended: float
    number: int
    who: str


def _each_increment_once(case: Case) -> Iterator[Violation]:
    """I20: a counter has each acknowledged increment once, and one of unknown outcome at most once."""
    if case.allowances.lossy:
        return
    increments: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for operations in case.operations_of.values():
        for op in operations:
            if op.kind == "increment":
                increments[op.session, op.new].append(op)
    for (session, name), steps in increments.items():
        for shown in _numbers_shown(case, session, name, steps):
            least = sum(op.by for op in steps if end_of(op) < shown.begun)
            most = sum(op.by for op in steps if op.begun <= shown.ended)
            if not least <= shown.number <= most:
                text = f"{shown.who} {name}={shown.number}; {least} to {most} were added"
                yield Violation("I20", session, text)
        given = [op.count for op in steps if op.outcome == "ok"]
        if len(set(given)) != len(given):
            yield Violation("I20", session, f"the same number of {name} was given to two increments")


def _numbers_shown(case: Case, session: str, name: str, steps: Sequence[Operation]) -> Iterator[_Shown]:
    for op in steps:
        if op.outcome == "ok":
            yield _Shown(op.begun, end_of(op), op.count, f"{op.writer} was given")
    if not case.allowances.stale_reads and not case.allowances.unconfirmed_reads:
        for op in case.operations_of[session]:
            if op.kind == "get" and op.outcome == "ok" and op.count:
                yield _Shown(op.begun, end_of(op), op.metadata.get(name, 0), f"{op.writer} was shown")
    if session in case.snapshot.visible:
        yield _Shown(inf, inf, case.snapshot.visible[session].metadata.get(name, 0), "at the end it has")


def _an_assigned_session_is_in_one_list(case: Case) -> Iterator[Violation]:
    """I8: a session is in the list of the user to whom it was assigned last, and in no other."""
    if case.allowances.lossy:
        return
    owners: dict[str, list[Write]] = {
        op.session: [] for op in case.history if op.kind == "assign" and op.session not in case.ended
    }
    for op in case.history:
        if op.kind in ("create", "assign") and op.session in owners and op.outcome != "failed":
            owners[op.session].append((op, op.user))
    users = {user for writes in owners.values() for _, user in writes}
    if not case.allowances.stale_reads:
        for op in case.history:
            if op.kind == "list" and op.outcome == "ok" and op.user in users:
                yield from _as_assigned(owners, op.user, set(op.ids), op)
    end = Operation(-1, "list", "", "the observer", inf)
    for user in users:
        yield from _as_assigned(owners, user, case.snapshot.listed.get(user, set()), end)
    for session in owners:
        times = sum(session in case.snapshot.listed.get(user, ()) for user in users)
        if session in case.snapshot.visible and times != 1:
            yield Violation("I8", session, f"it is in {times} lists")


def _as_assigned(owners: dict[str, list[Write]], user: str, listed: set[str], op: Operation) -> Iterator[Violation]:
    for session, writes in owners.items():
        possible = set(values_left(writes, op.begun, end_of(op)))
        if user not in possible and session in listed:
            text = f"{op.writer} found it in the list of {user}; it belongs to {' or '.join(sorted(possible))}"
            yield Violation("I8", session, text)
        if possible == {user} and session not in listed and end_of(writes[0][0]) < op.begun:
            yield Violation("I8", session, f"{op.writer} did not find it in the list of {user}")


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (_each_increment_once, _an_assigned_session_is_in_one_list)
