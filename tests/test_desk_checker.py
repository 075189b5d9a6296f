"""The rules of the desk must detect every promise that is broken, and accept what is allowed."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chaos.case import Allowances
from chaos.checker import check
from chaos.history import Operation, Recorder, text_of
from chaos.snapshot import DeskLists, Snapshot, StoredSession, VisibleMessage, VisibleSession
from chat_session.desk_status import DeskStatus

DEADLINE, WEEK = 2_000_000, 604_800
SINCE = 60.0  # when the session began to wait at the end, in seconds since the recorder began


class Case:
    """A session "s": a person was asked for, anna claimed and answered, handed back; then it was asked for again.

    Each call takes half a second. Nothing is wrong until a test changes it.
    """

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.visible = VisibleSession("u", 0, 4, "human", ttl=3600)
        self.op("create", "w", user="u", ttl=3600)
        self.asked = self.request("bot-1", 10, say=True)
        self.mark(10, "requested", reason=text_of("s", "bot-1"))
        self.say("bot-1")
        self.claim = self.op(
            "claim", "anna", 20, asked={"teams": []}, told=told(2, "assigned", "anna", waiting_since=10)
        )
        self.mark(20, "claimed", operatorId="anna", waited=10)
        self.answer = self.op("answer", "anna", 30, id="anna-1", seq=4)
        self.add("anna-1", text_of("s", "anna-1"))
        note = text_of("s", "anna-2")
        self.back = self.op("hand back", "anna", 40, asked={"tag": "anna-2", "say": note}, told=told(3, "open", None))
        self.mark(40, "handed_back", operatorId="anna", note=note)
        self.say("anna-2")
        self.reply = self.op("append", "bot", 50, id="bot-2", epoch=3, seq=7)
        self.add("bot-2", text_of("s", "bot-2"))
        self.again = self.request("bot-3", SINCE, team="sales")
        self.mark(SINCE, "requested", reason=text_of("s", "bot-3"), team="sales")
        parts: dict[str, int | None] = dict.fromkeys(("meta", "agent", "history", "ids"), DEADLINE)
        self.stored = StoredSession(parts, "u", WEEK, current_agent="human", agent="human")
        self.visible.desk = DeskStatus(
            state="waiting", waiting_since=datetime.fromtimestamp(SINCE, UTC), reason="…", team="sales"
        )
        self.lists = DeskLists(queue=["s"], teams={"sales": ["s"]}, waiting={"sales": 1}, taken={"anna": 0})
        self.snapshot = Snapshot({"s": self.visible}, {"u": {"s"}}, {"s"}, 1, {"s": self.stored}, now=1_000_000.0)
        self.snapshot.zero, self.snapshot.desk = 0.0, self.lists
        self.snapshot.due["s", "u"], self.snapshot.by_user["s", "u"] = DEADLINE, 900_000_000

    def op(self, kind: str, writer: str, begun: float = 0, outcome: str = "ok", **facts: Any) -> Operation:
        op = self.recorder.begin(kind, "s", writer, **facts)
        op.begun, op.outcome, op.ended = begun, outcome, begun + 0.5
        return op

    def request(self, tag: str, begun: float, *, say: bool = False, team: str | None = None) -> Operation:
        asked: dict[str, Any] = {"tag": tag, "has_reason": True, "priority": 0, "team": team}
        asked["say"] = text_of("s", tag) if say else None
        return self.op("request", "bot", begun, asked=asked, told={"state": "waiting", "waiting_since": begun})

    def mark(self, begun: float, event: str, **facts: Any) -> VisibleMessage:
        """The marker of a call that began then."""
        internal = bool(facts.keys() & {"operatorId", "reason", "note", "to", "before"})
        message = self.add(f"marker-{event}-{begun}", "…", "handoff", internal=internal)
        message.at, message.marker = (begun + 0.2) * 1000, {"event": event, **facts}
        return message

    def say(self, tag: str) -> VisibleMessage:
        return self.add(f"said-{self.visible.count}-{tag}", text_of("s", tag))

    def add(self, message_id: str, text: str, kind: str = "", *, internal: bool = False) -> VisibleMessage:
        self.visible.count += 1
        message = VisibleMessage(self.visible.count, message_id, text, kind, internal)
        self.visible.messages.append(message)
        return message

    def insert(self, seq: int, message: VisibleMessage) -> None:
        """Move a message that was added at the end to this seq."""
        messages = self.visible.messages
        messages.remove(message)
        messages.insert(seq - 1, message)
        self.number()

    def number(self) -> None:
        for seq, message in enumerate(self.visible.messages, 1):
            message.seq = seq
            for op in self.recorder.history:
                if op.id == message.id:
                    op.seq = seq
        self.visible.count = len(self.visible.messages)

    def broken(self, allowances: Allowances | None = None) -> set[str]:
        self.stored.count = self.stored.length = self.visible.count
        self.stored.ids = {message.id: message.seq for message in self.visible.messages}
        return {v.invariant for v in check(self.recorder.history, self.snapshot, allowances).violations}


def told(epoch: int, state: str, operator: str | None, **facts: Any) -> dict[str, Any]:
    return {"epoch": epoch, "state": state, "operator": operator, "priority": 0, "team": None, **facts}


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_desk_without_a_flaw_breaks_nothing(case: Case) -> None:
    assert case.broken() == set()


def test_a_step_whose_marker_is_missing_is_seen(case: Case) -> None:
    del case.visible.messages[2]
    case.number()
    assert case.broken() >= {"I22"}


def test_a_marker_that_is_there_twice_is_seen(case: Case) -> None:
    case.insert(8, case.mark(40, "handed_back", operatorId="anna", note=text_of("s", "anna-2")))
    assert case.broken() >= {"I21"}


def test_a_marker_of_a_call_that_failed_is_seen(case: Case) -> None:
    case.claim.outcome, case.claim.told = "failed", {}
    assert case.broken() == {"I21"}
    case.claim.outcome = "unknown"
    case.claim.session = ""  # whoever claims does not know what
    assert case.broken() == set()


def test_two_operators_who_are_told_that_they_have_the_session_are_seen(case: Case) -> None:
    case.op("claim", "ben", 20, asked={"teams": []}, told=told(2, "assigned", "ben", waiting_since=10))
    assert case.broken() == {"I22"}


def test_two_claims_of_one_waiting_are_seen(case: Case) -> None:
    case.op("claim", "ben", 21, asked={"teams": []}, told=told(3, "assigned", "ben", waiting_since=10))
    case.insert(4, case.mark(21, "claimed", operatorId="ben"))
    assert case.broken() >= {"I21", "I22"}


def test_an_answer_where_another_operator_has_the_session_is_seen(case: Case) -> None:
    case.op("answer", "ben", 31, id="ben-1", seq=5)
    case.insert(5, case.add("ben-1", text_of("s", "ben-1")))
    assert case.broken() == {"I22"}


def test_a_takeover_whose_answer_is_elsewhere_is_seen(case: Case) -> None:
    case.op("answer", "ben", 61, id="ben-1")
    case.mark(61, "answered", operatorId="ben")
    case.visible.epoch, case.visible.agent = 5, "human"
    case.visible.desk = replace_status(case, state="assigned", operator_id="ben")
    case.lists.queue, case.lists.teams, case.lists.waiting = [], {"sales": []}, {}
    case.lists.seats, case.lists.assigned = {"ben": ["s"]}, 1
    case.add("ben-1", text_of("s", "ben-1"))
    case.number()
    assert case.broken() == set()
    case.insert(9, case.visible.messages[9])
    assert case.broken() >= {"I21", "I22"}


def replace_status(case: Case, **facts: Any) -> DeskStatus:
    desk = case.visible.desk
    shown: dict[str, Any] = {"waiting_since": desk.waiting_since, "team": desk.team, **facts}
    return DeskStatus(**shown)


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_reply_outside_the_epoch_that_it_names_is_seen(case: Case, epoch: int) -> None:
    case.reply.epoch = epoch
    assert case.broken() == {"I23"}


def test_a_record_that_is_refused_is_seen(case: Case) -> None:
    record = case.op("record", "bot", 55, "failed", id="bot-9")
    record.error = "StoreUnavailable: …"
    assert case.broken() == set()
    record.error = "AgentConflict: …"
    assert case.broken() == {"I23"}


def test_a_check_that_misses_a_step_before_it_is_seen(case: Case) -> None:
    check_of_bot = case.op("check", "bot", 45, epoch=3)
    assert case.broken() == set()
    check_of_bot.epoch = 2
    assert case.broken() == {"I23"}
    check_of_bot.begun = 40.4  # the hand-back was not answered yet
    assert case.broken() == set()


def test_a_sentence_that_is_lost_or_doubled_or_comes_later_is_seen(case: Case) -> None:
    case.insert(3, case.say("bot-1"))
    assert case.broken() == {"I24"}
    del case.visible.messages[1:3]
    case.number()
    assert case.broken() == {"I24"}
    case.insert(3, case.say("bot-1"))
    assert case.broken() == {"I24"}


@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_marker_that_a_customer_may_not_read_is_seen(case: Case, seq: int) -> None:
    case.visible.messages[seq - 1].internal = False
    assert case.broken() == {"I24"}


@pytest.mark.parametrize(("outcome", "times", "broken"), [("ok", 1, False), ("ok", 0, True), ("unknown", 2, True)])
def test_a_note_is_there_once_and_internal(case: Case, outcome: str, times: int, *, broken: bool) -> None:
    case.op("note", "anna", 45, outcome, asked={"tag": "anna-3"})
    for number in range(times):
        case.add(f"note-{number}", text_of("s", "anna-3"), "note", internal=True)
    assert ("I21" in case.broken()) == broken
    case.add("note-9", "…", "note")
    assert "I24" in case.broken()


@pytest.mark.parametrize(
    "facts", [{"state": "open"}, {"state": "assigned", "operator_id": "anna"}, {"state": "waiting", "priority": 9}]
)
def test_a_state_other_than_that_of_the_last_marker_is_seen(case: Case, facts: dict[str, Any]) -> None:
    case.visible.desk = replace_status(case, **facts)
    assert "I25" in case.broken()


@pytest.mark.parametrize(
    "facts",
    [
        {"queue": []},
        {"queue": ["s", "t"]},
        {"teams": {"sales": []}},
        {"teams": {"sales": ["s"], "repair": ["s"]}},
        {"waiting": {}},
        {"assigned": 1},
        {"seats": {"anna": ["s"]}},
        {"taken": {"anna": 1}},
    ],
)
def test_lists_that_do_not_follow_the_session_are_seen(case: Case, facts: dict[str, Any]) -> None:
    case.snapshot.desk = replace(case.lists, **facts)
    assert case.broken() == {"I25"}


def test_a_ttl_that_was_not_raised_is_seen(case: Case) -> None:
    case.stored.ttl = 3600
    assert case.broken() == {"I25"}


def test_a_session_that_was_lost_from_the_queue_before_a_claim_is_seen(case: Case) -> None:
    nothing = case.op("claim", "anna", 70, asked={"teams": ["repair"]})
    nothing.session = ""
    assert case.broken() == set()  # it waits for another team
    nothing.asked["teams"] = ["repair", "sales"]
    assert case.broken() == {"I26"}
    crashed = case.op("claim", "ben", 65, "unknown", asked={"teams": []})
    crashed.session = ""
    assert case.broken() == set()  # it may have leased the session


def test_a_lapse_of_an_operator_who_gives_signs_is_seen(case: Case) -> None:
    case.op("take over", "anna", 61, asked={}, told=told(5, "assigned", "anna", team="sales"))
    case.mark(61, "taken_over", operatorId="anna")
    case.op("seen", "anna", 64).session = ""
    case.mark(66, "lapsed", operatorId="anna")
    case.visible.epoch = 6
    case.lists.lease, case.lists.lapses = 10.0, 1
    assert case.broken() == {"I27"}
    case.lists.lease = 2.0
    assert case.broken() == set()
    case.lists.lapses = 99
    assert case.broken() == {"I27"}


def test_where_steps_may_be_lost_the_desk_is_not_judged(case: Case) -> None:
    case.visible.desk = replace_status(case, state="open")
    assert case.broken(Allowances(lossy=True)) == set()
