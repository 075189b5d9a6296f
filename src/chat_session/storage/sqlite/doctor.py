"""The diagnosis of the file for an operator."""

import sqlite3
from collections import Counter
from collections.abc import Iterator

from chat_session.clock import now_ms
from chat_session.errors import StoreCorrupt
from chat_session.message import UNREADABLE
from chat_session.storage.codec import decode_message
from chat_session.storage.contract import Finding
from chat_session.storage.sqlite.lifetimes import count_sessions
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import decode_name, decode_session

SHOWN = 100  # damaged sessions that are named


def diagnose(db: sqlite3.Connection) -> list[Finding]:
    """The file's structure and settings, messages without a session, and every row that cannot be read."""
    [problem] = db.execute("PRAGMA quick_check(1)").fetchone()
    [journal] = db.execute("PRAGMA journal_mode").fetchone()
    living = count_sessions(db)
    [dead] = db.execute(SQL["count_dead_sessions"], (now_ms(),)).fetchone()
    [orphans] = db.execute(SQL["count_orphans"]).fetchone()
    problem, journal = problem.decode(), journal.decode()
    none = Finding("ok", "orphans", "There are no messages without a session.")
    return [
        Finding("ok", "version", f"The version is SQLite {sqlite3.sqlite_version}."),
        Finding("ok", "structure", "The structure of the file is intact.")
        if problem == "ok"
        else Finding("error", "structure", f"SQLite finds the file damaged: {problem}."),
        Finding("ok" if journal in ("wal", "memory") else "warning", "journal", f"The journal mode is {journal}."),
        Finding("ok", "sessions", f"{living:,} sessions live, and {dead:,} dead ones wait for a cleanup."),
        Finding("error", "orphans", f"Found {orphans:,} messages without a session.", "Removes them.")
        if orphans
        else none,
        *_report_damaged([*_find_damaged_sessions(db), *_find_damaged_messages(db)]),
    ]


def remove_orphans(db: sqlite3.Connection) -> int:
    return db.execute(SQL["delete_orphans"]).rowcount


def _find_damaged_sessions(db: sqlite3.Connection) -> Iterator[str]:
    for row in db.execute(SQL["read_all_sessions"]):
        try:
            decode_session(row)
        except StoreCorrupt as error:
            yield f"{error.key} {error.problem}"


def _find_damaged_messages(db: sqlite3.Connection) -> list[str]:
    unreadable: Counter[str] = Counter()
    for session_id, seq, element in db.execute(SQL["read_all_messages"]):
        unreadable[decode_name(session_id)] += decode_message(element, seq).type == UNREADABLE
    return [f"session {name} has {count:,} messages that cannot be read" for name, count in unreadable.items() if count]


def _report_damaged(damaged: list[str]) -> list[Finding]:
    """Names each damaged session, because only an operator can decide what to do with it."""
    if not damaged:
        return [Finding("ok", "damage", "There are no sessions that cannot be read.")]
    findings = [Finding("error", "damage", f"{text}.") for text in damaged[:SHOWN]]
    if len(damaged) > SHOWN:
        findings.append(Finding("error", "damage", f"{len(damaged) - SHOWN:,} more sessions cannot be read."))
    return findings
