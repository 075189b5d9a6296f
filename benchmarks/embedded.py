"""The embedded store alone, in a file and in memory. None of the peers works without a server."""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import Cell, Load, Pace, deal, take_sample
from benchmarks.messages import HISTORY, TTL, next_text
from chat_session import SessionManager

NAMES = tuple(f"s{i}" for i in range(64))


async def measure_embedded(pace: Pace) -> dict[str, dict[str, Cell]]:
    """The samples, by operation and by store: a file or memory."""
    table: dict[str, dict[str, Cell]] = {}
    with tempfile.TemporaryDirectory(prefix="chat-session-bench-") as folder:
        for where, url in (("file", f"sqlite:///{Path(folder, 'chat.db')}"), ("memory", "sqlite:///:memory:")):
            async with SessionManager.from_url(url, max_message_history=HISTORY, default_session_ttl=TTL) as manager:
                for name in NAMES:
                    await manager.create_session("someone", session_id=name)
                    await manager.add_messages(name, [_message() for _ in range(HISTORY)])

                async def append(name: str, manager: Any = manager) -> None:
                    await manager.add_message(name, _message())

                async def read(name: str, manager: Any = manager) -> None:
                    await manager.get_history(name, 20)

                for operation, call, tasks in (
                    ("append 1, 1 task", append, 1),
                    ("append 1, 64 tasks", append, 64),
                    ("read the last 20, 1 task", read, 1),
                    ("read the last 20, 64 tasks", read, 64),
                ):
                    cell = table.setdefault(operation, {}).setdefault(where, Cell())
                    for _ in range(pace.rounds):
                        await take_sample(Load(call, deal(NAMES, tasks)), pace, cell)
    return table


def _message() -> dict[str, str]:
    return {"from": "user", "text": next_text()}
