"""The two commands: what they measure, in which order, and where it goes."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine, plot, report
from benchmarks.compare import compare
from benchmarks.cores import start_server
from benchmarks.embedded import measure_embedded
from benchmarks.measure import FULL, QUICK
from benchmarks.scale import measure_scale
from benchmarks.server_time import measure_server_time

logging.getLogger("chat_session").setLevel(logging.ERROR)  # it warns, rightly, of a server that saves nothing

LISTED, LISTED_QUICK = 100_000, 5_000


async def run_comparison(console: Console, output: Path | None, parts: Sequence[str], *, quick: bool) -> None:
    pace = QUICK if quick else FULL
    with start_server() as server:
        results: dict[str, Any] = {"machine": machine.describe(server), "pace": pace._asdict()}
        if "server" in parts:
            results["server_time"] = await measure_server_time(server, pace)
            report.show_server_time(console, results["server_time"])
        if "embedded" in parts:
            results["embedded"] = await measure_embedded(pace)
            report.show_embedded(console, results["embedded"])
        if "peers" in parts:
            found = await compare(server, pace, LISTED_QUICK if quick else LISTED)
            results["comparison"] = found
            packages = [peer["package"] for peer in found["peers"].values()]
            results["machine"]["versions"] |= {name: machine.find_version(name) for name in packages}
            report.show_comparison(console, found)
    report.show_machine(console, results["machine"])
    if output:
        report.write_json(output, "comparison", results)
        if "comparison" in results:
            plot.draw(output, results["comparison"])


async def run_scale(console: Console, output: Path | None, sessions: int) -> None:
    with start_server() as server:
        results: dict[str, Any] = {"machine": machine.describe(server)}
        results["machine"]["longest_pause_ms"] = round(machine.longest_pause() * 1000, 2)
        results["scale"] = await measure_scale(server, sessions)
    report.show_scale(console, results["scale"])
    pause = results["machine"]["longest_pause_ms"]
    console.print(
        f"  the machine by itself stopped a busy loop for up to {pause} ms in 2 s before the run", highlight=False
    )
    report.show_machine(console, results["machine"])
    if output:
        report.write_json(output, "scale", results)
