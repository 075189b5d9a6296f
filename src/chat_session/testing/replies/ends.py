"""The contract of replies that end without their message: nothing is stored, and watchers are told why."""

import asyncio

import pytest

from chat_session.errors import InvalidInput, SessionNotFound, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.replies.scene import expect_end, lose, until_shown
from chat_session.testing.turns.scene import LONG_LEASE, create_asking, forever, history, unanswered

LOSSES = {"taken_over": "taken_over", "handed_back": "taken_over", "stopped": "stopped"}


class ReplyEndContract:
    """A reply that ends without its message."""

    async def test_an_exception_in_the_block_stores_nothing_and_is_raised(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(ZeroDivisionError):
            async with manager.turn("s") as turn, turn.stream() as reply:
                await reply.write("hello")
                raise ZeroDivisionError
        assert reply.result is None
        await expect_end(manager, "aborted", "failed")
        assert await history(manager, "s") == ["question in s"]
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_the_turn_goes_on_after_a_reply_that_failed(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            with pytest.raises(ZeroDivisionError):
                async with turn.stream() as reply:
                    await reply.write("hello")
                    await until_shown(reply, 5)
                    raise ZeroDivisionError
            async with turn.stream() as reply:
                await reply.write("second try")
        assert await history(manager, "s") == ["question in s", "second try"]

    async def test_a_cancellation_stores_nothing(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        shown = asyncio.Event()

        async def work() -> None:
            async with manager.turn("s") as turn, turn.stream() as reply:
                await reply.write("hello")
                await until_shown(reply, 5)
                shown.set()
                await forever()

        task = asyncio.create_task(work())
        await shown.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await expect_end(manager, "aborted", "failed")
        assert await history(manager, "s") == ["question in s"]
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_a_cancellation_at_any_moment_leaves_no_reply_that_grows(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:

            async def work() -> None:
                async with turn.stream() as reply:
                    await reply.write("hello")

            for steps in range(25):
                working = asyncio.create_task(work())
                for _ in range(steps):
                    await asyncio.sleep(0)
                working.cancel()
                await asyncio.wait([working])
                async with turn.stream() as reply:
                    await reply.write(f"answer {steps}")
        texts = await history(manager, "s")
        assert [text for text in texts if text != "hello"] == ["question in s", *[f"answer {i}" for i in range(25)]]

    async def test_a_timeout_in_the_block_ends_the_reply_alone(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05), turn.stream() as reply:
                    await reply.write("hello")
                    await forever()
            await expect_end(manager, "aborted", "failed")
            await turn.reply("sorry")
        assert await history(manager, "s") == ["question in s", "sorry"]

    @pytest.mark.parametrize("waits", [True, False], ids=["in the middle", "at the end"])
    @pytest.mark.parametrize("how", LOSSES)
    async def test_a_lost_turn_stores_nothing(self, manager: SessionManager, how: str, *, waits: bool) -> None:
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost) as lost:
                async with manager.turn("s", lease=LONG_LEASE) as turn, turn.stream() as reply:
                    await reply.write("hello")
                    await until_shown(reply, 5)
                    await lose(manager, how)
                    if waits:
                        await forever()
        assert (lost.value.reason, reply.result) == (LOSSES[how], None)
        await expect_end(manager, "aborted", LOSSES[how])
        assert await history(manager, "s") == ["question in s"]

    async def test_a_commit_that_is_refused_has_the_message_in_its_error(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost):
            async with manager.turn("s", lease=LONG_LEASE) as turn:
                with pytest.raises(TurnLost) as refused:
                    async with turn.stream() as reply:
                        await lose(manager, "stopped")
                        await reply.write("hello")
                assert [message.text for message in refused.value.messages] == ["hello"]

    async def test_a_block_ends_when_its_session_is_deleted(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises((TurnLost, SessionNotFound)):
                async with manager.turn("s", lease=LONG_LEASE) as turn, turn.stream() as reply:
                    await manager.delete_session("s")
                    await reply.write("hello")
                    await forever()
        assert not await manager.is_session_active("s")

    async def test_a_turn_that_is_left_ends_the_reply_that_grows_in_it(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            reply = await turn.stream().__aenter__()
            await reply.write("hello")
        await expect_end(manager, "aborted", "released")
        with pytest.raises(TurnLost):
            await reply.__aexit__(None, None, None)
        with pytest.raises(InvalidInput):
            await reply.write("more")
        assert await history(manager, "s") == ["question in s"]
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("next")
        assert await history(manager, "s") == ["question in s", "next"]

    async def test_no_reply_begins_in_a_turn_that_is_over(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            pass
        with pytest.raises(TurnLost):
            async with turn.stream():
                pass
        with pytest.raises(TurnLost):
            async with manager.turn("s", lease=LONG_LEASE) as turn:
                await lose(manager, "stopped")
                async with turn.stream():
                    pass
        assert await history(manager, "s") == ["question in s"]
