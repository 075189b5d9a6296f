"""The contract of ``keep_partial``: what was shown of a reply that ends without its message is stored."""

import asyncio

import pytest

from chat_session.errors import TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.replies.scene import (
    OTHER,
    begin,
    expect_end,
    lose,
    take,
    until_shown,
)
from chat_session.testing.turns.scene import (
    LONG_LEASE,
    SHORT_LEASE,
    create_asking,
    forever,
    history,
    unanswered,
)


class PartialContract:
    """What is kept of replies."""

    async def test_after_an_exception_all_that_was_written_is_stored(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(ZeroDivisionError):
            async with manager.turn("s") as turn, turn.stream(author="Bot", keep_partial=True) as reply:
                reply.set_fields(tokens=99, content={"text": "hello you"})
                await reply.write("hello")
                await until_shown(reply, 5)
                await reply.write(" 漢")
                raise ZeroDivisionError
        [_, message] = await manager.get_history("s")
        assert (message.id, message.sender, message.text) == (reply.id, "assistant", "hello 漢")
        assert (message.type, message.author, message.tokens, message.content) == ("partial", "Bot", None, None)
        assert reply.result is not None
        assert reply.result.message == message
        await expect_end(manager, "aborted", "failed")

    async def test_a_part_answers_nothing(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(ZeroDivisionError):
            async with manager.turn("s") as turn, turn.stream(keep_partial=True) as reply:
                await reply.write("hello")
                raise ZeroDivisionError
        assert await history(manager, "s") == ["question in s", "hello"]
        assert await unanswered(manager, "s") == ["question in s"]

    @pytest.mark.parametrize("waits", [True, False], ids=["in the middle", "at the end"])
    @pytest.mark.parametrize("how", ["taken_over", "stopped"])
    async def test_of_a_lost_turn_only_what_was_shown_is_stored(
        self, manager: SessionManager, how: str, *, waits: bool
    ) -> None:
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost) as lost:
                async with manager.turn("s", lease=LONG_LEASE) as turn, turn.stream(keep_partial=True) as reply:
                    await reply.write("hello 漢")
                    await until_shown(reply, 9)
                    await lose(manager, how)
                    await reply.write(", not shown")
                    if waits:
                        await forever()
        assert lost.value.reason == how
        await expect_end(manager, "aborted", how)
        newest = (await manager.get_history("s"))[-1]
        assert (newest.text, newest.type, newest.id) == ("hello 漢", "partial", reply.id)

    async def test_an_exception_after_a_loss_that_nobody_noticed_keeps_what_was_shown(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s")
        with pytest.raises(ZeroDivisionError):
            async with manager.turn("s", lease=LONG_LEASE) as turn, turn.stream(keep_partial=True) as reply:
                await reply.write("hello")
                await until_shown(reply, 5)
                await lose(manager, "stopped")
                await reply.write(", not shown")
                raise ZeroDivisionError
        assert await history(manager, "s") == ["question in s", "hello"]

    async def test_a_cancellation_keeps_what_was_written(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), turn.stream(keep_partial=True) as reply:
                    await reply.write("hello")
                    await forever()
        assert await history(manager, "s") == ["question in s", "hello"]

    @pytest.mark.parametrize("how", ["stopped", "failed"])
    async def test_of_a_reply_without_text_nothing_is_stored(self, manager: SessionManager, how: str) -> None:
        await create_asking(manager, "s")
        with pytest.raises((TurnLost, ZeroDivisionError)):
            async with manager.turn("s") as turn, turn.stream(keep_partial=True) as reply:
                if how == "failed":
                    raise ZeroDivisionError
                await lose(manager, how)
                await reply.write("not shown")
        await expect_end(manager, "aborted", how)
        assert await history(manager, "s") == ["question in s"]

    async def test_a_block_that_is_left_stores_the_whole_message(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream(keep_partial=True) as reply:
            await reply.write("hello")
        newest = (await manager.get_history("s"))[-1]
        assert (newest.text, newest.type) == ("hello", None)

    async def test_the_next_reply_begins_after_a_part(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            with pytest.raises(ZeroDivisionError):
                async with turn.stream(keep_partial=True) as reply:
                    await reply.write("hel")
                    raise ZeroDivisionError
            async with turn.stream() as reply:
                await reply.write("hello")
        assert await history(manager, "s") == ["question in s", "hel", "hello"]
        assert await unanswered(manager, "s") == []

    # The store's own call

    async def test_a_repeated_part_answers_as_the_first_time(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        assert [await worker.commit_partial("hello"), await worker.commit_partial("hello")] == [2, 2]
        assert await history(manager, "s") == ["question in s", "hello"]

    @pytest.mark.parametrize(("text", "length"), [("hell", None), ("hello you", None), ("", None), ("hello", 4)])
    async def test_a_text_that_no_watcher_could_see_is_not_stored(
        self, manager: SessionManager, text: str, length: int | None
    ) -> None:
        worker = await begin(manager, b"hello")
        assert await worker.commit_partial(text, length) is None
        assert await history(manager, "s") == ["question in s"]

    @pytest.mark.parametrize("how", ["aborted", "released", "another", "next"])
    async def test_of_a_reply_that_is_over_nothing_is_stored(self, manager: SessionManager, how: str) -> None:
        worker = await begin(manager, b"hello", SHORT_LEASE if how == "another" else LONG_LEASE)
        match how:
            case "aborted":
                await worker.abort()
            case "released":
                await worker.release()
            case "another":
                async with manager.turn("s", wait=20):
                    pass
            case "next":
                await worker.abort()
                await worker.begin(OTHER)
                await worker.write(0, b"hello", OTHER)
        assert await worker.commit_partial("hello") is None
        assert await history(manager, "s") == ["question in s"]

    async def test_a_part_is_stored_beside_the_next_worker_s_turn(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await lose(manager, "stopped")
        other = await take(manager, "other")
        assert await worker.commit_partial("hello") == 2
        await expect_end(manager, "aborted", "stopped")
        await other.begin(OTHER)
        assert await other.write(0, b"next", OTHER) == 4
