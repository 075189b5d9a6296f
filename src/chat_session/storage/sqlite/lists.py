"""Sessions in pages: those of one user, and those of all users."""

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from chat_session.clock import now_ms
from chat_session.errors import InvalidInput, StoreCorrupt
from chat_session.results import SessionPage
from chat_session.session import Agent, Session
from chat_session.storage.cursors import read_cursor, write_cursor
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import decode_session, decode_text

MAX_READ = 1000  # sessions that one page reads to find those of an agent


def list_user_sessions(db: sqlite3.Connection, user_id: str, limit: int, before: tuple[int, str]) -> SessionPage:
    position, session_id = before
    query = {"user_id": user_id, "now": now_ms(), "position": position, "session_id": session_id, "limit": limit + 1}
    rows = db.execute(SQL["list_user_sessions"], query).fetchall()
    sessions, damaged = _decode_sessions(rows[:limit])
    if len(rows) <= limit:
        return SessionPage(sessions, None, damaged)
    last = rows[limit - 1]
    return SessionPage(sessions, write_cursor("user", str(last[-1]), decode_text(last[0])), damaged)


def read_user_cursor(cursor: str | None) -> tuple[int, str]:
    """The position and id of the last session of the page before. Raises InvalidInput."""
    if cursor is None:
        return 2**63 - 1, ""  # before the first of all
    position, session_id = read_cursor("user", cursor, 2)
    if not re.fullmatch(r"-?[0-9]{1,18}", position):
        raise InvalidInput("cursor", "a cursor that a page of this list gave, or None", "another")
    return int(position), session_id


def list_sessions(db: sqlite3.Connection, limit: int, last: str, agent: Agent | None) -> SessionPage:
    """A page of all sessions that follow ``last`` by their ids; with ``agent`` only those of that agent."""
    budget = max(limit, MAX_READ) if agent else limit
    rows = db.execute(SQL["list_sessions"], (last, now_ms(), budget + 1)).fetchall()
    sessions: list[Session] = []
    damaged: list[StoreCorrupt] = []
    for i, row in enumerate(rows):
        if i == budget or len(sessions) + len(damaged) == limit:
            return SessionPage(sessions, write_cursor("all", decode_text(rows[i - 1][0])), damaged)
        good, bad = _decode_sessions([row])
        sessions += [session for session in good if agent in (None, session.current_agent)]
        damaged += bad
    return SessionPage(sessions, None, damaged)


def scan_sessions(db: sqlite3.Connection, last: str, limit: int) -> tuple[list[Session | StoreCorrupt], str | None]:
    """The living sessions that follow ``last``, and where to continue."""
    rows = db.execute(SQL["list_sessions"], (last, now_ms(), limit)).fetchall()
    sessions, damaged = _decode_sessions(rows)
    return [*sessions, *damaged], decode_text(rows[-1][0]) if len(rows) == limit else None


def _decode_sessions(rows: Sequence[Sequence[Any]]) -> tuple[list[Session], list[StoreCorrupt]]:
    """The sessions, and the errors of those that cannot be read."""
    sessions: list[Session] = []
    damaged: list[StoreCorrupt] = []
    for row in rows:
        try:
            sessions.append(decode_session(row))
        except StoreCorrupt as error:
            damaged.append(error.with_traceback(None))
    return sessions, damaged
