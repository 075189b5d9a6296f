"""What grows with the number of sessions, and what does not: the same calls at 1,000 and at N."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import redis
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.messages import HISTORY, TTL, next_text
from chat_session import SessionManager
from chat_session.storage.redis.scripts.loading import load
from testkit.servers import Server

FEW = 1000
PER_USER = 5
TASKS = 256
SAMPLES = 500
SLOWLOG = 4096  # commands that it keeps
SCRIPTS = (
    "append_messages",
    "create_session",
    "delete_session",
    "get_history",
    "list_entries",
    "read_entries",
    "reconcile_entries",
    "set_ttl",
)
SLOW = 1000  # microseconds from which the server's SLOWLOG keeps a command


async def measure_scale(server: Server, sessions: int) -> dict[str, Any]:
    """Raises RuntimeError if a count is not exact, because then the times mean nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with server.client() as raw, Progress(*columns, transient=True) as progress:
        raw.config_set("slowlog-max-len", SLOWLOG)
        raw.config_set("slowlog-log-slower-than", SLOW)
        async with SessionManager.from_url(
            server.unix_url(), max_message_history=HISTORY, default_session_ttl=TTL, store_timeout=50
        ) as manager:
            run = _Run(manager, raw, progress)
            await manager.get_active_sessions_count()  # connects, and brings the scripts
            empty = raw.info("memory")["used_memory"]
            await run.create(0, FEW)
            at_few = await run.time_calls()
            before, extra = raw.info("memory")["used_memory"], run.messages_sent
            started = time.perf_counter()
            await run.create(FEW, sessions)
            created = time.perf_counter() - started
            bytes_per_session = (raw.info("memory")["used_memory"] - before) / (sessions - FEW)
            at_many = await run.time_calls()
            bytes_per_message, full = await run.weigh_messages()
            dead = sessions // 10
            await run.let_die(dead)
            slow_before = _read_slowlog(raw)
            sweep = await run.sweep(dead)
            slow_sweep = _read_slowlog(raw)
            used = raw.info("memory")
    return {
        "sessions": sessions,
        "users": sessions // PER_USER,
        "created_per_second": (sessions - FEW) / created,
        "calls": {name: {"us_at_few": at_few[name] * 1e6, "us_at_many": at_many[name] * 1e6} for name in at_few},
        "sweep": sweep,
        "slowlog": {"before_the_sweep": slow_before, "in_the_sweep": slow_sweep},
        "memory": {
            "bytes_per_session": round(bytes_per_session),
            "bytes_per_message": round(bytes_per_message),
            "messages_weighed": full,
            "used_bytes": used["used_memory"] - empty,
            "messages_before_weighing": extra,
        },
    }


class _Run:
    def __init__(self, manager: SessionManager, raw: redis.Redis, progress: Progress) -> None:
        self.manager = manager
        self.raw = raw
        self.progress = progress
        self.messages_sent = 0
        self.created = 0

    async def create(self, first: int, last: int) -> None:
        async def create_one(number: int) -> None:
            user, name = f"user-{number // PER_USER}", f"s{number:08d}"
            await self.manager.create_session(user, {"name": "Order 4711"}, session_id=name)

        await self._each("creating", range(first, last), last - first, create_one)
        self.created = last

    async def time_calls(self) -> dict[str, float]:
        """Seconds per call by one task, the median of calls to sessions spread over all there are."""
        step = max(1, self.created // SAMPLES)
        names = [f"s{number:08d}" for number in range(0, self.created, step)]
        users = [f"user-{number // PER_USER}" for number in range(0, self.created, step)]
        for name in names:
            await self.manager.add_messages(name, [_message() for _ in range(20)])
        self.messages_sent += 20 * len(names)
        count = await self.manager.get_active_sessions_count()
        if count != self.created:
            raise RuntimeError(f"{self.created:,} sessions are counted as {count:,}")
        fresh = (f"extra-{time.monotonic_ns()}-{i}" for i in itertools.count())
        times = {
            "append": await _median(names, lambda name: self.manager.add_message(name, _message())),
            "get_history": await _median(names, lambda name: self.manager.get_history(name, 20)),
            "get_user_sessions": await _median(users, self.manager.get_user_sessions),
            "get_active_sessions_count": await _median(names[:100], lambda _: self.manager.get_active_sessions_count()),
        }
        made = list(itertools.islice(fresh, SAMPLES))
        times["create"] = await _median(made, lambda name: self.manager.create_session("extra", session_id=name))
        for name in made:
            await self.manager.delete_session(name)
        return times

    async def weigh_messages(self) -> tuple[float, int]:
        """Bytes per message of full histories, with everything that is stored for them; and the number of messages."""
        names = [f"w{i}" for i in range(FEW)]
        await self._each("weighing", names, FEW, lambda name: self.manager.create_session("weighed", session_id=name))
        before = self.raw.info("memory")["used_memory"]
        await self._each(
            "weighing",
            names,
            FEW,
            lambda name: self.manager.add_messages(name, [_message() for _ in range(HISTORY)]),
        )
        grown = self.raw.info("memory")["used_memory"] - before
        await self._each("removing", names, FEW, self.manager.delete_session)
        return grown / (FEW * HISTORY), FEW * HISTORY

    async def let_die(self, dead: int) -> None:
        """Let that many sessions die, evenly spread over the indexes."""
        step = self.created // dead
        names = [f"s{number:08d}" for number in range(0, dead * step, step)]
        await self._each("dying", names, dead, lambda name: self.manager.set_session_ttl(name, 1))
        await asyncio.sleep(1.1)

    async def sweep(self, dead: int) -> dict[str, Any]:
        """Sweep what the dead sessions left."""
        started = time.perf_counter()
        result = await self.manager.cleanup_expired_sessions()
        elapsed = time.perf_counter() - started
        count = await self.manager.get_active_sessions_count()
        if (result.cleaned_count, count) != (dead, self.created - dead):
            raise RuntimeError(f"of {dead:,} dead {result.cleaned_count:,} were removed; {count:,} are counted")
        return {"dead": dead, "seconds": elapsed, "per_second": dead / elapsed}

    async def _each(self, what: str, values: Iterable[Any], total: int, call: Callable[[Any], Any]) -> None:
        bar = self.progress.add_task(what, total=total)
        left = iter(values)

        async def work() -> None:
            for value in left:
                await call(value)
                self.progress.advance(bar)

        await asyncio.gather(*(work() for _ in range(TASKS)))
        self.progress.remove_task(bar)


async def _median(values: Iterable[Any], call: Callable[[Any], Any]) -> float:
    times = []
    for value in values:
        started = time.perf_counter()
        await call(value)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _read_slowlog(raw: redis.Redis) -> dict[str, Any]:
    """The commands that took the server a millisecond or more. The log of the server is emptied."""
    entries = [(entry["duration"] / 1000, _name(entry["command"])) for entry in raw.slowlog_get(SLOWLOG)]
    raw.slowlog_reset()
    longest, name = max(entries, default=(None, None))
    over_5 = sum(duration > 5 for duration, _ in entries)
    return {"over_1_ms": len(entries), "over_5_ms": over_5, "longest_ms": longest, "longest": name}


def _name(command: bytes) -> str:
    """The script's name where it is one of ours, else the command's."""
    words = command.decode(errors="replace").split()
    names = {load(name).sha.decode(): name for name in SCRIPTS}
    return next((names[word] for word in words[:2] if word in names), words[0])


def _message() -> dict[str, str]:
    return {"from": "user", "text": next_text()}
