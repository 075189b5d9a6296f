"""A session at one moment, as a watcher needs it."""

import sqlite3
from collections.abc import Sequence
from hashlib import blake2b

from chat_session.clock import now_ms
from chat_session.errors import StoreCorrupt
from chat_session.message import Message
from chat_session.storage.codec import decode_message
from chat_session.storage.contract import Edit, Observation, Position
from chat_session.storage.sqlite.lifetimes import NEVER
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.reply_rows import observe_reply
from chat_session.storage.sqlite.rows import decode_session


def observe(db: sqlite3.Connection, session_id: str, position: Position, size: int) -> Observation | None:
    """All in one transaction. Raises StoreCorrupt."""
    row = db.execute(SQL["observe_session"], (session_id, now_ms())).fetchone()
    if row is None:
        return None
    session = decode_session(row)
    deadline, incarnation, trimmed, edits = row[14:]
    [first] = db.execute(SQL["find_first"], (session_id,)).fetchone()
    first = session.message_count + 1 if first is None else first
    after = position.reply_id, position.offset
    return Observation(
        session,
        _derive_incarnation(row[2]) if incarnation is None else incarnation.decode(errors="replace"),
        expires=deadline != NEVER,
        first=first,
        last=session.message_count,
        trimmed=first - 1 if trimmed is None else trimmed,
        edits=_decode_edits(session_id, edits),
        told=_find_told(db, session_id, position.seq),
        messages=[] if position.seq < 0 else _read_messages(db, session_id, position.seq, size),
        reply=observe_reply(db, session_id, session.agent_epoch, after, size),
    )


def _derive_incarnation(created_at: bytes) -> str:
    """Of a session that was created by an older release."""
    return blake2b(created_at, digest_size=4).hexdigest()


def _decode_edits(session_id: str, stored: bytes) -> list[Edit]:
    """Raises StoreCorrupt."""
    try:
        return [_decode_edit(written) for written in stored.decode().split()]
    except ValueError:
        problem = "has a list of edits that cannot be read"
        raise StoreCorrupt(f"session {session_id}", problem, session_id=session_id) from None


def _decode_edit(written: str) -> Edit:
    """``revision:first-last:tag``, or ``*`` for the whole history. Raises ValueError."""
    revision, changed, tag = written.split(":")
    first, last = ("0", "0") if changed == "*" else changed.split("-")
    return Edit(int(revision), int(first), int(last), tag)


def _find_told(db: sqlite3.Connection, session_id: str, seq: int) -> Message | None:
    row = db.execute(SQL["find_element"], (session_id, seq)).fetchone() if seq > 0 else None
    return None if row is None else decode_message(row[0], seq)


def _read_messages(db: sqlite3.Connection, session_id: str, after: int, size: int) -> Sequence[Message]:
    """At most ``size`` bytes of them, but one at least."""
    messages: list[Message] = []
    rows = db.execute(SQL["history_behind"], (session_id, after))
    for seq, element in rows:
        size -= len(element)
        if messages and size < 0:
            break
        messages.append(decode_message(element, seq))
    rows.close()
    return messages
