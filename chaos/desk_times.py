"""The invariants I26 and I27, in real-time order: which session a claim gives, and when an operator lapses."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import NamedTuple

from chaos.case import Case, Violation
from chaos.desk_case import HandledSession, handled_sessions
from chaos.desk_transcript import Stage
from chaos.history import Operation
from chaos.realtime import CLOCKS, end_of

LEASE = 61.0  # seconds for which a claim that did not end may keep a session from the others


class _Waiting(NamedTuple):
    """A session that certainly waited in the queue, from the end of one step until the begin of the next."""

    session: str
    begun: float
    ended: float
    place: tuple[int, float]
    team: str | None


def _claims_come_in_order(case: Case) -> Iterator[Violation]:
    """I26: a claim gives no session while another one of its teams waits that has a higher priority, or waits longer.

    It is judged by those that waited throughout the claim, and that no other claim may have leased. Nor does an entry
    count that no replica had.
    """
    if case.allowances.unconfirmed_reads:
        return
    waiting = [each for handled in handled_sessions(case) for each in _find_waiting(handled)]
    claims = [op for op in case.history if op.kind == "claim" and op.outcome != "failed"]
    for op in claims:
        if op.outcome == "unknown":
            continue
        for other in waiting:
            if _comes_before(other, op) and not any(_may_keep(claim, other, op) for claim in claims):
                text = f"{op.writer} was given {op.session or 'nothing'}, and this one came before"
                yield Violation("I26", other.session, text)


def _may_keep(claim: Operation, other: _Waiting, judged: Operation) -> bool:
    """Whether this claim may have leased a session without being given it: others had changed it by the end."""
    if claim is judged or claim.begun >= end_of(judged):
        return False
    if claim.outcome == "unknown":
        return claim.begun + LEASE > judged.begun
    return end_of(claim) > other.ended


def _find_waiting(handled: HandledSession) -> Iterator[_Waiting]:
    stages = handled.transcript.stages
    for number, stage in enumerate(stages):
        op = handled.op_of.get(stage.message.seq)
        if stage.state != "waiting" or op is None or not op.told.get("waiting_since"):
            continue
        ended = inf
        if number + 1 < len(stages):
            following = handled.op_of.get(stages[number + 1].message.seq)
            ended = handled.moment(stages[number + 1]) - CLOCKS if following is None else following.begun
        place = -stage.priority, op.told["waiting_since"]
        yield _Waiting(handled.transcript.session, end_of(op), ended, place, stage.team)


def _comes_before(other: _Waiting, claim: Operation) -> bool:
    if not other.begun < claim.begun < end_of(claim) < other.ended:
        return False
    if claim.asked["teams"] and other.team not in claim.asked["teams"]:
        return False
    return not claim.session or other.place < (-claim.told["priority"], claim.told["waiting_since"])


def _by_operator(case: Case, *kinds: str) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for op in case.history:
        if op.kind in kinds and op.outcome == "ok":
            found[op.writer].append(op)
    return found


_SIGNS = ("claim", "take over", "answer", "note", "transfer", "decline", "hand back", "seen")


def _only_the_absent_lapse(case: Case) -> Iterator[Violation]:
    """I27: a session of an operator who gives signs does not go back to the queue; each lapse is counted once."""
    lists = case.snapshot.desk
    if lists is None or case.allowances.lossy:
        return
    signs = _by_operator(case, *_SIGNS)
    for handled in handled_sessions(case):
        for number, stage in enumerate(handled.transcript.stages):
            if stage.event == "lapsed":
                operator = stage.message.marker.get("operatorId", "")
                longest = _longest_absence(signs[operator], _had_since(handled, number), handled.moment(stage))
                if longest < lists.lease - CLOCKS:
                    text = f"{operator} lapsed at {stage.message.seq}, and was away for {longest:.2f} s at most"
                    yield Violation("I27", handled.transcript.session, text)
    given = sum(op.kind == "transfer" and bool(op.asked.get("to")) for op in case.history)
    most = given + sum(_absences(signs[operator], lists.lease - CLOCKS) for operator in signs)
    if lists.lapses > most:
        yield Violation("I27", "", f"{lists.lapses} lapses were counted; {most} may have happened")


def _had_since(handled: HandledSession, number: int) -> float:
    """From when on the operator who lapses in this stage had the session."""
    stages: Sequence[Stage] = handled.transcript.stages
    operator = stages[number].message.marker.get("operatorId")
    while number > 1 and stages[number - 1].operator == operator:
        number -= 1
    op = handled.op_of.get(stages[number].message.seq)
    return handled.moment(stages[number]) if op is None else op.begun


def _longest_absence(signs: Sequence[Operation], begun: float, ended: float) -> float:
    """Between two signs that are certain, at most. The one before the session was given counts, too."""
    before = [op for op in signs if op.begun <= begun][-1:]
    within = [op for op in signs if begun < op.begun < ended]
    starts = [op.begun for op in (*before, *within)] if before else [-inf, *(op.begun for op in within)]
    ends = [*(min(end_of(op), ended) for op in within), ended]
    return max(end - start for start, end in zip(starts, ends, strict=True))


def _absences(signs: Sequence[Operation], lease: float) -> int:
    """How often the operator may have been away for so long. Once more at the end."""
    return 1 + sum(end_of(after) - before.begun >= lease for before, after in pairwise(signs))


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (_claims_come_in_order, _only_the_absent_lapse)
