"""200 replies at once, 50 tokens a second each, in one process that also watches them."""

import asyncio
import statistics
import time
from typing import Any

from chat_session import SessionManager
from chat_session.events import ReplyCommitted, ReplyDelta, State
from testkit.servers import Server

REPLIES = 200
RATE = 50  # tokens a second
TOKEN = 16  # bytes


async def time_streams(server: Server, seconds: float) -> dict[str, Any]:
    """Milliseconds from the writing of a token to its delivery, and the server's time for each token."""
    delays: list[float] = []
    async with SessionManager.from_url(server.unix_url()) as manager:
        for number in range(REPLIES):
            await manager.create_session("user", session_id=f"s{number}")
            await manager.add_message(f"s{number}", {"from": "user", "text": "question"})
        waiting = asyncio.Semaphore(0)

        async def watch(session_id: str) -> None:
            async for event in manager.watch(session_id):
                if isinstance(event, State):
                    waiting.release()
                elif isinstance(event, ReplyDelta):
                    now = time.monotonic()
                    delays.extend((now - float(token)) * 1e3 for token in event.text.split())
                elif isinstance(event, ReplyCommitted):
                    return

        async def answer(number: int) -> None:
            async with manager.turn(f"s{number}") as turn, turn.stream() as reply:
                begun = time.monotonic() + number / REPLIES / RATE
                for token in range(int(seconds * RATE)):
                    await asyncio.sleep(max(begun + token / RATE - time.monotonic(), 0))
                    await reply.write(f"{time.monotonic():.4f}".ljust(TOKEN - 1) + " ")

        watchers = [asyncio.create_task(watch(f"s{number}")) for number in range(REPLIES)]
        for _ in watchers:
            await waiting.acquire()
        with server.client() as raw:
            raw.config_resetstat()
            cpu, started = time.process_time(), time.monotonic()
            await asyncio.gather(*(answer(number) for number in range(REPLIES)))
            took, cpu = time.monotonic() - started, time.process_time() - cpu
            stats = raw.info("commandstats")
        await asyncio.wait_for(asyncio.gather(*watchers), 30)
    tokens = REPLIES * int(seconds * RATE)
    server_us = sum(each["usec"] for name, each in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval"))
    cuts = statistics.quantiles(delays, n=100)
    return {
        "tokens": tokens,
        "delivered": len(delays),
        "seconds": took,
        "median_ms": statistics.median(delays),
        "p99_ms": cuts[98],
        "server_us_per_token": server_us / tokens,
        "core": cpu / took,
    }
