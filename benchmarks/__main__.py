"""``python -m benchmarks`` and ``python -m benchmarks scale``."""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PARTS = ("peers", "embedded", "server")


def main() -> None:
    options = _parse()
    try:
        from benchmarks import report, run  # noqa: PLC0415 - only once it is clear what is asked for
    except ImportError as error:
        raise SystemExit(f"benchmarks need {error.name}: pip install --group bench") from None
    started = time.monotonic()
    output = options.output or (None if options.quick or options.only or options.sessions else RESULTS)
    console = report.open_console()
    if options.what == "scale":
        coroutine = run.run_scale(console, output, options.sessions or (50_000 if options.quick else 1_000_000))
    else:
        coroutine = run.run_comparison(console, output, options.only or PARTS, quick=options.quick)
    asyncio.run(coroutine)
    where = f"written to {output}" if output else "nothing is written of a run that is not whole, without --output"
    console.print(f"{time.monotonic() - started:.0f} s; {where}", style="dim")


def _parse() -> Any:
    parser = argparse.ArgumentParser("python -m benchmarks", description=sys.modules[__name__].__doc__)
    parser.add_argument("what", nargs="?", choices=("compare", "scale"), default="compare")
    parser.add_argument("--quick", action="store_true", help="within a minute, for a look; too short to quote")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="NAME", help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--sessions", type=int, metavar="N", help="scale: how many live sessions")
    parser.add_argument("--output", type=Path, metavar="DIR", help="for JSON and pictures; results/ for a whole run")
    options = parser.parse_args()
    if options.sessions is not None and options.sessions < 10_000:
        parser.error("--sessions: 10,000 or more")
    return options


main()
