"""``python -m chaos``: run proofs, print what they came to, and exit with 1 if a promise was broken."""

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from chaos.proofs import PROOFS
from chaos.report import Outcome, print_table, write_json
from chaos.trial import Proof, run_proof

STORES = ("standalone", "cluster", "sentinel", "sqlite")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if every promise was kept, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("proofs", nargs="*", metavar="R1", help="which proofs; all of them if none is named")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; alone: the short set")
    parser.add_argument("--seed", type=int, help="the seed of every random choice; printed, if it is not given")
    parser.add_argument("--minutes", type=float, help="how long R17 soaks; below 6 with fewer sessions")
    parser.add_argument("--store", choices=STORES, help="run on this store only")
    parser.add_argument("--output", type=Path, default=Path("var/chaos"), help="where reports and histories go")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.proofs if name.upper() not in PROOFS]
    if unknown:
        parser.error(f"no such proof: {', '.join(unknown)}; there are {', '.join(PROOFS)}")
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(f"seed {seed}", highlight=False)
    outcomes = []
    pairs = choose(given.proofs, given.store, short=given.short)
    if not pairs:
        parser.error(f"none of these runs on {given.store}")
    for proof, store in pairs:
        console.print(f"{proof.id} on {store}: {proof.title} …", highlight=False)
        minutes = given.minutes if proof.id == "R17" else None
        outcome = asyncio.run(run_proof(proof, store, seed, given.output, short=given.short, minutes=minutes))
        console.print(_summary(outcome), markup=False, highlight=False)
        outcomes.append(outcome)
    print_table(outcomes, console)
    given.output.mkdir(parents=True, exist_ok=True)
    console.print(f"written to {write_json(outcomes, given.output)}", soft_wrap=True, highlight=False)
    return int(any(outcome.violations for outcome in outcomes))


def choose(names: Sequence[str], store: str | None, *, short: bool) -> list[tuple[Proof, str]]:
    """Which proofs on which stores. The short set is what belongs to every test run: one store for each."""
    chosen = [PROOFS[name.upper()] for name in names]
    if not names:
        chosen = [proof for proof in PROOFS.values() if proof.in_short or not short]
    pairs = []
    for proof in chosen:
        stores = proof.stores if names or store or not short else proof.stores[:1]
        pairs += [(proof, place) for place in stores if store in (None, place)]
    return pairs


def _summary(outcome: Outcome) -> str:
    if outcome.skipped:
        return f"  skipped: {outcome.skipped}"
    done = f"{outcome.acknowledged:,} acknowledged, {outcome.unknown:,} unknown, {outcome.lost} lost"
    return f"  {outcome.seconds:.1f} s, {done}, {len(outcome.violations)} violations"


if __name__ == "__main__":
    sys.exit(main())
