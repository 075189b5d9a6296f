"""Measures closed loops of tasks or threads for a fixed time, and takes medians."""

import asyncio
import gc
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Pace(NamedTuple):
    """How often and how long is measured. Seconds."""

    rounds: int
    window: float
    patience: float  # after the window, for what is still under way; then it is cancelled


ALONE = 30.0  # the patience with a single task: one call after the other comes to an end

FULL = Pace(rounds=7, window=0.2, patience=2.0)
QUICK = Pace(rounds=3, window=0.03, patience=0.12)


class Load(NamedTuple):
    """What one sample does: ``call(target)``, by one task for each of ``targets``."""

    call: Callable[[str], Any]
    targets: Sequence[Iterator[str]]
    blocking: bool = False


@dataclass
class Cell:
    """The samples of one operation of one peer, in seconds of wall time per operation."""

    samples: list[float] = field(default_factory=list)
    operations: int = 0
    cut: bool = False  # some were still under way when patience ended, and were cancelled
    note: str = ""
    longest: int | None = None  # messages at the end of the longest sample, where the peer does not bound them
    missing: str = ""  # why there are no samples

    @property
    def median(self) -> float | None:
        return statistics.median(self.samples) if self.samples else None

    @property
    def spread(self) -> float | None:
        """Half the distance between the quartiles, relative to the median."""
        if len(self.samples) < 3 or not self.median:
            return None
        low, _, high = statistics.quantiles(self.samples, n=4)
        return (high - low) / 2 / self.median


async def take_sample(load: Load, pace: Pace, cell: Cell) -> bool:
    """Add one sample to the cell. True when calls that took too long were cancelled."""
    if load.blocking:
        done, elapsed, cut = _run_threads(load, pace)
    else:
        done, elapsed, cut = await _run_tasks(load, pace)
    cell.cut = cell.cut or cut
    cell.operations += done
    if done:
        cell.samples.append(elapsed / done)
    else:
        cell.missing = f"none of {len(load.targets)} done in {elapsed:.1f} s"
    return cut


def settle_memory() -> None:
    """Exclude all existing objects from garbage collection: the modules of the peers would slow down every peer."""
    gc.collect()
    gc.freeze()


async def _run_tasks(load: Load, pace: Pace) -> tuple[int, float, bool]:
    done = 0

    async def work(mine: Iterator[str]) -> None:
        nonlocal done
        while True:
            await load.call(next(mine))
            done += 1
            if time.perf_counter() >= deadline:
                return

    started = time.perf_counter()
    deadline = started + pace.window
    tasks = [asyncio.create_task(work(mine)) for mine in load.targets]
    patience = pace.patience if len(tasks) > 1 else ALONE
    finished, late = await asyncio.wait(tasks, timeout=pace.window + patience)
    counted, elapsed = done, time.perf_counter() - started
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    for task in finished:
        task.result()
    return counted, elapsed, bool(late)


def _run_threads(load: Load, pace: Pace) -> tuple[int, float, bool]:
    """The same with threads. A thread cannot be cancelled, so the last call of each is waited for."""
    counts = [0] * len(load.targets)
    errors: list[Exception] = []
    start = threading.Barrier(len(load.targets) + 1)

    def work(number: int, mine: Iterator[str]) -> None:
        start.wait()
        deadline = time.perf_counter() + pace.window
        try:
            while True:
                load.call(next(mine))
                counts[number] += 1
                if time.perf_counter() >= deadline:
                    return
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i, mine)) for i, mine in enumerate(load.targets)]
    for thread in threads:
        thread.start()
    start.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(counts), time.perf_counter() - started, False


def deal(targets: Sequence[str], tasks: int) -> list[Iterator[str]]:
    """An endless iterator over the targets for each task. They start at different targets, evenly spread."""
    size = len(targets)
    starts = [i * max(1, size // tasks) % size for i in range(tasks)]
    return [itertools.cycle([*targets[start:], *targets[:start]]) for start in starts]
