"""Sessions in pages: those of one user, and all there are."""

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from chat_session.clock import now_ms
from chat_session.errors import InvalidInput, StoreCorrupt
from chat_session.results import SessionPage
from chat_session.session import Agent, Session
from chat_session.storage.cursors import read_cursor, write_cursor
from chat_session.storage.sqlite.rows import COLUMNS, decode_session, decode_text

MAX_READ = 1000  # sessions that one page reads in search of those of an agent


def page_of_user(db: sqlite3.Connection, user_id: str, limit: int, place: tuple[int, str]) -> SessionPage:
    select = (
        f"SELECT {COLUMNS}, position FROM sessions WHERE user_id = ? AND deadline > ? "  # noqa: S608 - as above
        "AND (position, session_id) < (?, ?) ORDER BY position DESC, session_id DESC LIMIT ?"
    )
    rows = db.execute(select, (user_id, now_ms(), *place, limit + 1)).fetchall()
    sessions, damaged = _sort_out(rows[:limit])
    if len(rows) <= limit:
        return SessionPage(sessions, None, damaged)
    last = rows[limit - 1]
    return SessionPage(sessions, write_cursor("user", str(last[-1]), decode_text(last[0])), damaged)


def page_of_all(db: sqlite3.Connection, limit: int, last: str, agent: Agent | None) -> SessionPage:
    select = (
        f"SELECT {COLUMNS} FROM sessions WHERE session_id > ? AND deadline > ? "  # noqa: S608 - as above
        "ORDER BY session_id LIMIT ?"
    )
    budget = max(limit, MAX_READ) if agent else limit
    rows = db.execute(select, (last, now_ms(), budget + 1)).fetchall()
    sessions: list[Session] = []
    damaged: list[StoreCorrupt] = []
    for i, row in enumerate(rows):
        if i == budget or len(sessions) + len(damaged) == limit:
            return SessionPage(sessions, write_cursor("all", decode_text(rows[i - 1][0])), damaged)
        good, bad = _sort_out([row])
        sessions += [session for session in good if agent in (None, session.current_agent)]
        damaged += bad
    return SessionPage(sessions, None, damaged)


def scan(db: sqlite3.Connection, last: str, limit: int) -> tuple[list[Session | StoreCorrupt], str | None]:
    """The next of all living sessions, and where to go on."""
    select = (
        f"SELECT {COLUMNS} FROM sessions WHERE session_id > ? AND deadline > ? "  # noqa: S608 - as above
        "ORDER BY session_id LIMIT ?"
    )
    rows = db.execute(select, (last, now_ms(), limit)).fetchall()
    sessions, damaged = _sort_out(rows)
    return [*sessions, *damaged], decode_text(rows[-1][0]) if len(rows) == limit else None


def _sort_out(rows: Sequence[Sequence[Any]]) -> tuple[list[Session], list[StoreCorrupt]]:
    """The sessions, and the errors of those that cannot be read."""
    sessions: list[Session] = []
    damaged: list[StoreCorrupt] = []
    for row in rows:
        try:
            sessions.append(decode_session(row))
        except StoreCorrupt as error:
            damaged.append(error.with_traceback(None))
    return sessions, damaged


def read_place(cursor: str) -> tuple[int, str]:
    position, session_id = read_cursor("user", cursor, 2)
    if not re.fullmatch(r"-?[0-9]{1,18}", position):
        raise InvalidInput("cursor", "a cursor that a page of this list gave, or None", "another")
    return int(position), session_id
