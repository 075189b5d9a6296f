"""The outcomes of fault tests, as a table to read and as JSON to keep."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

FILE = "fault-tests.json"
SHOWN = 12  # violations printed for each fault test; the JSON has all of them


@dataclass
class Outcome:
    """One fault test on one store, with one seed."""

    fault_test: str
    title: str
    store: str
    seed: int
    date: str = ""
    load: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0
    failed: int = 0
    lost: int = 0
    doubled: int = 0
    inconsistent: int = 0
    longest_outage: float | None = 0.0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    skipped: str = ""
    history: str = ""


def print_table(outcomes: Sequence[Outcome], console: Console) -> None:
    """One row for each fault test, then the promises that were broken."""
    table = Table(title="Fault tests", show_lines=False)
    for heading in ("fault test", "store", "load", "settings", "faults", "notes"):
        table.add_column(heading, overflow="fold")
    for heading in ("acked", "unknown", "failed", "lost", "doubled", "inconsistent", "outage s", "broken", "s", "seed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in outcomes:
        if one.skipped:
            table.add_row(one.fault_test, one.store, f"skipped: {one.skipped}")
            continue
        table.add_row(
            f"{one.fault_test} {one.title}",
            one.store,
            one.load,
            "\n".join(f"{name} {value}" for name, value in one.settings.items()),
            "\n".join(f"{count:,} {name}" for name, count in one.faults.items()),
            "\n".join(one.notes),
            *(f"{number:,}" for number in (one.acknowledged, one.unknown, one.failed)),
            *(str(number) for number in (one.lost, one.doubled, one.inconsistent)),
            "" if one.longest_outage is None else f"{one.longest_outage:.2f}",
            f"[red]{len(one.violations)}[/red]" if one.violations else "0",
            f"{one.seconds:.1f}",
            str(one.seed),
        )
    console.print(table)
    for one in outcomes:
        for violation in one.violations[:SHOWN]:
            console.print(
                f"{one.fault_test} on {one.store}: {violation[-1500:]}", style="red", markup=False, highlight=False
            )
        if len(one.violations) > SHOWN:
            console.print(f"{one.fault_test} on {one.store}: … and {len(one.violations) - SHOWN} more", style="red")
        if one.history:
            console.print(f"{one.fault_test} on {one.store}: the history is in {one.history}", soft_wrap=True)


def write_json(outcomes: Sequence[Outcome], folder: Path) -> Path:
    """Keep the outcomes in a list of objects. What the file has of other fault tests and stores stays."""
    path = folder / FILE
    known = json.loads(path.read_text("utf-8")) if path.exists() else []
    reports = {(one["fault_test"], one["store"]): one for one in [*known, *map(asdict, outcomes)]}
    ordered = sorted(reports.values(), key=lambda one: (int(one["fault_test"][1:]), one["store"]))
    path.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return path
