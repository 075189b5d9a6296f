"""What an operator wants to know of the file."""

import sqlite3
from collections import Counter
from collections.abc import Iterator

from chat_session.clock import now_ms
from chat_session.errors import StoreCorrupt
from chat_session.message import UNREADABLE
from chat_session.storage.codec import decode_message
from chat_session.storage.contract import Finding
from chat_session.storage.sqlite.rows import COLUMNS, decode_name, decode_session

SHOWN = 100  # damaged sessions that are named one by one

_ORPHANS = "FROM messages WHERE session_id NOT IN (SELECT session_id FROM sessions)"


def check(db: sqlite3.Connection) -> list[Finding]:
    """The file's structure and settings, messages without a session, and every row that cannot be read."""
    [problem] = db.execute("PRAGMA quick_check(1)").fetchone()
    [journal] = db.execute("PRAGMA journal_mode").fetchone()
    [living] = db.execute("SELECT count(*) FROM sessions WHERE deadline > ?", (now_ms(),)).fetchone()
    [dead] = db.execute("SELECT count(*) FROM sessions WHERE deadline <= ?", (now_ms(),)).fetchone()
    [orphans] = db.execute(f"SELECT count(*) {_ORPHANS}").fetchone()
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
    return db.execute(f"DELETE {_ORPHANS}").rowcount


def _find_damaged_sessions(db: sqlite3.Connection) -> Iterator[str]:
    for row in db.execute(f"SELECT {COLUMNS} FROM sessions ORDER BY session_id"):  # noqa: S608 - no value in it
        try:
            decode_session(row)
        except StoreCorrupt as error:
            yield f"{error.key} {error.problem}"


def _find_damaged_messages(db: sqlite3.Connection) -> list[str]:
    unreadable: Counter[str] = Counter()
    for session_id, seq, element in db.execute("SELECT session_id, seq, element FROM messages"):
        unreadable[decode_name(session_id)] += decode_message(element, seq).type == UNREADABLE
    return [f"session {name} has {count:,} messages that cannot be read" for name, count in unreadable.items() if count]


def _report_damaged(damaged: list[str]) -> list[Finding]:
    """Each is named: nobody but an operator can decide what is to become of it."""
    if not damaged:
        return [Finding("ok", "damage", "There are no sessions that cannot be read.")]
    findings = [Finding("error", "damage", f"{text}.") for text in damaged[:SHOWN]]
    if len(damaged) > SHOWN:
        findings.append(Finding("error", "damage", f"{len(damaged) - SHOWN:,} more sessions cannot be read."))
    return findings
