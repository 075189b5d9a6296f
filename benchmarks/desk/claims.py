"""Claims: one operator after the other, and 100 operators in four processes at once."""

import asyncio
import itertools
import multiprocessing
import statistics
import time
from typing import Any

from chat_session import Desk, Session, SessionManager

PROCESSES = 4
OPERATORS = 25  # in each process
TASKS = 256
CAPACITY = 10_000
MARGIN = 5.0  # seconds in which all processes are ready


async def fill_queue(url: str, count: int) -> float:
    """Create sessions that wait with priorities from 0 to 9; microseconds for each."""
    async with SessionManager.from_url(url) as manager:
        desk, numbers = Desk(manager), iter(range(count))

        async def create() -> None:
            for number in numbers:
                await manager.create_session(f"user-{number}", session_id=f"s{number}")
                await desk.request_human(f"s{number}", priority=number % 10)

        started = time.perf_counter()
        await asyncio.gather(*[create() for _ in range(TASKS)])
        return (time.perf_counter() - started) / count * 1e6


async def time_claims_of_one(url: str, count: int) -> dict[str, float]:
    """Milliseconds of a claim by one operator whom nobody disturbs."""
    async with SessionManager.from_url(url) as manager:
        desk = Desk(manager)
        await desk.operator_seen("alone", capacity=CAPACITY)
        taken: list[float] = []
        for _ in range(count):
            started = time.perf_counter()
            await desk.claim_next("alone")
            taken.append((time.perf_counter() - started) * 1e3)
    return {"median_ms": statistics.median(taken), "p99_ms": statistics.quantiles(taken, n=100)[98]}


def time_claims_of_many(url: str, seconds: float) -> dict[str, Any]:
    """Raises RuntimeError if a session was claimed twice, or an operator did not get them in order."""
    context = multiprocessing.get_context("spawn")
    claimed: Any = context.Queue()
    begin = time.time() + MARGIN
    processes = [
        context.Process(target=_run, args=(url, number, begin, seconds, claimed)) for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    by_operator = list(itertools.chain.from_iterable(claimed.get() for _ in processes))
    for process in processes:
        process.join()
    names = [name for sessions in by_operator for name, _, _ in sessions]
    if len(names) != len(set(names)):
        raise RuntimeError("a session was claimed twice")
    if any(places != sorted(places) for places in ([each[1:] for each in sessions] for sessions in by_operator)):
        raise RuntimeError("an operator did not get the sessions in the order of the queue")
    return {"operators": PROCESSES * OPERATORS, "claims": len(names), "per_second": len(names) / seconds}


def _run(url: str, number: int, begin: float, seconds: float, claimed: Any) -> None:
    claimed.put(asyncio.run(_claim_all(url, number, begin, seconds)))


async def _claim_all(url: str, number: int, begin: float, seconds: float) -> list[list[tuple[str, int, Any]]]:
    """For each operator its sessions in order: id, priority from the highest, since when it waited."""
    async with SessionManager.from_url(url) as manager:
        desk = Desk(manager)

        async def work(operator: str) -> list[tuple[str, int, Any]]:
            await desk.operator_seen(operator, capacity=CAPACITY)
            await asyncio.sleep(begin - time.time())
            got: list[Session] = []
            while time.time() < begin + seconds and (session := await desk.claim_next(operator)) is not None:
                got.append(session)
            return [(each.session_id, -each.desk.priority, each.desk.waiting_since) for each in got]

        return await asyncio.gather(*[work(f"operator-{number}-{i}") for i in range(OPERATORS)])
