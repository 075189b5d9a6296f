"""What the desk stores in a session's row."""

import sqlite3
from typing import NamedTuple

import msgspec

from chat_session.desk_status import DeskFacts, current_facts, encode_facts
from chat_session.errors import SessionNotFound
from chat_session.handoff import Change, Read, adopt, complete, last_sign, queue_place
from chat_session.session import Session
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import decode_desk, decode_session, find_row


class DeskRow(NamedTuple):
    """A session as the desk sees it. ``ttl``: the one that is stored; ``session.ttl`` is the session's own."""

    session: Session
    stored: DeskFacts | None  # as they were after the last step
    ttl: int | None

    def read(self, moment: int, presence: int = 0) -> Read:
        session = self.session
        facts = current_facts(self.stored, session.current_agent, session.agent_epoch, session.agent_switched_at)
        return Read(session.session_id, facts, session.agent_epoch, moment, presence)


def require_desk_row(db: sqlite3.Connection, session_id: str) -> DeskRow:
    """Raises SessionNotFound, StoreCorrupt."""
    row = find_row(db, session_id)
    if row is None:
        raise SessionNotFound(session_id)
    return DeskRow(decode_session(row), decode_desk(row[12]), row[8])


def store_change(db: sqlite3.Connection, row: DeskRow, read: Read, change: Change, waiting_ttl: int) -> None:
    """Facts, queue, seat and ttl as they are after a step; the deadline stays."""
    facts, ttl = complete(read, change, row.ttl, waiting_ttl)
    save_facts(db, read.session_id, msgspec.structs.replace(facts, stamp=max(read.now, facts.stamp + 1)), ttl)


def adopt_switch(db: sqlite3.Connection, row: DeskRow, moment: int, waiting_ttl: int) -> None:
    """Store what a switch without the desk, which ``row.session`` shows, has made of a session that it handled."""
    if row.stored is not None:
        read = row.read(moment)
        store_change(db, row, read, adopt(read), waiting_ttl)


def save_own_ttl(db: sqlite3.Connection, row: DeskRow, own: int | None, moment: int, waiting_ttl: int) -> None:
    """A new ttl of the session's own; what is stored is longer while people depend on the session."""
    session_id = row.session.session_id
    if row.stored is None:
        db.execute(SQL["save_ttl"], (own, session_id))
        return
    read = row.read(moment)
    read = read._replace(facts=msgspec.structs.replace(read.facts, own_ttl=None, desk_ttl=None))
    facts, ttl = complete(read, adopt(read), own, waiting_ttl)
    save_facts(db, session_id, facts, ttl)


def save_facts(db: sqlite3.Connection, session_id: str, facts: DeskFacts, ttl: int | None) -> None:
    waits, is_assigned = facts.state == "waiting", facts.state == "assigned"
    values = {
        "session_id": session_id,
        "desk": encode_facts(facts),
        "epoch": facts.epoch,
        "desk_ttl": facts.desk_ttl,
        "team": facts.team or "" if waits else None,
        "place": queue_place(facts) if waits else None,
        "operator": facts.operator if is_assigned else None,
        "presence": facts.presence if is_assigned else None,
        "sign": last_sign(facts) if is_assigned else None,
        "ttl": ttl,
    }
    db.execute(SQL["save_desk"], values)
