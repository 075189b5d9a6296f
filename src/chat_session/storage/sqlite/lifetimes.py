"""How long sessions live: deadlines, the count of the living, and the sweep that removes the dead."""

import sqlite3

from chat_session.clock import now, now_ms, now_us, to_iso
from chat_session.session import Session
from chat_session.storage.sqlite.desk_rows import require_desk_row, save_own_ttl
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import require_session

NEVER = 2**63 - 1
NO_SESSION = -2  # in the place of the seconds that are left
NEWS_KEPT = 10_000  # milliseconds for which other processes can read what was told
BATCH = 500  # sessions that a sweep removes in one transaction


def find_deadline(ttl: int | None) -> int:
    return NEVER if ttl is None else now_ms() + ttl * 1000


def save_session(db: sqlite3.Connection, session: Session) -> None:
    """Store the agent, the epoch and the count of messages; set the last activity; slide the deadline."""
    switched = session.agent_switched_at
    values = {
        "session_id": session.session_id,
        "last_active_at": to_iso(now()),
        "now": now_ms(),
        "message_count": session.message_count,
        "current_agent": session.current_agent,
        "agent_epoch": session.agent_epoch,
        "agent_switched_at": to_iso(switched) if switched else None,
    }
    db.execute(SQL["save_session"], values)


def slide_deadline(db: sqlite3.Connection, session_id: str) -> None:
    """By the ttl that is stored: while people depend on the session it is longer than the session's own."""
    db.execute(SQL["slide_deadline"], (now_ms(), session_id))


def extend_session(db: sqlite3.Connection, session_id: str) -> None:
    save_session(db, require_session(db, session_id))


def set_ttl(db: sqlite3.Connection, session_id: str, ttl: int | None, waiting_ttl: int) -> None:
    save_own_ttl(db, require_desk_row(db, session_id), ttl, now_us(), waiting_ttl)
    slide_deadline(db, session_id)


def get_ttl(db: sqlite3.Connection, session_id: str) -> int:
    moment = now_ms()
    row = db.execute(SQL["find_deadline"], (session_id, moment)).fetchone()
    if row is None:
        return NO_SESSION
    return -1 if row[0] == NEVER else -(-(row[0] - moment) // 1000)


def count_sessions(db: sqlite3.Connection) -> int:
    [count] = db.execute(SQL["count_living_sessions"], (now_ms(),)).fetchone()
    return int(count)


def sweep(db: sqlite3.Connection) -> int:
    """Remove one batch of dead sessions; how many they were. Also the text of lapsed replies, and old news."""
    db.execute(SQL["empty_lapsed_replies"], (now_ms(),))
    db.execute(SQL["delete_old_news"], (now_ms() - NEWS_KEPT,))
    dead = db.execute(SQL["delete_dead_sessions"], (now_ms(), BATCH)).fetchall()
    db.executemany(SQL["delete_messages"], dead)
    db.executemany(SQL["delete_reply"], dead)
    return len(dead)
