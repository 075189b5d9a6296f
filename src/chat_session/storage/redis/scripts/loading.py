"""Reads the texts of the scripts."""

from functools import cache
from hashlib import sha1
from importlib.resources import files
from importlib.resources.abc import Traversable

from chat_session.storage.redis.net.commands import Script

_READING = frozenset(
    (
        *("check_epoch", "check_turn", "find_message", "get_history", "list_entries", "read_entries"),
        *("list_operators", "list_seats", "read_counts", "read_desk"),
        *("check_channel", "observe", "read_desk_mark", "read_marks", "tell"),
    )
)


@cache
def load(name: str) -> Script:
    """The script of that name. A line ``--#include other`` is replaced by that file of the folder include.

    Those may include others.
    """
    folder = files("chat_session.storage.redis") / "lua"
    file = next(each / f"{name}.lua" for each in folder.iterdir() if (each / f"{name}.lua").is_file())

    def expand(line: str) -> str:
        word, _, other = line.strip().partition(" ")
        return read(folder / "include" / f"{other}.lua") if word == "--#include" else line

    def read(part: Traversable) -> str:
        return "".join(map(expand, part.read_text("utf-8").splitlines(keepends=True)))

    text = read(file).encode()
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest().encode(), name not in _READING)
