"""Runs a command's coroutine until it is done or a signal ends it."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

ORDERLY, FORCED = 0.3, 0.8  # seconds after a signal
AGAIN = 0.05  # seconds between two cancellations, once ORDERLY is over
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(work: Coroutine[Any, Any, int]) -> int:
    """Give the exit code of ``work``; 130 or 143 if SIGINT or SIGTERM cancelled it.

    On the first signal ``work`` is cancelled and may finish a step and close what it opened, within ORDERLY
    seconds: a server that does not answer must not keep anybody waiting. What then still waits is cancelled
    again, and after FORCED seconds the process ends. A second signal kills it at once, as if nobody had listened.
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

    def cancel(pause: float) -> None:
        task.cancel()
        loop.call_later(pause, cancel, AGAIN)

    def on_signal(number: int, _: object) -> None:
        """It also runs while the command waits to write its output, when the event loop does not."""
        received.append(number)
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        guard = threading.Timer(FORCED, os._exit, [128 + number])
        guard.daemon = True
        guard.start()
        loop.call_soon_threadsafe(cancel, ORDERLY)

    before = {each: signal.signal(each, on_signal) for each in SIGNALS}
    try:
        return await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    finally:
        if not received:
            for each, handler in before.items():
                signal.signal(each, handler)
