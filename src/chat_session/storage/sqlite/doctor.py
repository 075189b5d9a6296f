"""What an operator wants to know of the file."""

import sqlite3

from chat_session.clock import now_ms
from chat_session.storage.contract import Finding

_ORPHANS = "FROM messages WHERE session_id NOT IN (SELECT session_id FROM sessions)"


def diagnose(db: sqlite3.Connection, *, repair: bool) -> list[Finding]:
    """Check the file's structure, its settings, and messages without a session."""
    [problem] = db.execute("PRAGMA quick_check(1)").fetchone()
    [journal] = db.execute("PRAGMA journal_mode").fetchone()
    [living] = db.execute("SELECT count(*) FROM sessions WHERE deadline > ?", (now_ms(),)).fetchone()
    [dead] = db.execute("SELECT count(*) FROM sessions WHERE deadline <= ?", (now_ms(),)).fetchone()
    [orphans] = db.execute(f"SELECT count(*) {_ORPHANS}").fetchone()
    problem, journal = problem.decode(), journal.decode()
    findings = [
        Finding("ok", "version", f"SQLite {sqlite3.sqlite_version}"),
        Finding("ok" if problem == "ok" else "error", "structure", problem),
        Finding("ok" if journal in ("wal", "memory") else "warning", "journal", f"journal_mode {journal}"),
        Finding("ok", "sessions", f"{living:,} living, {dead:,} dead and waiting for cleanup"),
    ]
    if repair and orphans:
        db.execute(f"DELETE {_ORPHANS}")
        findings.append(Finding("ok", "orphans", f"{orphans:,} messages without a session (mended)"))
    elif orphans:
        findings.append(Finding("error", "orphans", f"{orphans:,} messages without a session", "removes them"))
    else:
        findings.append(Finding("ok", "orphans", "no messages without a session"))
    return findings
