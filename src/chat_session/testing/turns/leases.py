"""The contract of a turn's lease: renewed while the block runs, over when its worker has gone."""

import asyncio
import time

import pytest

from chat_session.errors import TurnBusy, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import (
    RENEWED_LEASE,
    SHORT_LEASE,
    ask,
    create_asking,
    forever,
    history,
    leave_turn_of_dead_worker,
    unanswered,
)


class LeaseContract:
    """A lease is renewed while the block runs, and ends with its worker."""

    async def test_a_turn_lasts_as_long_as_its_block(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s", lease=RENEWED_LEASE) as turn:
            with pytest.raises(TurnBusy):
                async with manager.turn("s", wait=2 * RENEWED_LEASE):
                    pass
            await turn.reply("it took a while")
        assert await history(manager, "s") == ["question in s", "it took a while"]

    async def test_a_turn_of_a_worker_that_died_ends_with_its_lease(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await leave_turn_of_dead_worker(manager, "s", 2 * SHORT_LEASE)
        with pytest.raises(TurnBusy):
            async with manager.turn("s"):
                pass
        async with manager.turn("s", wait=20):
            pass

    async def test_a_block_whose_lease_is_over_is_cancelled(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost) as lost:
                async with manager.turn("s", lease=SHORT_LEASE):
                    time.sleep(1.5 * SHORT_LEASE)  # noqa: ASYNC251 - the process stands still
                    await forever()
        assert lost.value.reason == "expired"
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_leaving_a_block_whose_lease_is_over_marks_nothing(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost) as lost:
            async with manager.turn("s", lease=SHORT_LEASE):
                time.sleep(1.5 * SHORT_LEASE)  # noqa: ASYNC251 - as above
        assert lost.value.reason == "expired"
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_an_old_worker_that_leaves_does_not_release_the_turn_of_the_next(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost):
            async with manager.turn("s", lease=SHORT_LEASE):
                time.sleep(1.5 * SHORT_LEASE)  # noqa: ASYNC251 - as above
                await leave_turn_of_dead_worker(manager, "s", 60)
        with pytest.raises(TurnBusy):
            async with manager.turn("s"):
                pass

    async def test_a_turn_does_not_change_what_people_see_of_the_session(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        before = await manager.get_session("s")
        async with manager.turn("s"):
            assert await manager.get_session("s") == before
        assert await manager.get_session("s") == before
        await ask(manager, "s", "more")
        assert await manager.get_session("s") != before
