"""Reads what is stored in an SQLite file, row by row, in the same form as what is stored on servers."""

import json
import sqlite3
from pathlib import Path

from chaos.snapshot import Snapshot, StoredSession

NEVER = 2**63 - 1


def read_rows(path: Path) -> Snapshot:
    """Every row. The row of a session has what its meta, its agent and both its index entries have on a server."""
    snapshot = Snapshot()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        sessions = db.execute(
            "SELECT session_id, user_id, message_count, ttl, deadline, current_agent, position FROM sessions"
        )
        for session_id, user, count, ttl, deadline, agent, position in sessions.fetchall():
            at = None if deadline == NEVER else deadline
            snapshot.stored[session_id] = StoredSession(
                deadlines={"meta": at, "agent": at},
                user=user,
                ttl=ttl,
                count=count,
                current_agent=agent,
                agent=agent,
            )
            snapshot.due[session_id, user] = float(deadline)
            snapshot.by_user[session_id, user] = float(position)
        rows = db.execute("SELECT session_id, seq, id FROM messages ORDER BY session_id, seq").fetchall()
        for session_id, seq, message_id in rows:
            stored = snapshot.stored.setdefault(session_id, StoredSession(deadlines={}))  # messages without a session
            stored.deadlines["history"] = stored.deadlines["ids"] = stored.deadlines.get("meta")
            stored.length += 1
            stored.ids[json.loads(b'"%b"' % message_id)] = seq
    db.close()
    return snapshot
