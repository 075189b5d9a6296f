"""The desk: ``python -m benchmarks.desk [--quick]``. Claims with 50,000 waiting sessions, and what each step costs."""

import argparse
import asyncio
import json
from pathlib import Path

from benchmarks.cores import start_server
from benchmarks.desk.claims import fill_queue, time_claims_of_many, time_claims_of_one
from benchmarks.desk.steps import time_appends, time_steps

WAITING = 50_000
RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.desk")
    parser.add_argument("--quick", action="store_true", help="for a look; too short to quote, and nothing is written")
    options = parser.parse_args()
    waiting = 5_000 if options.quick else WAITING
    with start_server() as server:
        url = server.unix_url()
        found = {
            "waiting": waiting,
            "filling_us_per_session": asyncio.run(fill_queue(url, waiting)),
            "claims_of_one_operator": asyncio.run(time_claims_of_one(url, 100 if options.quick else 1000)),
            "claims_of_100_operators": time_claims_of_many(url, seconds=2 if options.quick else 8),
        }
        server.flush()
        found["steps"] = asyncio.run(time_steps(server, 50 if options.quick else 500))
        found["appends"] = asyncio.run(time_appends(server, 1000 if options.quick else 10_000))
    print(json.dumps(found, indent=2))
    if not options.quick:
        (RESULTS / "desk.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":  # the processes that claim import this file
    main()
