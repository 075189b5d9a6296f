"""What is in an embedded store's file, row by row, in the shape that the checker reads."""

import json
import sqlite3
from pathlib import Path

from chaos.look import Kept, Look

NEVER = 2**63 - 1


def look_at_file(path: Path) -> Look:
    """Every row. The one row of a session is its meta, its agent and both its hints."""
    look = Look()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        sessions = db.execute(
            "SELECT session_id, user_id, message_count, ttl, deadline, current_agent, position FROM sessions"
        )
        for session_id, user, count, ttl, deadline, agent, position in sessions.fetchall():
            at = None if deadline == NEVER else deadline
            look.kept[session_id] = Kept(
                deadlines={"meta": at, "agent": at},
                user=user,
                ttl=ttl,
                count=count,
                current_agent=agent,
                agent=agent,
            )
            look.due[session_id, user] = float(deadline)
            look.by_user[session_id, user] = float(position)
        rows = db.execute("SELECT session_id, seq, id FROM messages ORDER BY session_id, seq").fetchall()
        for session_id, seq, message_id in rows:
            kept = look.kept.setdefault(session_id, Kept(deadlines={}))  # messages without a session
            kept.deadlines["history"] = kept.deadlines["ids"] = kept.deadlines.get("meta")
            kept.length += 1
            kept.ids[json.loads(b'"%b"' % message_id)] = seq
    db.close()
    return look
