"""The feed: ``python -m benchmarks.feed [--quick]``. Delivery, idle watchers, and replies that grow side by side."""

import argparse
import asyncio
import json
from pathlib import Path

from benchmarks.cores import start_server, use_all_cores
from benchmarks.feed.delivery import time_delivery
from benchmarks.feed.idle import measure_idle
from benchmarks.feed.streams import time_streams

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.feed")
    parser.add_argument("--quick", action="store_true", help="for a look; too short to quote, and nothing is written")
    options = parser.parse_args()
    seconds = 3 if options.quick else 15
    with start_server() as server:
        use_all_cores()
        found = {"delivery": time_delivery(server.unix_url(), seconds)}
        server.flush()
        found["idle"] = asyncio.run(measure_idle(server.unix_url(), seconds))
        server.flush()
        found["streams"] = asyncio.run(time_streams(server, seconds))
    print(json.dumps(found, indent=2))
    if not options.quick:
        (RESULTS / "feed.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":  # the process that appends imports this file
    main()
