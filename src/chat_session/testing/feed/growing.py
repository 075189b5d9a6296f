"""What a watcher is told of a reply that grows: the text byte for byte, and how it ended."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from chat_session.desk import Desk
from chat_session.errors import TurnLost
from chat_session.events import (
    Event,
    MessageAppended,
    ReplyAborted,
    ReplyCommitted,
    ReplyDelta,
    ReplyStarted,
    State,
)
from chat_session.manager import SessionManager
from chat_session.testing.feed.scene import Watch, last_cursor, read_until, say
from chat_session.testing.turns.scene import SHORT_LEASE, create_asking, forever

PARTS = ["你好", " ", "🙂🙃", "end", "é" * 400]
WHOLE = "".join(PARTS)


class GrowingReplyContract:
    async def test_a_reply_is_told_as_it_grows_and_then_as_a_message(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with Watch(manager) as watch:
            async with manager.turn("s") as turn, turn.stream(author="bot") as reply:
                for part in PARTS:
                    await reply.write(part)
                    await watch.next(ReplyDelta)
            committed = await watch.next(ReplyCommitted)
        assert told_text(watch.events) == WHOLE
        assert watch.names[1] == "reply_started"
        assert watch.names[-2:] == ["message_appended", "reply_committed"]
        [started] = [event for event in watch.events if isinstance(event, ReplyStarted)]
        [appended] = [event.message for event in watch.events if isinstance(event, MessageAppended)]
        assert (started.reply_id, started.author) == (reply.id, "bot")
        assert (appended.id, appended.text, appended.seq) == (reply.id, WHOLE, committed.seq)

    async def test_a_watcher_that_comes_late_is_told_the_text_so_far_and_then_the_rest(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("begin ")
            await read_until(manager, ReplyDelta)
            async with Watch(manager) as late:
                first = await late.next(ReplyDelta)
                await reply.write("end")
                await late.next(ReplyDelta)
        assert (first.offset, first.text) == (0, "begin ")
        assert told_text(late.events) == "begin end"

    async def test_a_watcher_goes_on_in_the_middle_of_a_reply(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("你好 ")
            before = await read_until(manager, ReplyDelta)
            await reply.write("🙂 ")
            async with Watch(manager, after=before[-1].cursor) as watch:
                await watch.next(ReplyDelta)
        async with Watch(manager, after=watch.events[-1].cursor) as later:
            await later.next(ReplyCommitted)
        assert told_text([*before, *watch.events, *later.events]) == "你好 🙂 "
        assert [event.name for event in (*before, *watch.events, *later.events)].count("reply_started") == 1

    async def test_the_end_is_told_also_to_one_who_was_away(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            async with turn.stream() as reply:
                await reply.write("begin, ")
                before = await read_until(manager, ReplyDelta)
                await reply.write("and end")
            await turn.reply("more")
        events = await read_until(manager, ReplyCommitted, after=before[-1].cursor)
        assert told_text([*before, *events]) == "begin, and end"
        assert [event.name for event in events] == ["state", "reply_delta", "message_appended", "reply_committed"]

    async def test_a_reply_that_began_and_ended_meanwhile_is_told_as_a_message(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        cursor = await last_cursor(manager)
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("all of it")
        await say(manager, "end")
        async with Watch(manager, after=cursor) as watch:
            await watch.next(MessageAppended, lambda event: event.message.text == "end")
        assert watch.names == ["state", "message_appended", "message_appended"]

    async def test_a_reply_that_has_ended_is_not_told_to_who_begins_later(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("before")
        async with Watch(manager) as watch:
            await say(manager, "end")
            await watch.next(MessageAppended)
        assert watch.names == ["state", "message_appended"]

    @pytest.mark.parametrize("end", ["exception", "stop", "takeover"])
    async def test_a_reply_that_ends_early_is_told_with_the_reason(self, manager: SessionManager, end: str) -> None:
        await create_asking(manager, "s")
        async with Watch(manager) as watch:
            with suppress(TurnLost, ZeroDivisionError):
                async with manager.turn("s") as turn, turn.stream() as reply:
                    await reply.write("begin")
                    await watch.next(ReplyDelta)
                    await _end(manager, end)
            aborted = await watch.next(ReplyAborted)
            await say(manager, "end")
            await watch.next(MessageAppended)
        reasons = {"exception": "failed", "stop": "stopped", "takeover": "taken_over"}
        assert (aborted.reply_id, aborted.reason) == (reply.id, reasons[end])
        assert watch.texts == ["end"]

    async def test_a_reply_whose_worker_has_died_ends_with_its_lease(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await manager._turns.take_turn("s", "dead", SHORT_LEASE * 4)  # noqa: SLF001 - no call of the facade can do this
        replies: Any = manager._store.replies  # noqa: SLF001 - as above
        await replies.begin_reply("s", "dead", "f" * 32, None)
        await replies.write_reply("s", "dead", "f" * 32, 0, b"begin")
        async with Watch(manager) as watch:
            await watch.next(ReplyDelta)
            aborted = await watch.next(ReplyAborted)
        assert (aborted.reply_id, aborted.reason) == ("f" * 32, "expired")

    async def test_half_a_character_is_not_told(self, manager: SessionManager) -> None:
        """No worker of ours writes it; a delta of another may be cut anywhere."""
        await create_asking(manager, "s")
        await manager._turns.take_turn("s", "other", 60)  # noqa: SLF001 - as above
        replies: Any = manager._store.replies  # noqa: SLF001 - as above
        await replies.begin_reply("s", "other", "f" * 32, None)
        face = "🙂".encode()
        await replies.write_reply("s", "other", "f" * 32, 0, b"a" + face[:2])
        async with Watch(manager) as watch:
            assert (await watch.next(ReplyDelta)).text == "a"
            await replies.write_reply("s", "other", "f" * 32, 3, face[2:])
            rest = await watch.next(ReplyDelta)
        assert (rest.offset, rest.text) == (1, "🙂")

    async def test_a_long_reply_comes_in_parts_of_the_buffer(self, manager: SessionManager, open_manager: Any) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("é" * 30_000)
            async with asyncio.timeout(20):
                watching = open_manager(watch_buffer=4096) if _is_shared(manager) else manager
                deltas: list[ReplyDelta] = []
                async for event in watching.watch("s"):
                    deltas += [event] if isinstance(event, ReplyDelta) else []
                    if deltas and deltas[-1].offset + len(deltas[-1].text.encode()) == 60_000:
                        break
        assert "".join(delta.text for delta in deltas) == "é" * 30_000

    async def test_a_part_that_is_kept_is_told_as_a_message(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with Watch(manager) as watch:
            with suppress(ZeroDivisionError):
                async with manager.turn("s") as turn, turn.stream(keep_partial=True) as reply:
                    await reply.write("begin")
                    await watch.next(ReplyDelta)
                    raise ZeroDivisionError
            told = await watch.next(MessageAppended)
        assert (told.message.id, told.message.type, told.message.text) == (reply.id, "partial", "begin")

    async def test_watchers_who_come_and_go_do_not_stop_a_reply(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            for part in PARTS:
                await reply.write(part)
                await read_until(manager, State)
        assert (await manager.get_history("s", 1))[0].text == WHOLE


async def _end(manager: SessionManager, how: str) -> None:
    if how == "exception":
        raise ZeroDivisionError
    if how == "stop":
        await manager.stop_turn("s")
    else:
        await Desk(manager).take_over("s", "ann")
    await forever()


def told_text(events: list[Event]) -> str:
    """All deltas together; each must follow the one before."""
    told = b""
    for event in events:
        if isinstance(event, ReplyDelta):
            assert event.offset == len(told)
            told += event.text.encode()
    return told.decode()


def _is_shared(manager: SessionManager) -> bool:
    """Whether another manager sees the same sessions."""
    return ":memory:" not in str(manager.settings.chat_session_url)
