"""The contract of the debounce: a round begins when the customer has stopped for a while, or after five whiles."""

import asyncio
from functools import partial

import pytest

from chat_session.errors import TurnBusy, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import (
    RENEWED_LEASE,
    ask,
    create,
    create_asking,
    history,
    texts,
    unanswered,
)
from chat_session.testing.waiting import until


async def is_busy(manager: SessionManager, session_id: str) -> bool:
    """Whether a worker has the turn. Nothing is marked as answered."""
    try:
        await unanswered(manager, session_id)
    except TurnBusy:
        return True
    return False


class DebounceContract:
    """A round waits until the customer has finished."""

    async def test_three_quick_messages_get_one_answer(self, manager: SessionManager) -> None:
        await create(manager, "s")
        await ask(manager, "s", "one")

        async def work() -> list[list[str]]:
            rounds = []
            async with manager.turn("s", debounce=0.5) as turn:
                async for messages in turn:
                    rounds.append(texts(messages))
                    await turn.reply("to all")
            return rounds

        worker = asyncio.create_task(work())
        await ask(manager, "s", "two", "three")
        async with asyncio.timeout(10):
            assert await worker == [["one", "two", "three"]]
        assert await history(manager, "s") == ["one", "two", "three", "to all"]

    async def test_each_message_lets_the_round_wait_again(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def work() -> list[str]:
            async with manager.turn("s", debounce=0.4) as turn:
                return texts(turn.messages)

        worker = asyncio.create_task(work())

        async def is_half_over() -> bool:
            return loop.time() - began > 0.2

        await until(is_half_over)
        await ask(manager, "s", "more")
        async with asyncio.timeout(10):
            assert await worker == ["question in s", "more"]
        assert loop.time() - began > 0.55

    async def test_a_round_begins_after_five_times_the_debounce_at_the_latest(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        loop = asyncio.get_running_loop()

        async def keep_typing() -> None:
            while True:
                await ask(manager, "s", "and")
                await asyncio.sleep(0.02)

        typing = asyncio.create_task(keep_typing())
        try:
            began = loop.time()
            async with asyncio.timeout(20), manager.turn("s", debounce=0.4) as turn:
                assert len(turn.messages) > 1
            assert loop.time() - began > 1.4  # some of five times 0.4 s: the messages may have come slowly
        finally:
            typing.cancel()

    async def test_a_message_that_is_old_enough_does_not_wait(self, manager: SessionManager) -> None:
        await create(manager, "s")
        old = {"from": "user", "text": "hello?", "timestamp": "2026-01-31T08:00:00Z"}
        await manager.add_message("s", old)
        async with asyncio.timeout(10), manager.turn("s", debounce=60) as turn:
            assert texts(turn.messages) == ["hello?"]

    async def test_the_session_is_busy_while_a_round_waits_even_longer_than_the_lease(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s")

        async def work() -> None:
            async with manager.turn("s", lease=RENEWED_LEASE, wait=20, debounce=3 * RENEWED_LEASE) as turn:
                await turn.reply("hello")

        worker = asyncio.create_task(work())

        loop = asyncio.get_running_loop()
        await until(partial(is_busy, manager, "s"))
        ends = loop.time() + 1.2 * RENEWED_LEASE
        while loop.time() < ends:
            assert await is_busy(manager, "s")
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            await worker

    async def test_a_takeover_while_a_round_waits_is_a_loss(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")

        async def work() -> None:
            async with manager.turn("s", lease=RENEWED_LEASE, wait=20, debounce=60):
                pass

        worker = asyncio.create_task(work())
        await until(partial(is_busy, manager, "s"))
        await manager.switch_agent("s", "human")
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost) as lost:
                await worker
        assert lost.value.reason == "taken_over"
