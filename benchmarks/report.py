"""The results as tables for people and as JSON for programs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Cell
from benchmarks.scale import FEW

OURS = "chat-session"
WIDTH = 190

Cells = Mapping[str, Mapping[str, Cell]]


def open_console() -> Console:
    """A console that is as wide as the tables, also where the output goes into a pipe."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def show_machine(console: Console, machine: Mapping[str, Any]) -> None:
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items() if found)
    console.print(
        f"{machine['cores']} cores, {machine['ram_gib']} GiB, load {machine['load_before'][0]}; "
        f"{machine['server']}, Python {machine['python']}; {versions}",
        style="dim",
        highlight=False,
    )


def show_comparison(console: Console, result: Mapping[str, Any]) -> None:
    cells: Cells = result["table"]
    table = Table(title="Microseconds per operation (wall time / operations) and how many times ours; less is better")
    table.add_column("", no_wrap=True)
    for peer in result["peers"]:
        table.add_column(peer, justify="right")
    for operation, row in cells.items():
        name = operation
        if operation.startswith("list"):
            name += f" among {result['listed_sessions']:,}"
        table.add_row(name, *(_show_cell(row[peer], row[OURS]) for peer in result["peers"]))
    console.print(table)
    console.print(
        "  ~ the samples differ by more than 15%",
        "! too slow for the window: calls under way were cancelled",
        sep="   ",
    )
    for peer in result["peers"]:
        for line in _list_notes(cells, peer):
            console.print(f"  {peer}: {line}", highlight=False)
    for name, why in result["skipped"].items():
        console.print(f"  skipped {name}: {why}", highlight=False)


def show_embedded(console: Console, cells: Cells) -> None:
    table = Table(title="Embedded store: operations per second (microseconds each)")
    table.add_column("")
    for store in next(iter(cells.values())):
        table.add_column(f"SQLite, {store}", justify="right")
    for operation, row in cells.items():
        medians = (cell.median for cell in row.values())
        table.add_row(operation, *(f"{1 / median:,.0f} ({median * 1e6:,.0f})" if median else "-" for median in medians))
    console.print(table)


def show_server_time(console: Console, result: Mapping[str, Any]) -> None:
    table = Table(title="Server time of a call on a full history, microseconds")
    for heading in ("", "quietest round", "median", "target"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in result.items():
        best, target = min(row["samples"]), row["target_us"]
        table.add_row(name, f"{best:.1f}", _judge(f"{row['us']:.1f}", row["us"] <= target), f"{target}")
    console.print(table)


def show_scale(console: Console, result: Mapping[str, Any]) -> None:
    sessions, sweep, memory = result["sessions"], result["sweep"], result["memory"]
    table = Table(title=f"{sessions:,} live sessions of {result['users']:,} users: microseconds per call, one task")
    for heading in ("", f"at {FEW:,}", f"at {sessions:,}", "ratio", "target"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in result["calls"].items():
        ratio = row["us_at_many"] / row["us_at_few"]
        counting = name == "get_active_sessions_count"
        met = row["us_at_many"] <= 5000 if counting else ratio <= 2
        table.add_row(
            name,
            f"{row['us_at_few']:,.0f}",
            f"{row['us_at_many']:,.0f}",
            _judge(f"{ratio:.2f}", met),
            "within 5 ms" if counting else "within 2",
        )
    console.print(table)
    table = Table(show_header=False)
    table.add_row("created per second", f"{result['created_per_second']:,.0f}", "")
    speed = f"{sweep['per_second']:,.0f}"
    table.add_row(f"swept per second ({sweep['dead']:,} dead)", _judge(speed, sweep["per_second"] >= 20_000), "20,000")
    for when, slow in result["slowlog"].items():
        longest = slow["longest_ms"]
        shown = f"{longest:.1f} ms, {slow['longest']}" if longest else "none over 1 ms"
        name = (
            f"longest command, {when.replace('_', ' ')} ({slow['over_1_ms']:,} over 1 ms, {slow['over_5_ms']:,} over 5)"
        )
        table.add_row(name, _judge(shown, not longest or longest <= 5), "none over 5 ms")
    table.add_row("bytes per session, without messages", f"{memory['bytes_per_session']:,}", "")
    table.add_row("bytes per message of a full history", f"{memory['bytes_per_message']:,}", "")
    console.print(table)


def write_json(folder: Path, name: str, results: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(results, indent=1, default=_plain, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _show_cell(cell: Cell, ours: Cell) -> str:
    if cell.median is None:
        return f"[dim]{cell.missing or '-'}[/]"
    ratio = f" {cell.median / ours.median:,.2f}x" if ours.median and cell is not ours else ""
    unsure = " !" if cell.cut else " ~" if (cell.spread or 0) > 0.15 else ""
    return f"{cell.median * 1e6:,.0f}{ratio}{unsure}"


def _list_notes(cells: Cells, peer: str) -> list[str]:
    """Each remark once, with the operations that it is about and, where histories grew, their longest length."""
    about: dict[str, list[str]] = {}
    longest: dict[str, int] = {}
    for operation, row in cells.items():
        cell = row[peer]
        if cell.note and cell.median is not None:
            about.setdefault(cell.note, []).append(operation.split(",")[0])
            longest[cell.note] = max(longest.get(cell.note, 0), cell.longest or 0)
    return [
        f"{', '.join(dict.fromkeys(operations))}: {note}"
        + (f" (histories of 100 to {longest[note]:,} messages)" if longest[note] else "")
        for note, operations in about.items()
    ]


def _judge(shown: str, met: bool) -> str:
    return f"[green]{shown}[/]" if met else f"[red]{shown}  missed[/]"


def _plain(value: Any) -> Any:
    if not isinstance(value, Cell):
        raise TypeError(type(value))
    if value.median is None:
        return {"missing": value.missing, "note": value.note}
    return {
        "us": round(value.median * 1e6, 2),
        "per_second": round(1 / value.median),
        "spread": None if value.spread is None else round(value.spread, 3),
        "samples_us": [round(sample * 1e6, 2) for sample in value.samples],
        "operations": value.operations,
        "cut": value.cut,
        "longest_history": value.longest,
        "note": value.note,
    }
