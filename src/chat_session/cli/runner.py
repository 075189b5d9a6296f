"""Runs a command's coroutine until it is done or a signal ends it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(work: Coroutine[Any, Any, int]) -> int:
    """Give the exit code of ``work``; 130 or 143 if SIGINT or SIGTERM cancelled it.

    On the first signal ``work`` is cancelled and may close what it opened. A second one kills the
    process at once, as if nobody had listened.
    """
    with asyncio.Runner() as runner:
        return runner.run(_until_signal(work))


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A group that raises what its first task to fail raised, as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    loop = asyncio.get_running_loop()
    task = loop.create_task(work, name="chat-session command")
    received: list[int] = []

    def cancel(number: signal.Signals) -> None:
        received.append(number)
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        task.cancel()

    for each in SIGNALS:
        with suppress(NotImplementedError):  # Windows; there asyncio.Runner turns Ctrl-C into a cancellation itself
            loop.add_signal_handler(each, cancel, each)
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
