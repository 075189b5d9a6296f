"""Measures the same calls on several stores in alternating rounds, and prints the medians."""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

Call = Callable[[], Awaitable[object]]
Table = dict[str, dict[str, float]]  # seconds of one call, by row and by store
S = TypeVar("S")


class Case(NamedTuple):
    """A call, and what is called before each time and not measured."""

    call: Call
    before: Call | None = None


class Comparison(NamedTuple, Generic[S]):
    """What the benchmark of an adapter says: the stores in a folder, their data, and the calls by row."""

    open_stores: Callable[[Path], AbstractAsyncContextManager[Mapping[str, S]]]
    prepare: Callable[[S], Awaitable[None]]
    cases_on: Callable[[S], Mapping[str, Case]]


async def measure(cases: Mapping[str, Mapping[str, Case]], rounds: int, times: int) -> Table:
    """``cases``: by row and by store. Each round measures every store once, in another order."""
    samples: dict[str, dict[str, list[float]]] = {row: {name: [] for name in stores} for row, stores in cases.items()}
    for number in range(rounds):
        for row, stores in cases.items():
            names = list(stores)
            first = number % len(names)
            for name in names[first:] + names[:first]:
                samples[row][name].append(await _measure_one(stores[name], times))
    return {row: {name: statistics.median(each) for name, each in stores.items()} for row, stores in samples.items()}


async def _measure_one(case: Case, times: int) -> float:
    taken = 0.0
    for _ in range(times):
        if case.before is not None:
            await case.before()
        started = time.perf_counter()
        await case.call()
        taken += time.perf_counter() - started
    return taken / times


def expect(fact: object) -> None:
    """A store that loses what it was given is not measured."""
    if not fact:
        raise RuntimeError("messages were lost")


def print_table(table: Table) -> None:
    names = list(dict.fromkeys(name for cells in table.values() for name in cells))
    print("| milliseconds | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for row, cells in table.items():
        shown = (f"{1000 * cells[name]:.3f}" if name in cells else "-" for name in names)
        print(f"| {row} | " + " | ".join(shown) + " |")


def run(program: str, comparison: Comparison[S]) -> None:
    """The command line that the benchmarks of the adapters share."""
    parser = argparse.ArgumentParser(f"python -m {program}")
    parser.add_argument("--quick", action="store_true", help="for a look; too short to quote")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the medians in seconds")
    options = parser.parse_args()
    table = asyncio.run(compare(comparison, quick=options.quick))
    print_table(table)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")


async def compare(comparison: Comparison[S], *, quick: bool) -> Table:
    rounds, times = (2, 3) if quick else (7, 20)
    with tempfile.TemporaryDirectory(prefix="adapters-", dir="/tmp") as folder:
        async with comparison.open_stores(Path(folder)) as stores:
            rows: dict[str, dict[str, Case]] = {}
            for name, store in stores.items():
                await comparison.prepare(store)
                for row, case in comparison.cases_on(store).items():
                    rows.setdefault(row, {})[name] = case
            return await measure(rows, rounds, times)
