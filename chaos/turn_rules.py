"""The invariants I28 to I30: who answered what in which turn, and what waits for a worker at the end."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from chaos.case import STEPS, Case, Violation
from chaos.history import Operation
from chaos.realtime import CLOCKS, end_of
from chaos.snapshot import VisibleMessage, VisibleSession

EXPIRED = "its lease ended"  # in the error of a turn that is lost; also if another has taken it since a stop
ENDING = STEPS | {"stop", "switch"}


class Answers:
    """What the messages of a session say of each other: what is unanswered, and which replies are wrong, and why."""

    def __init__(self, messages: Iterable[VisibleMessage]) -> None:
        self.unanswered: list[str] = []  # ids of the customer's messages, the oldest first
        self.wrong: list[str] = []
        self._answered: dict[str, str] = {}  # ids, and who answered each
        for message in messages:
            if message.internal:
                continue
            if message.sender == "user":
                self.unanswered.append(message.id)
            elif message.sender == "operator":
                self._note(self.unanswered, f"the person's message {message.id}")
            elif message.answers:
                self._judge(message)
                self._note(message.answers, f"the reply {message.id}")

    def _note(self, ids: Iterable[str], by: str) -> None:
        self._answered |= dict.fromkeys(ids, by)
        self.unanswered = [each for each in self.unanswered if each not in self._answered]

    def _judge(self, reply: VisibleMessage) -> None:
        """A reply names the messages that wait for an answer, from the oldest on."""
        named = reply.answers
        if named == self.unanswered[: len(named)]:
            return
        for each in named:
            if each in self._answered:
                self.wrong.append(f"{each} is answered by {self._answered[each]} and again by the reply {reply.id}")
            elif each not in self.unanswered:
                self.wrong.append(f"the reply {reply.id} answers {each}, which no customer had said")
        first = next((each for each in named if each in self.unanswered), None)
        if first is not None and first != self.unanswered[0]:
            self.wrong.append(f"the reply {reply.id} answers {first} and leaves out {self.unanswered[0]} before it")


def _each_message_is_answered_once(case: Case) -> Iterator[Violation]:
    """I28: each message of a customer is answered once, in order, by one reply of a turn or by a person."""
    for session, visible in _in_turns(case):
        for text in Answers(visible.messages).wrong:
            yield Violation("I28", session, text)


def _one_turn_at_a_time(case: Case) -> Iterator[Violation]:
    """I29: two workers never have the turn at once; no reply stands behind one of a later turn."""
    for session, visible in _in_turns(case):
        over: set[str] = set()
        turns = [message for message in visible.messages if message.turn]
        for before, after in pairwise(turns):
            if before.turn != after.turn:
                over.add(before.turn)
            if after.turn in over:
                text = f"{after.id} of turn {after.turn} stands at {after.seq}, behind one of turn {before.turn}"
                yield Violation("I29", session, text)
        for (taken, until, turn), (next_taken, _, next_turn) in pairwise(sorted(_held(case, session))):
            if next_taken < until:
                text = (
                    f"turn {next_turn} began at {next_taken:.3f} s; {turn}, of {taken:.3f} s, replied at {until:.3f} s"
                )
                yield Violation("I29", session, text)


def _a_lease_lasts(case: Case) -> Iterator[Violation]:
    """I29: a turn that nobody stopped and no person took over lasts as long as its lease."""
    if case.allowances.unconfirmed_reads or case.allowances.lossy:  # what a failover takes back may be a turn
        return
    takes = {op.asked["turn"]: op for op in case.history if op.kind == "take" and op.outcome == "ok"}
    for op in case.history:
        if op.kind != "append" or not op.error.startswith("TurnLost") or EXPIRED not in op.error or op.ended is None:
            continue
        take = takes.get(op.asked["turn"])
        if take is None or _was_ended_by_others(case, take, op.ended):
            continue
        end = take.begun + take.asked["lease"]
        if op.ended < end - CLOCKS:
            text = f"turn {op.asked['turn']} was lost at {op.ended:.3f} s; its lease lasts until {end:.3f} s"
            yield Violation("I29", op.session, text)


def _was_ended_by_others(case: Case, take: Operation, until: float) -> bool:
    """Whether it may have been stopped or taken over between its taking and this moment."""
    others = (op for op in case.operations_of.get(take.session, ()) if op.kind in ENDING)
    return any(op.begun <= until and end_of(op) >= take.begun for op in others)


def _held(case: Case, session: str) -> list[tuple[float, float, str]]:
    """From when until when each turn was certainly held: from the end of its taking to the begin of its last reply."""
    turns: dict[str, list[Operation]] = defaultdict(list)
    for op in case.operations_of.get(session, ()):
        if op.outcome == "ok" and (op.kind in ("take", "append")) and "turn" in op.asked:
            turns[op.asked["turn"]].append(op)
    held = []
    for turn, operations in turns.items():
        taken = [op.ended for op in operations if op.kind == "take" and op.ended is not None]
        replied = [op.begun for op in operations if op.kind == "append"]
        if taken and replied:
            held.append((taken[0], max(replied), turn))
    return held


def _what_is_unanswered_is_found(case: Case) -> Iterator[Violation]:
    """I30: at the end the sessions that wait for a worker are those with unanswered messages that the AI has."""
    waiting = {
        session
        for session, visible in _in_turns(case)
        if visible.agent == "ai" and Answers(visible.messages).unanswered
    }
    pending = set(case.snapshot.pending)
    for session in sorted(waiting - pending):
        yield Violation("I30", session, "the customer waits for an answer, and no worker finds it")
    for session in sorted(pending - waiting):
        yield Violation("I30", session, "it waits for a worker, but nothing in it is unanswered, or a person has it")
    if len(case.snapshot.pending) != len(pending):
        yield Violation("I30", "", f"a session waits for a worker twice: {sorted(case.snapshot.pending)[:10]}")


def _in_turns(case: Case) -> list[tuple[str, VisibleSession]]:
    """The sessions whose messages workers answer, if nothing of them may be lost or trimmed."""
    if case.allowances.lossy:
        return []
    complete = [(session, each) for session, each in case.snapshot.visible.items() if each.count == len(each.messages)]
    return [(session, each) for session, each in complete if each.in_turns]


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    _each_message_is_answered_once,
    _one_turn_at_a_time,
    _a_lease_lasts,
    _what_is_unanswered_is_found,
)
