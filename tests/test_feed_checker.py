"""The rules of feeds and of streaming replies must detect every promise that is broken, and accept what is allowed."""

import random
from typing import Any
from zlib import crc32

import pytest

from chaos.case import Allowances
from chaos.checker import check
from chaos.history import Operation, Recorder, text_of
from chaos.reply_text import beginning_of
from chaos.snapshot import Snapshot, StoredSession, VisibleMessage, VisibleSession
from chaos.watcher import SECRET, Watcher, is_secret
from chat_session import Message, SessionManager
from chat_session.events import MessageAppended, State
from chat_session.feed_cursor import Cursor

DEADLINE = 2_000_000
CUSTOMER, STAFF = "v", "x"


class Case:
    """A session "s" with the messages a, b (internal), the reply r, which grew, and c. Two were told all of it.

    Nothing is wrong until a test changes it.
    """

    def __init__(self) -> None:
        self.recorder = Recorder()
        self.visible = VisibleSession("u", 0, 0, "ai", ttl=3600)
        self.text = beginning_of("s", "r", 5)
        self.op("create", "founder", user="u", ttl=3600)
        self.say("a")
        self.say("b", internal=True)
        self.say("r", self.text, asked={"stream": True})
        self.say("c")
        parts: dict[str, int | None] = dict.fromkeys(("meta", "agent", "history", "ids"), DEADLINE)
        self.stored = StoredSession(parts, "u", 3600, current_agent="ai", agent="ai")
        self.snapshot = Snapshot({"s": self.visible}, {"u": {"s"}}, {"s"}, 1, {"s": self.stored}, now=1_000_000.0)
        self.snapshot.due["s", "u"], self.snapshot.by_user["s", "u"] = DEADLINE, 900_000_000
        self.feeds = {name: self.tell_all(name) for name in (CUSTOMER, STAFF)}

    def op(self, kind: str, writer: str, **facts: Any) -> Operation:
        op = self.recorder.begin(kind, "s", writer, **facts)
        op.outcome, op.ended = "ok", op.begun
        return op

    def say(self, message_id: str, text: str = "", *, internal: bool = False, **facts: Any) -> None:
        self.op("append", f"writer of {message_id}", id=message_id, **facts)
        seq = self.visible.count + 1
        self.visible.messages.append(
            VisibleMessage(seq, message_id, text or text_of("s", message_id), internal=internal)
        )
        self.visible.count = seq

    def tell(self, name: str, event: str, at: int, **facts: Any) -> Operation:
        asked = {"inside": name == STAFF}
        return self.recorder.note("told", "s", name, asked=asked, told={"event": event, "at": at, **facts})

    def tell_all(self, name: str) -> dict[str, Operation]:
        data = self.text.encode()
        first, rest = data[:40], data[40:]
        told = {"state": self.tell(name, "state", 0), "a": self.tell(name, "message_appended", 1, id="a", seq=1)}
        if name == STAFF:
            told["b"] = self.tell(name, "message_appended", 2, id="b", seq=2)
        told["start"] = self.tell(name, "reply_started", 2, reply="r")
        told["first"] = self.delta(name, 0, first)
        told["rest"] = self.delta(name, 40, rest)
        told["r"] = self.tell(name, "message_appended", 3, id="r", seq=3)
        told["end"] = self.tell(name, "reply_committed", 3, reply="r", seq=3)
        told["c"] = self.tell(name, "message_appended", 4, id="c", seq=4)
        return told

    def delta(self, name: str, offset: int, data: bytes) -> Operation:
        return self.tell(name, "reply_delta", 2, reply="r", offset=offset, size=len(data), checksum=crc32(data))

    def drop(self, name: str, *which: str) -> None:
        """As if these had not been told."""
        gone = [self.feeds[name].pop(each) for each in which]
        self.recorder.history[:] = [op for op in self.recorder.history if op not in gone]

    def broken(self, allowances: Allowances | None = None) -> set[str]:
        self.stored.count = self.stored.length = self.visible.count
        self.stored.ids = {message.id: message.seq for message in self.visible.messages}
        return {v.invariant for v in check(self.recorder.history, self.snapshot, allowances).violations}


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_feed_without_a_flaw_breaks_nothing(case: Case) -> None:
    assert case.broken() == set()


@pytest.mark.parametrize(("name", "which"), [(CUSTOMER, "a"), (STAFF, "a"), (STAFF, "b")])
def test_a_message_that_was_left_out_is_seen(case: Case, name: str, which: str) -> None:
    case.drop(name, which)
    assert case.broken() == {"I31"}


def test_a_message_that_was_told_twice_is_seen(case: Case) -> None:
    case.tell(CUSTOMER, "message_appended", 4, id="c", seq=4)
    assert case.broken() == {"I31"}


def test_messages_in_another_order_are_seen(case: Case) -> None:
    case.feeds[CUSTOMER]["a"].told |= {"id": "c", "seq": 4}
    case.feeds[CUSTOMER]["c"].told |= {"id": "a", "seq": 1}
    assert case.broken() == {"I31"}


def test_a_message_that_is_not_stored_is_seen(case: Case) -> None:
    case.feeds[CUSTOMER]["a"].told["id"] = "another"
    assert case.broken() == {"I31"}


def test_a_gap_in_the_place_of_a_message_that_is_kept_is_seen(case: Case) -> None:
    case.feeds[STAFF]["a"].told = {"event": "gap", "at": 1, "from": 1, "to": 1}
    assert case.broken() == {"I31"}


