"""A session's row, read and decoded."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from chat_session.clock import from_iso, now_ms
from chat_session.desk_status import DeskFacts, decode_facts, find_status, own_ttl
from chat_session.errors import InvalidInput, SessionNotFound, StoreCorrupt
from chat_session.session import Session, check_agent, check_count, check_max_history, check_ttl
from chat_session.storage.sqlite.queries import SQL


def get_session(db: sqlite3.Connection, session_id: str) -> Session | None:
    row = find_row(db, session_id)
    return None if row is None else decode_session(row)


def find_row(db: sqlite3.Connection, session_id: str) -> Sequence[Any] | None:
    """The columns that ``decode_session`` reads, if the session lives."""
    row: Sequence[Any] | None = db.execute(SQL["find_session"], (session_id, now_ms())).fetchone()
    return row


def require_session(db: sqlite3.Connection, session_id: str) -> Session:
    """Raises SessionNotFound."""
    session = get_session(db, session_id)
    if session is None:
        raise SessionNotFound(session_id)
    return session


def decode_session(row: Sequence[Any]) -> Session:
    """Decode the columns, which ``find_session`` lists, by the same rules as in Redis. Raises StoreCorrupt.

    Texts arrive as bytes and are decoded here, so that one bad text damages one row only.
    """
    try:
        switched = None if row[5] is None else from_iso(row[5].decode())
        agent, epoch = check_agent("currentAgent", row[4].decode()), check_count("agentEpoch", row[6])
        facts = decode_desk(row[12])
        return Session(
            session_id=row[0].decode(),
            user_id=row[1].decode(),
            created_at=from_iso(row[2].decode()),
            last_active_at=from_iso(row[3].decode()),
            current_agent=agent,
            agent_switched_at=switched,
            agent_epoch=epoch,
            message_count=check_count("messageCount", row[7]),
            ttl=own_ttl(facts, check_ttl(row[8])),
            metadata=_decode_metadata(row[9]),
            revision=check_count("revision", row[10]),
            max_history=check_max_history(row[11]),
            desk=find_status(facts, agent, epoch, switched),
            turns=row[13] == 1,
        )
    except UNREADABLE:
        name = decode_name(row[0])
        raise StoreCorrupt(f"session {name}", _find_problem(row), session_id=name) from None


def decode_desk(stored: bytes | None) -> DeskFacts | None:
    """None for a session that the desk has never handled. Raises ValueError."""
    return None if stored is None else decode_facts(stored)


def decode_text(stored: object) -> str:
    """Stored text, even if it is not UTF-8; the result can be used in a query."""
    return stored.decode(errors="surrogateescape") if isinstance(stored, bytes) else str(stored)


def decode_name(stored: object) -> str:
    """A session id that can be printed."""
    return decode_text(stored).encode(errors="replace").decode()


def _find_problem(row: Sequence[Any]) -> str:
    for (field, decode), stored in zip(_DECODERS.items(), row, strict=False):
        try:
            decode(stored)
        except UNREADABLE as error:
            return f"has a {field} that cannot be read: {type(error).__name__}"
    return "cannot be read"


def _decode_text(stored: Any) -> str:
    text: str = stored.decode()
    return text


def _decode_moment(stored: Any) -> datetime:
    return from_iso(stored.decode())


UNREADABLE = (
    *(ValueError, TypeError, AttributeError, OverflowError, RecursionError),
    *(msgspec.MsgspecError, InvalidInput),
)
_decode_metadata = msgspec.json.Decoder(dict[str, Any]).decode
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "session_id": _decode_text,
    "user_id": _decode_text,
    "created_at": _decode_moment,
    "last_active_at": _decode_moment,
    "current_agent": lambda stored: check_agent("currentAgent", stored.decode()),
    "agent_switched_at": lambda stored: None if stored is None else _decode_moment(stored),
    "agent_epoch": partial(check_count, "agentEpoch"),
    "message_count": partial(check_count, "messageCount"),
    "ttl": check_ttl,
    "metadata": _decode_metadata,
    "revision": partial(check_count, "revision"),
    "max_history": check_max_history,
    "desk": decode_desk,
}
