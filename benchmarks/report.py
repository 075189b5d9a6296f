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
WIDTH = 170

Cells = Mapping[str, Mapping[str, Cell]]


def open_console() -> Console:
    """As wide as the tables are, also into a pipe."""
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
    notes: dict[str, list[str]] = {}
    table = Table(title="Microseconds per operation (wall time / operations), × ours; less is better")
    table.add_column("")
    for peer in result["peers"]:
        table.add_column(peer, justify="right")
    for operation, row in cells.items():
        shown = [_show_cell(row[peer], row[OURS]) for peer in result["peers"]]
        name = operation
        if operation.startswith("list"):
            name += f" among {result['listed_sessions']:,}"
        table.add_row(name, *shown)
        for peer in result["peers"]:
            if row[peer].note:
                notes.setdefault(f"{peer}: {row[peer].note}", []).append(operation)
    console.print(table)
    for note, operations in notes.items():
        console.print(f"  {note} [dim]({'; '.join(operations)})[/]", highlight=False)
    for name, why in result["skipped"].items():
        console.print(f"  skipped {name}: {why}", highlight=False)


def show_embedded(console: Console, cells: Cells) -> None:
    table = Table(title="Embedded store: operations per second (microseconds each)")
    table.add_column("")
    for place in next(iter(cells.values())):
        table.add_column(f"SQLite, {place}", justify="right")
    for operation, row in cells.items():
        table.add_row(operation, *(f"{1 / cell.median:,.0f} ({cell.median * 1e6:,.0f})" for cell in row.values()))
    console.print(table)


def show_server_time(console: Console, result: Mapping[str, Any]) -> None:
    table = Table(title="Server time of each script on a full history, microseconds")
    for heading in ("", "measured", "target"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, row in result.items():
        table.add_row(name, _judge(f"{row['us']:.1f}", row["us"] <= row["target_us"]), f"{row['target_us']}")
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
        name = f"longest command, {when.replace('_', ' ')} ({slow['over_1_ms']} over 1 ms)"
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
    ratio = f" ×{cell.median / ours.median:,.2f}" if ours.median and cell is not ours else ""
    unsure = " ~" if cell.cut or (cell.spread or 0) > 0.15 else ""
    return f"{cell.median * 1e6:,.0f}{ratio}{unsure}"


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
        "note": value.note,
    }
