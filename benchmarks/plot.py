"""The comparison as one picture: a panel per operation, a bar per peer, less is better."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS = "chat-session"
SHOWN = (
    "append 1, 1,000 sessions, 1 task",
    "append 1, 1,000 sessions, 64 tasks",
    "append 1, one session, 64 tasks",
    "append 10 at once, 1 task",
    "read the last 20, 64 tasks",
    "list a user's 5 sessions",
)


def draw(folder: Path, result: Mapping[str, Any]) -> None:
    """Write comparison.png and comparison.svg; nothing where matplotlib is missing."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "chat-session"  # the same numbers, the same file
    mpl.rcParams["svg.fonttype"] = "none"  # text as text: a fifth of the size
    figure, panels = plt.subplots(2, 3, figsize=(15, 7.5), layout="constrained")
    peers = list(result["peers"])[::-1]
    for panel, operation in zip(panels.flat, SHOWN, strict=True):
        row = result["table"][operation]
        for row_number, peer in enumerate(peers):
            cell = row[peer]
            if cell.median is None:
                panel.text(1, row_number, f" {cell.missing}", va="center", color="0.5", fontsize=8)
                continue
            value = cell.median * 1e6
            panel.barh(row_number, value, color="#c0392b" if peer == OURS else "0.75")
            panel.text(value, row_number, f" {value:,.0f}", va="center", fontsize=8)
        among = f" among {result['listed_sessions']:,}" if operation.startswith("list") else ""
        panel.set_title(operation + among, fontsize=10)
        panel.set_yticks(range(len(peers)), peers, fontsize=8)
        panel.set_xscale("log")
        highest = max((cell.median or 0) * 1e6 for cell in row.values())
        panel.set_xlim(1, highest * 20)
        panel.set_ylim(-0.6, len(peers) - 0.4)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Microseconds per operation (log scale), less is better")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "comparison.png", dpi=110)
    figure.savefig(folder / "comparison.svg", metadata={"Date": None})
    plt.close(figure)
