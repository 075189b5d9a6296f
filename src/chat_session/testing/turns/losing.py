"""The contract of a lost turn: its block is cancelled, and TurnLost says why."""

import asyncio
from contextlib import suppress

import pytest

from chat_session.desk import Desk
from chat_session.errors import SessionNotFound, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import (
    LONG_LEASE,
    create_asking,
    forever,
    history,
    unanswered,
)


async def lose(manager: SessionManager, how: str) -> None:
    match how:
        case "taken_over":
            await Desk(manager).take_over("s", "anna")
        case "switched":
            await manager.switch_agent("s", "human")
        case "stopped":
            await manager.stop_turn("s")


WAYS = {"taken_over": "taken_over", "switched": "taken_over", "stopped": "stopped"}  # and the reason that is given


class LosingContract:
    """A turn that is lost cancels its block."""

    @pytest.mark.parametrize("how", WAYS)
    async def test_a_lost_turn_cancels_its_block(self, manager: SessionManager, how: str) -> None:
        await create_asking(manager, "s")
        was_cancelled = False
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost) as lost:
                async with manager.turn("s", lease=LONG_LEASE):
                    await lose(manager, how)
                    try:
                        await forever()
                    except asyncio.CancelledError:
                        was_cancelled = True
                        raise
        assert was_cancelled
        assert (lost.value.reason, lost.value.session_id) == (WAYS[how], "s")
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    @pytest.mark.parametrize("how", WAYS)
    async def test_a_block_that_ends_before_it_is_cancelled_raises_too(self, manager: SessionManager, how: str) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost) as lost:
            async with manager.turn("s", lease=LONG_LEASE):
                await lose(manager, how)
        assert lost.value.reason == WAYS[how]
        await asyncio.sleep(0)  # no cancellation arrives later

    async def test_a_lost_turn_marks_nothing(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost):
            async with manager.turn("s", lease=LONG_LEASE):
                await manager.stop_turn("s")
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_a_block_ends_when_its_session_is_deleted(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises((TurnLost, SessionNotFound)):
                async with manager.turn("s", lease=LONG_LEASE):
                    await manager.delete_session("s")
                    await forever()

    async def test_a_block_that_catches_the_cancellation_ends_with_the_loss(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost) as lost:
                async with manager.turn("s", lease=LONG_LEASE) as turn:
                    await manager.stop_turn("s")
                    with suppress(asyncio.CancelledError):
                        await forever()
                    await turn.record("cleaned up")
        assert lost.value.reason == "stopped"
        assert await history(manager, "s", internal=True) == ["question in s", "cleaned up"]

    async def test_a_blocks_own_error_stays_when_the_turn_is_lost(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises(ZeroDivisionError):
                async with manager.turn("s", lease=LONG_LEASE):
                    await manager.stop_turn("s")
                    try:
                        await forever()
                    except asyncio.CancelledError:
                        raise ZeroDivisionError from None
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    async def test_the_worker_goes_on_with_the_next_session_after_a_loss(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", "next")
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost):
                async with manager.turn("s", lease=LONG_LEASE):
                    await manager.stop_turn("s")
                    await forever()
            async with manager.turn("next", lease=LONG_LEASE) as turn:
                await turn.reply("here I am")
        assert await history(manager, "next") == ["question in next", "here I am"]

    async def test_a_turn_that_nobody_has_cannot_be_stopped(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        assert not (await manager.stop_turn("s")).success
        async with manager.turn("s"):
            pass
        assert not (await manager.stop_turn("s")).success

    async def test_another_worker_can_take_the_session_after_a_stop(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost):
            async with manager.turn("s", lease=LONG_LEASE):
                await manager.stop_turn("s")
                assert await unanswered(manager, "s") == ["question in s"]
                await forever()
