"""The contract of messages: each is stored once, complete and in order, and the history is bounded."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from chat_session.errors import InvalidInput, MessageConflict
from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.testing.backend import Backend

TEXTS = (
    "",
    "NUL \x00 CR \r\n",
    "\u202eoverride",
    "<img src=x onerror=alert(1)>",
    "😀👩‍👩‍👧",
    "e\u0301",
    '\\u0041 "q"',
    "\u2028",
)

DAMAGED = (
    b"",
    b"not json",
    b"[1]",
    b"null",
    b'{"id":"x"',
    b"\xff\xfe",
    b'{"id":1,"from":"user","text":"x","timestamp":"2026-01-01T00:00:00Z"}',
    b'{"id":"x","from":"robot","text":"x","timestamp":"2026-01-01T00:00:00Z"}',
    b'{"id":"x","from":"user","text":null,"timestamp":"2026-01-01T00:00:00Z"}',
    b'{"id":"x","from":"user","text":"x","timestamp":"yesterday"}',
    b'{"id":"x","from":"user","text":"x","timestamp":12}',
    b'{"id":"x","from":"user","text":"x","timestamp":"2026-01-01T00:00:00"}',
    b'{"id":"x","from":"user","text":"x","timestamp":"2026-01-01T00:00:00Z","type":5}',
    b'{"id":"x","from":"user","text":"x","timestamp":"0001-01-01T00:00:00+05:00"}',
    b'{"id":"x","from":"user","text":"x","timestamp":"9999-12-31T23:59:59-05:00"}',
    b'{"id":"x","from":"user","text":"' + b"[" * 3000,
    b"[" * 100_000,
)


class MessageContract:
    """Append and read."""

    async def test_a_message_comes_out_as_it_went_in(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        moment = datetime(2026, 1, 31, 8, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
        sent = Message(
            id="m1", sender="tool", text="结果", timestamp=moment, type="result", extra={"score": 0.5, "n": [None]}
        )
        result = await manager.add_message(session_id, sent)
        assert (result.success, result.message_id, result.seq, result.duplicate) == (True, "m1", 1, False)
        [stored] = await manager.get_history(session_id)
        assert stored == result.message
        assert (stored.sender, stored.text, stored.type, stored.extra) == ("tool", "结果", "result", sent.extra)
        assert stored.timestamp == moment
        assert stored.timestamp is not None
        assert stored.timestamp.tzinfo is UTC
        assert (await manager.get_session(session_id)).message_count == 1  # type: ignore[union-attr]

    async def test_the_specifications_shape_is_accepted_and_given(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        given = {
            "id": "msg-1",
            "from": "user",
            "text": "你好，我需要帮助",
            "timestamp": "2025-06-09T08:00:00.000Z",
            "type": "text",
            "channel": "web",
        }
        result = await manager.add_message(session_id, given)
        assert result.message.to_dict() == {**given, "seq": 1}
        assert result.to_dict()["messageId"] == "msg-1"
        again = await manager.add_message(session_id, result.message.to_dict())
        assert again.duplicate
        assert again.message == result.message

    async def test_an_id_and_a_timestamp_are_filled_in(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        first = await manager.add_message(session_id, {"from": "user", "text": "x"})
        second = await manager.add_message(session_id, {"sender": "user", "text": "x"})
        assert first.message_id != second.message_id
        assert first.message.timestamp is not None
        assert [m.id for m in await manager.get_history(session_id)] == [first.message_id, second.message_id]

    async def test_any_text_is_given_back_byte_for_byte(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.add_messages(session_id, [{"from": "user", "text": text} for text in TEXTS])
        assert tuple(m.text for m in await manager.get_history(session_id)) == TEXTS

    async def test_the_same_id_and_content_again_answers_as_the_first_time(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        message = {"id": 'odd "id" \\ ","from":', "from": "user", "text": "once"}
        first = await manager.add_message(session_id, message)
        await manager.add_message(session_id, {"from": "assistant", "text": "between"})
        again = await manager.add_message(session_id, message)
        assert again.duplicate
        assert (again.seq, again.message, again.message_id) == (1, first.message, first.message_id)
        assert len(await manager.get_history(session_id)) == 2
        assert (await manager.get_session(session_id)).message_count == 2  # type: ignore[union-attr]

    async def test_a_message_that_was_read_can_be_sent_back(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.add_message(session_id, {"id": "m", "from": "user", "text": "x", "more": {"a": 1}})
        [stored] = await manager.get_history(session_id)
        for form in (stored, stored.to_dict()):
            again = await manager.add_message(session_id, form)
            assert (again.duplicate, again.message) == (True, stored)

    async def test_the_same_id_with_other_content_is_refused(self, manager: SessionManager, backend: Backend) -> None:
        session_id = (await manager.create_session("u")).session_id
        given = {"id": "m", "from": "user", "text": "a", "timestamp": "2026-01-01T00:00:00Z"}
        await manager.add_message(session_id, given)
        before = await backend.digest(manager)
        changes = (
            {"text": "b"},
            {"from": "assistant"},
            {"type": "t"},
            {"more": 1},
            {"timestamp": "2026-01-01T00:00:01Z"},
        )
        for change in changes:
            with pytest.raises(MessageConflict) as refused:
                await manager.add_message(session_id, {**given, **change})
            assert (refused.value.session_id, refused.value.message_id) == (session_id, "m")
        with pytest.raises(MessageConflict):
            await manager.add_messages(session_id, [{"from": "user", "text": "new"}, {**given, "text": "b"}])
        assert await backend.digest(manager) == before

    async def test_a_batch_is_stored_in_order_all_or_none(self, manager: SessionManager, backend: Backend) -> None:
        session_id = (await manager.create_session("u")).session_id
        batch = [{"id": f"m{i}", "from": "user", "text": str(i)} for i in range(10)]
        results = await manager.add_messages(session_id, batch)
        assert [r.seq for r in results] == list(range(1, 11))
        mixed = await manager.add_messages(session_id, [batch[3], {"id": "new", "from": "user", "text": "n"}, batch[9]])
        assert [(r.seq, r.duplicate) for r in mixed] == [(4, True), (11, False), (10, True)]
        before = await backend.digest(manager)
        with pytest.raises(InvalidInput) as refused:
            await manager.add_messages(session_id, [{"from": "user", "text": "good"}, {"from": "robot", "text": "bad"}])
        assert refused.value.argument == "messages[1].from"
        assert await backend.digest(manager) == before

    async def test_equal_messages_in_one_batch_are_stored_once(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        twice = {"id": "m", "from": "user", "text": "x"}
        results = await manager.add_messages(session_id, [twice, twice])
        assert [(r.seq, r.duplicate) for r in results] == [(1, False), (1, True)]
        assert len(await manager.get_history(session_id)) == 1

    async def test_the_history_keeps_the_last_n_and_seq_goes_on(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(max_message_history=5)
        session_id = (await manager.create_session("u")).session_id
        for i in range(1, 13):
            assert (await manager.add_message(session_id, {"id": f"m{i}", "from": "user", "text": str(i)})).seq == i
        kept = await manager.get_history(session_id, 100)
        assert [(m.seq, m.id) for m in kept] == [(i, f"m{i}") for i in range(8, 13)]
        assert (await manager.get_session(session_id)).message_count == 12  # type: ignore[union-attr]
        assert (await manager.add_message(session_id, {"id": "m8", "from": "user", "text": "8"})).duplicate
        forgotten = await manager.add_message(session_id, {"id": "m1", "from": "user", "text": "1"})
        assert (forgotten.duplicate, forgotten.seq) == (False, 13)

    async def test_a_batch_longer_than_the_history_can_be_repeated(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(max_message_history=10)
        session_id = (await manager.create_session("u")).session_id
        await manager.add_message(session_id, {"from": "user", "text": "before"})
        batch = [{"id": f"m{i}", "from": "user", "text": str(i)} for i in range(25)]
        first = await manager.add_messages(session_id, batch)
        again = await manager.add_messages(session_id, batch)
        assert [r.seq for r in first] == [r.seq for r in again] == list(range(2, 27))
        assert all(r.duplicate for r in again)
        assert [m.id for m in await manager.get_history(session_id, 100)] == [f"m{i}" for i in range(15, 25)]
        assert (await manager.get_session(session_id)).message_count == 26  # type: ignore[union-attr]

    async def test_what_comes_before_a_repeat_longer_than_the_history_is_stored(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(max_message_history=10)
        session_id = (await manager.create_session("u")).session_id
        batch = [{"id": f"m{i}", "from": "user", "text": str(i)} for i in range(25)]
        await manager.add_messages(session_id, batch)
        before = [{"id": f"x{i}", "from": "user", "text": str(i)} for i in range(3)]
        results = await manager.add_messages(session_id, before + batch)
        assert [(r.seq, r.duplicate) for r in results[:3]] == [(26, False), (27, False), (28, False)]
        assert [(r.seq, r.duplicate) for r in results[3:]] == [(seq, True) for seq in range(1, 26)]
        assert [m.id for m in await manager.get_history(session_id, 3)] == ["x0", "x1", "x2"]

    async def test_a_smaller_bound_trims_at_the_next_append(
        self, backend: Backend, open_manager: Callable[..., SessionManager]
    ) -> None:
        if not backend.shared:
            pytest.skip("one manager sees this store")
        wide, narrow = open_manager(max_message_history=50), open_manager(max_message_history=3)
        session_id = (await wide.create_session("u")).session_id
        await wide.add_messages(session_id, [{"id": f"m{i}", "from": "user", "text": str(i)} for i in range(20)])
        await narrow.add_message(session_id, {"id": "last", "from": "user", "text": "x"})
        assert [m.id for m in await wide.get_history(session_id, 100)] == ["m18", "m19", "last"]
        assert not (await wide.add_message(session_id, {"id": "m0", "from": "user", "text": "0"})).duplicate

    async def test_the_history_is_read_in_windows(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.add_messages(session_id, [{"from": "user", "text": str(i)} for i in range(1, 121)])

        async def seqs(limit: int = 20, before: int | None = None, after: int | None = None) -> list[int | None]:
            return [m.seq for m in await manager.get_history(session_id, limit, before=before, after=after)]

        assert await seqs() == list(range(101, 121))
        assert await seqs(1) == [120]
        assert await seqs(10_000) == list(range(21, 121))
        assert await seqs(3, before=101) == [98, 99, 100]
        assert await seqs(3, after=115) == [116, 117, 118]
        assert await seqs(3, after=0) == [21, 22, 23]
        assert await seqs(2, before=120, after=100) == [118, 119]
        assert await seqs(100, after=115) == [116, 117, 118, 119, 120]
        assert await seqs(100, before=24) == [21, 22, 23]
        assert await seqs(100, before=30, after=27) == [28, 29]
        assert await seqs(before=21) == []
        assert await seqs(before=0) == []
        assert await seqs(after=120) == []
        assert await seqs(after=5000) == []
        assert await seqs(2, before=9000) == [119, 120]

    async def test_a_reader_who_polls_with_the_last_seq_misses_nothing(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        seen: list[int | None] = []
        for _ in range(6):
            await manager.add_messages(session_id, [{"from": "user", "text": "x"}] * 10)
        while polled := await manager.get_history(session_id, 7, after=seen[-1] if seen else 0):
            seen += [message.seq for message in polled]
        assert seen == list(range(1, 61))
        assert [m.seq async for m in manager.iter_history(session_id, page=7)] == seen
        assert [m.seq async for m in manager.iter_history(session_id, after=55)] == [56, 57, 58, 59, 60]

    async def test_concurrent_writers_lose_nothing_and_number_without_gaps(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.set_session_ttl(session_id, 3600)

        async def write(writer: int) -> list[int]:
            return [
                (await manager.add_message(session_id, {"id": f"{writer}-{i}", "from": "user", "text": str(i)})).seq
                for i in range(10)
            ]

        written = await asyncio.gather(*(write(writer) for writer in range(10)))
        assert sorted(seq for seqs in written for seq in seqs) == list(range(1, 101))
        assert all(seqs == sorted(seqs) for seqs in written)
        history = await manager.get_history(session_id, 100)
        assert [m.seq for m in history] == list(range(1, 101))
        assert len({m.id for m in history}) == 100

    async def test_a_text_of_just_the_largest_size_is_stored(self, open_manager: Callable[..., SessionManager]) -> None:
        manager = open_manager(max_message_bytes=3000)
        session_id = (await manager.create_session("u")).session_id
        for text in ("x" * 3000, "漢" * 1000):
            await manager.add_message(session_id, {"from": "user", "text": text})
        assert [len(m.text) for m in await manager.get_history(session_id)] == [3000, 1000]

    @pytest.mark.parametrize("raw", DAMAGED, ids=range(len(DAMAGED)))
    async def test_a_damaged_message_is_marked_in_its_place(
        self, manager: SessionManager, backend: Backend, raw: bytes
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.add_messages(session_id, [{"from": "user", "text": str(i)} for i in range(1, 4)])
        await backend.corrupt(manager, session_id, 2, raw)
        first, damaged, last = await manager.get_history(session_id)
        assert (first.text, first.seq, last.text, last.seq) == ("1", 1, "3", 3)
        assert (damaged.type, damaged.seq, damaged.sender) == ("unreadable", 2, "system")
        assert damaged.extra["raw"] == raw.decode(errors="backslashreplace")
        assert (await manager.add_message(session_id, {"from": "user", "text": "4"})).seq == 4

    async def test_a_damaged_message_is_trimmed_in_its_turn(
        self, backend: Backend, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(max_message_history=3)
        session_id = (await manager.create_session("u")).session_id
        await manager.add_messages(session_id, [{"from": "user", "text": str(i)} for i in range(3)])
        await backend.corrupt(manager, session_id, 1, b"\xff not json")
        await manager.add_messages(session_id, [{"from": "user", "text": "x"}] * 2)
        assert [(m.seq, m.type) for m in await manager.get_history(session_id)] == [(3, None), (4, None), (5, None)]
