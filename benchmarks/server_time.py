"""What each call costs the server, by its own INFO commandstats, on full histories."""

import asyncio
import itertools
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.measure import Pace
from benchmarks.messages import HISTORY, TTL, next_number, next_text
from benchmarks.peers.protocol import user_name
from chat_session import Agent, SessionManager
from testkit.servers import Server

NAMES = tuple(f"s{i}" for i in range(100))
TASKS = 64
PER_USER = 5
TARGETS = {"append 1": 20, "read the last 20": 15, "create": 20, "switch the agent": 10}  # microseconds


async def measure_server_time(server: Server, pace: Pace) -> dict[str, dict[str, Any]]:
    """Operation: microseconds per call, the median of rounds, and the target."""
    calls = 500 if pace.rounds < 5 else 3000
    with server.client() as raw:
        async with SessionManager.from_url(
            server.unix_url(), max_message_history=HISTORY, default_session_ttl=TTL
        ) as manager:
            for name in NAMES:
                await manager.create_session("someone", session_id=name)
                await manager.add_messages(name, [{"from": "user", "text": next_text()} for _ in range(HISTORY)])
            names = itertools.cycle(NAMES)
            agents: Iterator[Agent] = itertools.cycle(("human", "ai"))
            operations = {
                "append 1": lambda: manager.add_message(next(names), {"from": "user", "text": next_text()}),
                "read the last 20": lambda: manager.get_history(next(names), 20),
                "create": lambda: manager.create_session(user_name(next_number() // PER_USER), {"name": "Order 4711"}),
                "switch the agent": lambda: manager.switch_agent(next(names), next(agents)),
            }
            found: dict[str, list[float]] = {name: [] for name in operations}
            for turn in range(-1, pace.rounds):  # the first is not counted: it brings the scripts
                for name, call in operations.items():
                    raw.config_resetstat()
                    await _repeat(call, calls)
                    if turn >= 0:
                        found[name].append(_spent(raw.info("commandstats")) / calls)
    return {
        name: {"us": statistics.median(samples), "samples": samples, "target_us": TARGETS[name]}
        for name, samples in found.items()
    }


def _spent(stats: dict[str, Any]) -> int:
    """The microseconds that were spent. The time of a script includes its commands; that of a transaction does not."""
    script = stats.get("cmdstat_evalsha")
    ours = [script] if script else [stats[name] for name in stats.keys() - {"cmdstat_info", "cmdstat_config|resetstat"}]
    return sum(stat["usec"] for stat in ours)


async def _repeat(call: Any, times: int) -> None:
    left = iter(range(times))

    async def work() -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(work() for _ in range(TASKS)))
