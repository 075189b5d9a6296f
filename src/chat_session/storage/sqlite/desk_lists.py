"""What the desk shows: the queue in pages, who has which sessions, and the figures."""

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

from chat_session.clock import from_iso, now_ms, now_us
from chat_session.desk_figures import DAY, HOUR, figures_of
from chat_session.desk_results import DeskEntry, DeskPage, DeskStats
from chat_session.desk_status import HIGHEST_PRIORITY, DeskState, find_status
from chat_session.errors import InvalidInput
from chat_session.handoff import PRIORITY_STEP
from chat_session.storage.cursors import read_cursor, write_cursor
from chat_session.storage.sqlite.counts import read_counts
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import UNREADABLE, decode_desk, decode_text

BEFORE_ALL = -(2**63), ""  # a place in the queue, and the session there


def list_waiting(db: sqlite3.Connection, team: str | None, limit: int, after: tuple[int, str]) -> DeskPage:
    """The entries that follow ``after``. A session that cannot be read is left out; doctor reports it."""
    query = {"now": now_ms(), "place": after[0], "session_id": after[1], "limit": limit + 1}
    if team is None:
        rows = db.execute(SQL["list_waiting"], query).fetchall()
    else:
        rows = db.execute(SQL["list_waiting_in_team"], {**query, "team": team}).fetchall()
    entries = _decode_entries(rows[:limit], "waiting")
    if len(rows) <= limit:
        return DeskPage(entries)
    last = rows[limit - 1]
    return DeskPage(entries, write_cursor("desk", str(last[-1]), decode_text(last[0])))


def read_waiting_cursor(cursor: str | None) -> tuple[int, str]:
    """The place and id of the last session of the page before. Raises InvalidInput."""
    if cursor is None:
        return BEFORE_ALL
    place, session_id = read_cursor("desk", cursor, 2)
    if not re.fullmatch(r"-?[0-9]{1,18}", place):
        raise InvalidInput("cursor", "a cursor that a page of this list gave, or None", "another")
    return int(place), session_id


def list_assigned(db: sqlite3.Connection, operator_id: str | None) -> list[DeskEntry]:
    """By the operators' names, those of one operator by the moment at which that operator took them."""
    if operator_id is None:
        rows = db.execute(SQL["list_assigned"], (now_ms(),)).fetchall()
    else:
        rows = db.execute(SQL["list_assigned_to"], (operator_id, now_ms())).fetchall()
    entries = [entry for entry in _decode_entries(rows, "assigned") if entry.operator_id is not None]
    return sorted(entries, key=lambda entry: (entry.operator_id or "", str(entry.since), entry.session_id))


def read_stats(db: sqlite3.Connection) -> DeskStats:
    moment = now_us()
    waiting = db.execute(SQL["count_waiting"], (now_ms(),)).fetchall()
    [assigned] = db.execute(SQL["count_assigned"], (now_ms(),)).fetchone()
    counts = read_counts(db, moment)
    return DeskStats(
        waiting={team.decode(errors="replace"): count for team, count in waiting},
        longest_wait=_find_longest_wait(db, moment),
        assigned=assigned,
        hour=figures_of(counts, moment, HOUR),
        day=figures_of(counts, moment, DAY),
    )


def _find_longest_wait(db: sqlite3.Connection, moment: int) -> float:
    """In seconds. Each priority has its own range of places, so this reads one index entry of each."""
    longest = 0
    for priority in range(HIGHEST_PRIORITY + 1):
        first = (HIGHEST_PRIORITY - priority) * PRIORITY_STEP
        values = {"first": first, "end": first + PRIORITY_STEP, "now": now_ms()}
        row = db.execute(SQL["find_longest_waiting"], values).fetchone()
        if row is not None:
            longest = max(longest, moment - (row[0] - first))
    return longest / 1_000_000


def _decode_entries(rows: Sequence[Sequence[Any]], state: DeskState) -> list[DeskEntry]:
    """Without those that cannot be read, and those whose agent was switched without the desk, which left the state."""
    entries = []
    for session_id, agent, epoch, switched, desk, *_ in rows:
        try:
            switched_at = None if switched is None else from_iso(switched.decode())
            status = find_status(decode_desk(desk), agent.decode(), epoch, switched_at)
            if status.state == state:
                entries.append(DeskEntry.of(session_id.decode(), status))
        except UNREADABLE:
            continue
    return entries
