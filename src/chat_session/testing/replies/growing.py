"""The contract of a reply while it grows: it is sent in batches, and watchers can see it."""

import asyncio
from collections.abc import Callable

import pytest

from chat_session.errors import MessageTooLarge, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.replies.scene import (
    Listener,
    Worker,
    lose,
    replies_of,
    until_over,
    until_shown,
)
from chat_session.testing.turns.scene import LONG_LEASE, create_asking, forever, history

Open = Callable[..., SessionManager]


class GrowingContract:
    """What is sent while a reply grows."""

    async def test_what_was_written_is_in_the_store_before_the_block_is_left(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            worker = Worker(manager, replies_of(manager), turn._token)  # noqa: SLF001 - to look into the store
            assert await worker.count_bytes(reply.id) == 0
            written = 0
            for text in ("hello", " 漢字", "!"):
                await reply.write(text)
                written += len(text.encode())
                await until_shown(reply, written)
                assert await worker.count_bytes(reply.id) == written

    async def test_many_small_texts_are_sent_in_few_deltas(self, open_manager: Open) -> None:
        listener = Listener()
        manager = open_manager(hooks=[listener])
        await create_asking(manager, "s")
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with manager.turn("s") as turn, turn.stream() as reply:
            for _ in range(500):
                await reply.write("word ")
                await asyncio.sleep(0)
            await until_shown(reply, 2500)
            assert listener.deltas <= 3 + (loop.time() - began) / 0.02
        assert await history(manager, "s") == ["question in s", "word " * 500]

    async def test_a_text_that_makes_the_reply_too_long_is_not_sent(self, open_manager: Open) -> None:
        manager = open_manager(max_message_bytes=10)
        await create_asking_briefly(manager)
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("12345漢")
            for text in ("678", "漢", "x" * 1000):
                with pytest.raises(MessageTooLarge):
                    await reply.write(text)
            assert reply.text == "12345漢"
            await reply.write("67")
        assert await history(manager, "s") == ["?", "12345漢67"]

    @pytest.mark.parametrize("how", ["taken_over", "stopped"])
    async def test_a_block_is_cancelled_when_a_delta_is_refused(self, manager: SessionManager, how: str) -> None:
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost) as lost:
                async with manager.turn("s", lease=LONG_LEASE) as turn, turn.stream() as reply:
                    await lose(manager, how)
                    await reply.write("x")
                    await forever()
        assert lost.value.reason == how
        assert await history(manager, "s") == ["question in s"]
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    async def test_writing_raises_once_the_turn_is_lost(self, manager: SessionManager) -> None:
        """Where the cancellation does not arrive: in another task, or if it is caught."""
        await create_asking(manager, "s")
        with pytest.raises(TurnLost) as left:
            async with manager.turn("s", lease=LONG_LEASE) as turn, turn.stream() as reply:

                async def write() -> None:
                    while True:
                        await reply.write("x")
                        await asyncio.sleep(0.001)

                writing = asyncio.create_task(write())
                await lose(manager, "stopped")
                try:
                    await asyncio.shield(writing)
                except asyncio.CancelledError:
                    with pytest.raises(TurnLost) as refused:
                        await writing
                    assert refused.value.reason == "stopped"
                    raise
        assert left.value.reason == "stopped"
        assert await history(manager, "s") == ["question in s"]

    async def test_a_watcher_that_ends_the_reply_in_the_store_ends_its_block(self, manager: SessionManager) -> None:
        """Somebody else's abort counts, although the turn is held."""
        await create_asking(manager, "s")
        async with asyncio.timeout(10):
            with pytest.raises(TurnLost):
                async with manager.turn("s", lease=LONG_LEASE) as turn, turn.stream() as reply:
                    worker = Worker(manager, replies_of(manager), turn._token)  # noqa: SLF001 - as above
                    await worker.abort("failed", reply.id)
                    await until_over(worker, reply.id)
                    await reply.write("x")
                    await forever()
        assert await history(manager, "s") == ["question in s"]

    async def test_hooks_are_told_of_a_reply(self, open_manager: Open) -> None:
        listener = Listener()
        manager = open_manager(hooks=[listener])
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            async with turn.stream() as reply:
                await reply.write("hello")
                assert listener.told == ["s begun"]
            assert listener.told == ["s begun", "s committed"]
            for keep in (False, True):
                with pytest.raises(ZeroDivisionError):
                    async with turn.stream(keep_partial=keep) as reply:
                        await reply.write("hello")
                        raise ZeroDivisionError
        assert listener.told[2:] == ["s begun", "s failed", "s begun", "s partial"]
        with pytest.raises(TurnLost):
            async with manager.turn("s") as turn, turn.stream():
                await lose(manager, "stopped")
        assert listener.told[6:] == ["s begun", "s stopped"]


async def create_asking_briefly(manager: SessionManager) -> None:
    """With a question that is short enough for any limit."""
    await manager.create_session("u", session_id="s", ttl=600)
    await manager.add_message("s", {"from": "user", "text": "?"})
