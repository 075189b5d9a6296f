"""From an append in one process to the delivery in another: 2,000 messages a second over 500 watched sessions."""

import asyncio
import multiprocessing
import statistics
import time
from typing import Any

from chat_session import SessionManager
from chat_session.events import MessageAppended, State

SESSIONS = 500
RATE = 2000  # messages a second
TICK = 0.001  # seconds


def time_delivery(url: str, seconds: float) -> dict[str, Any]:
    """Milliseconds from the moment before the append to the moment of its event."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Queue()
    writer = context.Process(target=_run_writer, args=(url, seconds, ready, done))
    delays, cpu = asyncio.run(_watch_all(url, seconds, writer, ready))
    sent, writer_cpu = done.get()
    writer.join()
    cuts = statistics.quantiles(delays, n=100)
    return {
        "messages": sent,
        "delivered": len(delays),
        "per_second": sent / seconds,
        "median_ms": statistics.median(delays),
        "p95_ms": cuts[94],
        "p99_ms": cuts[98],
        "watching_core": cpu / seconds,
        "writing_core": writer_cpu / seconds,
    }


async def _watch_all(url: str, seconds: float, writer: Any, ready: Any) -> tuple[list[float], float]:
    delays: list[float] = []
    async with SessionManager.from_url(url) as manager:
        waiting = asyncio.Semaphore(0)

        async def watch(session_id: str) -> None:
            async for event in manager.watch(session_id):
                if isinstance(event, State):
                    waiting.release()
                elif isinstance(event, MessageAppended):
                    delays.append((time.monotonic() - float(event.message.text or 0)) * 1e3)

        for number in range(SESSIONS):
            await manager.create_session("user", session_id=f"s{number}")
        tasks = [asyncio.create_task(watch(f"s{number}")) for number in range(SESSIONS)]
        for _ in tasks:
            await waiting.acquire()
        writer.start()
        await asyncio.to_thread(ready.wait)
        before = time.process_time()
        await asyncio.sleep(seconds + 1)
        cpu = time.process_time() - before
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return delays, cpu


def _run_writer(url: str, seconds: float, ready: Any, done: Any) -> None:
    done.put(asyncio.run(_append_all(url, seconds, ready)))


async def _append_all(url: str, seconds: float, ready: Any) -> tuple[int, float]:
    """How many were sent, and the seconds of CPU."""
    sent = 0
    async with SessionManager.from_url(url) as manager:
        await manager.get_active_sessions_count()
        ready.set()
        before, started = time.process_time(), time.monotonic()
        tasks: set[asyncio.Task[Any]] = set()
        while (passed := time.monotonic() - started) < seconds:
            while sent < passed * RATE:
                message = {"from": "user", "text": repr(time.monotonic())}
                task = asyncio.create_task(manager.add_message(f"s{sent % SESSIONS}", message))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(TICK)
        await asyncio.gather(*tasks)
        return sent, time.process_time() - before
