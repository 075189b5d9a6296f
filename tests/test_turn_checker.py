"""The rules of turns must detect every promise that is broken, and accept what is allowed."""

from typing import Any

import pytest

from chaos.case import Allowances
from chaos.checker import check
from chaos.history import Operation, Recorder, text_of
from chaos.snapshot import Snapshot, StoredSession, VisibleMessage, VisibleSession
from chat_session import TurnLost

DEADLINE = 2_000_000


class Case:
    """A session "s": the customer said a, b and c; turn t1 answered a and b, turn t2 answered c; d is unanswered.

    Each call takes half a second. Nothing is wrong until a test changes it.
    """

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.visible = VisibleSession("u", 0, 0, "ai", ttl=3600, in_turns=True)
        self.op("create", "founder", user="u", ttl=3600)
        self.ask("a", 1)
        self.ask("b", 2)
        self.take("t1", 3)
        self.first = self.reply("r1", "t1", 4, "a", "b")
        self.ask("c", 5)
        self.second_take = self.take("t2", 6)
        self.second = self.reply("r2", "t2", 7, "c")
        self.ask("d", 8)
        parts: dict[str, int | None] = dict.fromkeys(("meta", "agent", "history", "ids"), DEADLINE)
        self.stored = StoredSession(parts, "u", 3600, current_agent="ai", agent="ai")
        self.snapshot = Snapshot({"s": self.visible}, {"u": {"s"}}, {"s"}, 1, {"s": self.stored}, now=1_000_000.0)
        self.snapshot.due["s", "u"], self.snapshot.by_user["s", "u"] = DEADLINE, 900_000_000
        self.snapshot.pending = ["s"]

    def op(self, kind: str, writer: str, begun: float = 0, outcome: str = "ok", **facts: Any) -> Operation:
        op = self.recorder.begin(kind, "s", writer, **facts)
        op.begun, op.outcome, op.ended = begun, outcome, begun + 0.5
        return op

    def ask(self, message_id: str, begun: float) -> VisibleMessage:
        self.op("append", "customer", begun, id=message_id)
        return self.add(message_id, "user")

    def take(self, turn: str, begun: float) -> Operation:
        return self.op("take", f"worker of {turn}", begun, asked={"turn": turn, "lease": 30.0})

    def reply(self, message_id: str, turn: str, begun: float, *answers: str) -> VisibleMessage:
        self.op("append", f"worker of {turn}", begun, id=message_id, asked={"turn": turn})
        message = self.add(message_id, "assistant")
        message.turn, message.answers = turn, list(answers)
        return message

    def add(self, message_id: str, sender: str) -> VisibleMessage:
        message = VisibleMessage(self.visible.count + 1, message_id, text_of("s", message_id), sender=sender)
        self.visible.messages.append(message)
        self.visible.count += 1
        return message

    def broken(self, allowances: Allowances | None = None) -> set[str]:
        self.stored.count = self.stored.length = self.visible.count
        self.stored.ids = {message.id: message.seq for message in self.visible.messages}
        return {v.invariant for v in check(self.recorder.history, self.snapshot, allowances).violations}


@pytest.fixture
def case() -> Case:
    return Case()


def test_turns_without_a_flaw_break_nothing(case: Case) -> None:
    assert case.broken() == set()


def test_a_message_that_is_answered_twice_is_seen(case: Case) -> None:
    case.second.answers = ["b", "c"]
    assert case.broken() == {"I28"}


def test_a_message_that_is_left_out_is_seen(case: Case) -> None:
    case.first.answers = ["b"]
    assert case.broken() == {"I28"}


def test_a_message_that_is_left_out_before_the_next_reply_is_seen(case: Case) -> None:
    case.ask("e", 9)
    case.take("t3", 10)
    case.reply("r3", "t3", 11, "e")
    assert case.broken() == {"I28"}


def test_an_answer_to_what_nobody_had_said_is_seen(case: Case) -> None:
    case.second.answers = ["c", "d"]  # which stands behind it
    assert "I28" in case.broken()


def test_a_message_that_a_person_answered_needs_no_reply(case: Case) -> None:
    case.op("append", "anna", 9, id="p")
    case.add("p", "operator")
    case.snapshot.pending = []
    assert case.broken() == set()


def test_a_message_that_a_person_answered_and_then_a_turn_is_seen(case: Case) -> None:
    case.op("append", "anna", 9, id="p")
    case.add("p", "operator")
    case.take("t3", 10)
    case.reply("r3", "t3", 11, "d")
    case.snapshot.pending = []
    assert case.broken() == {"I28"}


def test_internal_messages_answer_nothing_and_need_no_answer(case: Case) -> None:
    case.op("append", "anna", 9, id="note")
    case.add("note", "operator").internal = True
    case.op("append", "customer", 9.5, id="log")
    case.add("log", "user").internal = True
    assert case.broken() == set()


def test_a_second_reply_of_a_round_answers_nothing_more(case: Case) -> None:
    case.reply("r3", "t2", 9)
    assert case.broken() == set()


def test_two_turns_at_once_are_seen(case: Case) -> None:
    case.second_take.begun, case.second_take.ended = 3.6, 3.8  # before t1 replied
    assert case.broken() == {"I29"}


def test_turns_that_may_have_followed_each_other_are_accepted(case: Case) -> None:
    case.second_take.begun, case.second_take.ended = 3.6, 4.1  # t1 may have been over by then
    assert case.broken() == set()


def test_a_reply_behind_one_of_a_later_turn_is_seen(case: Case) -> None:
    case.reply("r3", "t1", 3.7)
    assert case.broken() == {"I29"}


def test_a_turn_that_is_lost_within_its_lease_is_seen(case: Case) -> None:
    case.take("t3", 9)
    late = case.op("append", "worker of t3", 10, "failed", id="r3", asked={"turn": "t3"})
    for error, broken in ((TurnLost("s", "expired"), {"I29"}), (TurnLost("s", "taken_over"), set())):
        late.error = f"TurnLost: {error}"
        assert case.broken() == broken
    late.error = f"TurnLost: {TurnLost('s', 'expired')}"
    stop = case.op("stop", "anna", 9.7)
    assert case.broken() == set()
    stop.outcome = "failed"
    assert case.broken() == {"I29"}
    late.begun, late.ended = 39.5, 40
    assert case.broken() == set()


def test_a_session_that_waits_and_is_not_found_is_seen(case: Case) -> None:
    case.snapshot.pending = []
    assert case.broken() == {"I30"}


@pytest.mark.parametrize("agent", ["ai", "human"])
def test_a_session_that_is_found_without_work_is_seen(case: Case, agent: str) -> None:
    if agent == "ai":
        case.second.answers, case.visible.messages[-1].sender = ["c"], "system"
    else:
        case.visible.agent = case.stored.agent = case.stored.current_agent = agent
    assert "I30" in case.broken()
    case.snapshot.pending = []
    assert "I30" not in case.broken()


def test_a_session_that_is_listed_twice_is_seen(case: Case) -> None:
    case.snapshot.pending = ["s", "s"]
    assert case.broken() == {"I30"}


def test_a_session_that_workers_do_not_find_is_not_judged(case: Case) -> None:
    case.visible.in_turns, case.snapshot.pending, case.second.answers = False, [], ["a"]
    assert case.broken() == set()


def test_where_replies_may_be_lost_turns_are_not_judged(case: Case) -> None:
    case.second.answers, case.snapshot.pending = ["a"], []
    assert case.broken(Allowances(lossy=True)) == set()