def test_a_change_of_a_message_that_was_not_told_is_seen(case: Case) -> None:
    case.feeds[CUSTOMER]["a"].told |= {"event": "message_replaced", "seq": 3}
    assert "I31" in case.broken()


def test_a_needless_reset_is_seen(case: Case) -> None:
    case.tell(CUSTOMER, "reset", 4, reason="rewritten")
    assert case.broken() == {"I31"}
    assert case.broken(Allowances(unconfirmed_reads=True)) == set()


def test_what_was_told_before_a_reset_is_not_compared_with_the_store(case: Case) -> None:
    case.feeds[CUSTOMER]["a"].told["id"] = "lost"
    case.tell(CUSTOMER, "reset", 4, reason="rewritten")
    assert case.broken(Allowances(unconfirmed_reads=True)) == set()


def test_internal_data_in_the_feed_of_a_customer_are_seen(case: Case) -> None:
    case.feeds[CUSTOMER]["c"].told["secret"] = True
    assert case.broken() == {"I32"}


@pytest.mark.parametrize("name", [CUSTOMER, STAFF])
def test_a_watcher_that_was_not_told_the_last_message_is_seen(case: Case, name: str) -> None:
    case.drop(name, "c")
    assert case.broken() == {"I33"}


def test_a_customer_need_not_be_told_of_a_last_message_that_is_internal(case: Case) -> None:
    case.visible.messages[-1].internal = True
    case.drop(CUSTOMER, "c")
    assert case.broken() == set()


def test_a_session_that_is_told_to_be_gone_and_is_there_is_seen(case: Case) -> None:
    case.tell(CUSTOMER, "session_deleted", 4)
    assert case.broken() == {"I33"}


def test_a_reply_whose_end_was_not_told_is_seen(case: Case) -> None:
    case.drop(CUSTOMER, "end")
    assert case.broken() == {"I34"}


def test_a_reply_that_ended_twice_is_seen(case: Case) -> None:
    case.tell(CUSTOMER, "reply_aborted", 4, reply="r", reason="failed")
    assert "I34" in case.broken()


def test_a_reply_that_is_complete_before_its_message_was_told_is_seen(case: Case) -> None:
    case.feeds[CUSTOMER]["r"].told |= {"event": "reply_committed", "reply": "r"}
    case.feeds[CUSTOMER]["end"].told |= {"event": "message_appended", "id": "r"}
    assert case.broken() == {"I34"}


def test_text_of_a_reply_that_had_not_begun_is_seen(case: Case) -> None:
    case.drop(CUSTOMER, "start")
    assert "I34" in case.broken()


def test_text_that_was_left_out_is_seen(case: Case) -> None:
    case.drop(CUSTOMER, "first")
    assert case.broken() == {"I34"}


def test_text_that_was_told_twice_is_seen(case: Case) -> None:
    case.feeds[CUSTOMER]["rest"].told |= case.feeds[CUSTOMER]["first"].told
    assert {"I34"} <= case.broken()


def test_the_end_of_a_text_that_was_left_out_is_seen(case: Case) -> None:
    case.drop(CUSTOMER, "rest")
    assert case.broken() == {"I35"}


def test_other_text_is_seen(case: Case) -> None:
    case.feeds[CUSTOMER]["first"].told["checksum"] += 1
    assert case.broken() == {"I35"}


def test_other_text_of_a_stored_reply_is_seen(case: Case) -> None:
    message = case.visible.messages[2]
    message.text = message.text[:-1] + "?"
    assert "I35" in case.broken()


def test_a_reply_that_was_told_to_be_aborted_and_is_stored_is_seen(case: Case) -> None:
    case.feeds[STAFF]["end"].told |= {"event": "reply_aborted", "reason": "failed"}
    assert case.broken() == {"I35"}


def test_a_reply_that_grows_at_a_reset_may_begin_again(case: Case) -> None:
    case.drop(CUSTOMER, "r", "end", "c", "rest", "first")
    case.tell(CUSTOMER, "reset", 2, reason="rewritten")
    case.tell(CUSTOMER, "state", 2)
    case.tell(CUSTOMER, "reply_started", 2, reply="r")
    case.delta(CUSTOMER, 0, case.text.encode())
    case.tell(CUSTOMER, "message_appended", 3, id="r", seq=3)
    case.tell(CUSTOMER, "reply_committed", 3, reply="r", seq=3)
    case.tell(CUSTOMER, "message_appended", 4, id="c", seq=4)
    assert case.broken(Allowances(unconfirmed_reads=True)) == set()


def appended(*, note: str = "", **fields: Any) -> MessageAppended:
    message = Message(**{"sender": "user", "text": "", "extra": {"note": note} if note else {}, **fields})
    return MessageAppended(session_id="s", cursor=str(Cursor("")), message=message)


async def test_a_watcher_knows_what_a_customer_must_not_be_told() -> None:
    recorder = Recorder()
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        await manager.create_session("u", {"of": "s"}, session_id="s", ttl=600)
        session = await manager.get_session("s")
        watcher = Watcher("v", manager, recorder, random.Random(1))
    assert session is not None
    for secret in (
        State(session_id="s", cursor="", session=session),
        appended(internal=True),
        appended(sender="operator", author=SECRET),
        appended(note=SECRET),
    ):
        assert is_secret(secret)
    assert watcher.record(appended(internal=True)).told["secret"]
    assert "secret" not in watcher.record(appended(text="for all")).told
