"""Which sessions the writer's transactions change, told to the event loop after each commit.

Triggers of the connection itself note them, so that no statement can be forgotten. They are in no file.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress

from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import decode_text

Told = Callable[[frozenset[str]], None]

_TRIGGERS = (
    *(SQL["note_new_session"], SQL["note_session"], SQL["note_no_session"]),
    *(SQL["note_new_reply"], SQL["note_reply"], SQL["note_news"]),
)


class Changes:
    """``install`` and ``committed`` run on the writer's thread, the others on the event loop."""

    def __init__(self) -> None:
        self._noted: set[bytes] = set()
        self._listener: tuple[asyncio.AbstractEventLoop, Told] | None = None

    def listen(self, told: Told) -> None:
        """Call ``told`` on the running loop after each commit, with the sessions that it may have changed."""
        self._listener = asyncio.get_running_loop(), told

    def stop(self) -> None:
        self._listener = None

    def install(self, connection: sqlite3.Connection, execute: Callable[[sqlite3.Connection, str], object]) -> None:
        connection.create_function("note_change", 1, self._note)
        for trigger in _TRIGGERS:
            execute(connection, trigger)

    def committed(self) -> None:
        noted, self._noted = self._noted, set()
        listener = self._listener
        if listener is not None:
            loop, told = listener
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(told, frozenset(map(decode_text, noted)))

    def _note(self, session_id: bytes) -> None:
        if self._listener is not None:
            self._noted.add(session_id)
