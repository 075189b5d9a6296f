"""The two commands: what they measure, in which order, and where it goes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine, plot, report
from benchmarks.compare import compare
from benchmarks.embedded import measure_embedded
from benchmarks.measure import FULL, QUICK
from benchmarks.scale import measure_scale
from benchmarks.server import start_server
from benchmarks.server_time import measure_server_time

LISTED, LISTED_QUICK = 100_000, 10_000


async def run_comparison(console: Console, output: Path, parts: Sequence[str], *, quick: bool) -> None:
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
            plot.draw(output, found)
    report.show_machine(console, results["machine"])
    report.write_json(output, "comparison", results)


async def run_scale(console: Console, output: Path, sessions: int) -> None:
    with start_server() as server:
        results: dict[str, Any] = {"machine": machine.describe(server)}
        results["scale"] = await measure_scale(server, sessions)
    report.show_scale(console, results["scale"])
    report.show_machine(console, results["machine"])
    report.write_json(output, "scale", results)
