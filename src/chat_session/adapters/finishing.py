"""A write that its caller may cancel, but not leave half known."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def finish(write: Awaitable[T]) -> T:
    """Wait for the write even if the caller is cancelled meanwhile; then raise the cancellation.

    Whatever the caller does next so comes after the write. A store's own deadline bounds the time.
    """
    task = asyncio.ensure_future(write)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # seen, so that the event loop does not warn of it
    raise cancelled
