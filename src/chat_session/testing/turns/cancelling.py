"""The contract of a lost turn beside other cancellations: each is told apart."""

import asyncio

import pytest

from chat_session.errors import TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import LONG_LEASE, create_asking, forever, unanswered


class CancellingContract:
    """A lost turn beside cancellations by others, timeouts and task groups."""

    async def test_a_cancellation_by_others_stays_one(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        began = asyncio.Event()

        async def work() -> None:
            async with manager.turn("s", lease=LONG_LEASE):
                began.set()
                await forever()

        worker = asyncio.create_task(work())
        await began.wait()
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker

    async def test_a_cancellation_by_others_that_comes_with_the_loss_stays_one(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        began = asyncio.Event()

        async def work() -> None:
            async with manager.turn("s", lease=LONG_LEASE):
                began.set()
                try:
                    await forever()
                except asyncio.CancelledError:  # by the loss; at the same moment another comes
                    asyncio.current_task().cancel()  # type: ignore[union-attr]
                    raise

        worker = asyncio.create_task(work())
        await began.wait()
        await manager.stop_turn("s")
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await worker
        assert worker.cancelled()

    async def test_a_loss_that_was_caught_does_not_hide_a_cancellation_by_others(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        began, caught = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            async with manager.turn("s", lease=LONG_LEASE):
                began.set()
                for _ in range(2):
                    try:
                        await forever()
                    except asyncio.CancelledError:
                        caught.set()

        worker = asyncio.create_task(work())
        await began.wait()
        await manager.stop_turn("s")
        async with asyncio.timeout(10):
            await caught.wait()
            worker.cancel()
            with pytest.raises(asyncio.CancelledError):
                await worker

    async def test_a_timeout_around_the_block_stays_one(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                async with manager.turn("s", lease=LONG_LEASE):
                    await forever()
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_a_timeout_within_the_block_stays_one(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s", lease=LONG_LEASE) as turn:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await forever()
            await turn.reply("it takes too long")
        assert await unanswered(manager, "s") == []

    async def test_a_loss_within_a_timeout_of_the_block_is_a_loss(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost):
            async with asyncio.timeout(20), manager.turn("s", lease=LONG_LEASE):
                await manager.stop_turn("s")
                async with asyncio.timeout(10):
                    await forever()
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    async def test_a_loss_ends_the_tasks_of_a_group_within_the_block(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        ended = 0

        async def work() -> None:
            nonlocal ended
            try:
                await forever()
            finally:
                ended += 1

        async with asyncio.timeout(10):
            with pytest.raises(TurnLost):
                async with manager.turn("s", lease=LONG_LEASE), asyncio.TaskGroup() as group:
                    for _ in range(3):
                        group.create_task(work())
                    await asyncio.sleep(0)
                    await manager.stop_turn("s")
        assert ended == 3

    async def test_a_task_of_a_group_within_the_block_may_reply(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s", lease=LONG_LEASE) as turn, asyncio.TaskGroup() as group:
            for text in ("one", "two"):
                group.create_task(turn.reply(text))
        assert await unanswered(manager, "s") == []

    async def test_the_loss_of_one_turn_of_a_group_leaves_the_group_with_the_loss(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s")
        began = asyncio.Event()

        async def work() -> None:
            async with manager.turn("s", lease=LONG_LEASE):
                began.set()
                await forever()

        async with asyncio.timeout(10):
            with pytest.raises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    group.create_task(work())
                    await began.wait()
                    await manager.stop_turn("s")
        assert raised.group_contains(TurnLost)
