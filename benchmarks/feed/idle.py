"""2,000 watchers of sessions in which nothing happens: memory, and the cost of the poll."""

import asyncio
import gc
import time
import tracemalloc

from chat_session import SessionManager
from chat_session.events import State

WATCHERS = 2000


async def measure_idle(url: str, seconds: float) -> dict[str, float]:
    """KiB for each watcher with the task that waits for its events, and the share of a core that all of them use."""
    async with SessionManager.from_url(url) as manager:
        for number in range(WATCHERS):
            await manager.create_session("user", session_id=f"s{number}")
        waiting = asyncio.Semaphore(0)

        async def watch(session_id: str) -> None:
            async for event in manager.watch(session_id):
                if isinstance(event, State):
                    waiting.release()

        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        tasks = [asyncio.create_task(watch(f"s{number}")) for number in range(WATCHERS)]
        for _ in tasks:
            await waiting.acquire()
        await asyncio.sleep(3)  # all are subscribed, and have looked again
        gc.collect()
        memory = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        started, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        share = (time.process_time() - cpu) / (time.monotonic() - started)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return {"watchers": WATCHERS, "kib_per_watcher": memory / WATCHERS / 1024, "core": share}
