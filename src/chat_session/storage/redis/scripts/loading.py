"""Reads the texts of the scripts."""

from functools import cache
from hashlib import sha1
from importlib.resources import files

from chat_session.storage.redis.net.commands import Script

_READING = frozenset(
    (
        *("check_epoch", "find_message", "get_history", "list_entries", "read_entries"),
        *("list_operators", "list_seats", "read_counts", "read_desk"),
    )
)


@cache
def load(name: str) -> Script:
    """The script of that name. A line ``--#include other`` is replaced by that file of the folder include."""
    folder = files("chat_session.storage.redis") / "lua"
    file = next(each / f"{name}.lua" for each in folder.iterdir() if (each / f"{name}.lua").is_file())

    def expand(line: str) -> str:
        word, _, other = line.strip().partition(" ")
        return (folder / "include" / f"{other}.lua").read_text("utf-8") if word == "--#include" else line

    lines = file.read_text("utf-8").splitlines(keepends=True)
    text = "".join(map(expand, lines)).encode()
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest().encode(), name not in _READING)
