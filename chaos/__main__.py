"""``python -m chaos``: run fault tests, print their outcomes, and exit with 1 if a promise was broken."""

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from chaos.fault_tests import FAULT_TESTS
from chaos.report import Outcome, print_table, write_json
from chaos.trial import FaultTest, run_fault_test

STORES = ("standalone", "cluster", "sentinel", "sqlite")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if every promise was kept, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("fault_tests", nargs="*", metavar="R1", help="which fault tests; all of them if none is named")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; without names: the short set")
    parser.add_argument(
        "--seed", type=int, help="the seed of every random choice; if not given, one is chosen and printed"
    )
    parser.add_argument("--minutes", type=float, help="how long R17 runs; below 6 with fewer sessions")
    parser.add_argument("--store", choices=STORES, help="run on this store only")
    parser.add_argument("--output", type=Path, default=Path("var/chaos"), help="where reports and histories go")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.fault_tests if name.upper() not in FAULT_TESTS]
    if unknown:
        parser.error(f"no such fault test: {', '.join(unknown)}; there are {', '.join(FAULT_TESTS)}")
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(f"seed {seed}", highlight=False)
    outcomes = []
    pairs = choose(given.fault_tests, given.store, short=given.short)
    if not pairs:
        parser.error(f"none of these runs on {given.store}")
    for fault_test, store in pairs:
        console.print(f"{fault_test.id} on {store}: {fault_test.title} …", highlight=False)
        minutes = given.minutes if fault_test.id == "R17" else None
        outcome = asyncio.run(run_fault_test(fault_test, store, seed, given.output, short=given.short, minutes=minutes))
        console.print(_summary(outcome), markup=False, highlight=False)
        outcomes.append(outcome)
    print_table(outcomes, console)
    given.output.mkdir(parents=True, exist_ok=True)
    console.print(f"written to {write_json(outcomes, given.output)}", soft_wrap=True, highlight=False)
    return int(any(outcome.violations for outcome in outcomes))


def choose(names: Sequence[str], store: str | None, *, short: bool) -> list[tuple[FaultTest, str]]:
    """Which fault tests run on which stores. The short set belongs to every test run: each on one store."""
    chosen = [FAULT_TESTS[name.upper()] for name in names]
    if not names:
        chosen = [fault_test for fault_test in FAULT_TESTS.values() if fault_test.in_short or not short]
    pairs = []
    for fault_test in chosen:
        stores = fault_test.stores if names or store or not short else fault_test.stores[:1]
        pairs += [(fault_test, each) for each in stores if store in (None, each)]
    return pairs


def _summary(outcome: Outcome) -> str:
    if outcome.skipped:
        return f"  skipped: {outcome.skipped}"
    done = f"{outcome.acknowledged:,} acknowledged, {outcome.unknown:,} unknown, {outcome.lost} lost"
    return f"  {outcome.seconds:.1f} s, {done}, {len(outcome.violations)} violations"


if __name__ == "__main__":
    sys.exit(main())
