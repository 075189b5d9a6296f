"""An asynchronous generator of the background thread of ``chat_session.blocking``, read from another thread."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from chat_session.errors import ManagerClosed, UsedAfterFork
from chat_session.loop_thread import LoopThread

T = TypeVar("T")


def take_each(thread: LoopThread, items: AsyncGenerator[T, None], *, ends_when_closed: bool) -> Iterator[T]:
    """Each item as it comes. ``ends_when_closed``: once the first step was taken, ManagerClosed is its end."""
    taking: asyncio.Task[Any] | None = None

    async def take() -> T:
        nonlocal taking
        taking = asyncio.current_task()
        return await anext(items)

    async def close() -> None:
        if taking is not None and not taking.done():  # Ctrl-C has come meanwhile: it is being cancelled
            await asyncio.wait([taking])
        await items.aclose()

    try:
        while True:
            try:
                item = thread.call(take)
            except StopAsyncIteration:
                return
            except ManagerClosed:
                if ends_when_closed and taking is not None:
                    return
                raise
            yield item
    finally:
        with suppress(ManagerClosed, UsedAfterFork):
            thread.call(close)
