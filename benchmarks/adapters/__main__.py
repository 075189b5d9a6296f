"""Every adapter next to its framework's own backend: ``python -m benchmarks.adapters [--quick]``."""

import argparse
import asyncio
import json
from importlib import import_module
from pathlib import Path

from benchmarks.adapters.rounds import compare, print_table

ADAPTERS = ("openai_agents", "pydantic_ai", "adk", "agent_framework", "llama_index")
RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.adapters")
    parser.add_argument("--quick", action="store_true", help="for a look; too short to quote, and nothing is written")
    options = parser.parse_args()
    tables = {}
    for name in ADAPTERS:
        comparison = import_module(f"benchmarks.adapters.{name}").COMPARISON
        print(f"\n{name}\n")
        tables[name] = asyncio.run(compare(comparison, quick=options.quick))
        print_table(tables[name])
    if not options.quick:
        (RESULTS / "adapters.json").write_text(json.dumps(tables, indent=2) + "\n")


main()
