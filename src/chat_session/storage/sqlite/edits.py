"""Changes of a history that are not appends: retract, pop, replace, clear."""

import secrets
import sqlite3
from collections.abc import Sequence

import msgspec

from chat_session.errors import AgentConflict, MessageConflict, MessageNotFound, SequenceConflict
from chat_session.message import RETRACTED, Draft, Message
from chat_session.session import Session
from chat_session.storage.codec import (
    decode_message,
    encode_message,
    encode_tombstone,
    make_replacement,
    make_tombstone,
)
from chat_session.storage.sqlite.lifetimes import save_session
from chat_session.storage.sqlite.messages import insert_messages
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import require_session

KEPT_EDITS = 64


def retract_message(db: sqlite3.Connection, session_id: str, message_id: str, epoch: int | None) -> Message | None:
    session = require_session(db, session_id)
    found = _find(db, session_id, message_id)
    if found is None or found.type == RETRACTED:
        return found
    _check_epoch(session, epoch)
    _retract(db, session, [found])
    return make_tombstone(found)


def pop_messages(db: sqlite3.Connection, session_id: str, count: int, epoch: int | None) -> list[Message]:
    session = require_session(db, session_id)
    popped: list[Message] = []
    rows = db.execute(SQL["find_newest"], (session_id,))
    for seq, element in rows:
        message = decode_message(element, seq)
        if message.type != RETRACTED:
            popped.append(message)
        if len(popped) == count:
            break
    rows.close()
    popped.reverse()
    if popped:
        _check_epoch(session, epoch)
        _retract(db, session, popped)
    return popped


def replace_message(
    db: sqlite3.Connection, session_id: str, draft: Draft, expect: Message | None, epoch: int | None
) -> Message:
    session = require_session(db, session_id)
    message_id = draft.message.id or ""
    found = _find(db, session_id, message_id)
    if found is None or found.type == RETRACTED:
        raise MessageNotFound(session_id, message_id)
    if expect is not None and found != expect:
        raise MessageConflict(session_id, message_id, "Read it again before you replace it.")
    _check_epoch(session, epoch)
    stored = make_replacement(draft, found)
    element = encode_message(Draft(stored, timestamp_generated=False)).json
    db.execute(SQL["replace_element"], (element, session_id, stored.seq))
    _save_edit(db, session, f"{stored.seq}-{stored.seq}")
    return stored


def clear_history(db: sqlite3.Connection, session_id: str, epoch: int | None) -> int:
    session = require_session(db, session_id)
    _check_epoch(session, epoch)
    [removed] = db.execute(SQL["count_messages"], (session_id,)).fetchone()
    db.execute(SQL["delete_messages"], (session_id,))
    _save_edit(db, session, "*")
    return int(removed)


def replace_history(
    db: sqlite3.Connection,
    session_id: str,
    drafts: Sequence[Draft],
    expect_revision: int | None,
    epoch: int | None,
    expect_seq: int | None,
    max_history: int,
) -> list[Message]:
    session = require_session(db, session_id)
    _check_epoch(session, epoch)
    if expect_revision not in (None, session.revision) or expect_seq not in (None, session.message_count):
        raise SequenceConflict(session_id, session.message_count, session.revision)
    db.execute(SQL["delete_messages"], (session_id,))
    kept = drafts[-(session.max_history or max_history) :]
    stored = insert_messages(db, session, kept, max_history) if kept else []
    count = session.message_count + len(stored)
    _save_edit(db, msgspec.structs.replace(session, message_count=count), "*")
    return [appended.message for appended in stored]


def _find(db: sqlite3.Connection, session_id: str, message_id: str) -> Message | None:
    row = db.execute(SQL["find_message"], (session_id, msgspec.json.encode(message_id)[1:-1])).fetchone()
    return None if row is None else decode_message(row[2], row[0])


def _retract(db: sqlite3.Connection, session: Session, messages: Sequence[Message]) -> None:
    for message in messages:
        db.execute(SQL["replace_element"], (encode_tombstone(message), session.session_id, message.seq))
    _save_edit(db, session, f"{messages[0].seq}-{messages[-1].seq}")


def _save_edit(db: sqlite3.Connection, session: Session, changed: str) -> None:
    """One revision more, and the activity. ``changed``: the first and the last seq, or * for the whole history."""
    [edits] = db.execute(SQL["find_edits"], (session.session_id,)).fetchone()
    revision = session.revision + 1
    kept = [*edits.decode().split(), f"{revision}:{changed}:{secrets.token_urlsafe(2)[:2]}"][-KEPT_EDITS:]
    db.execute(SQL["save_edits"], (revision, " ".join(kept), session.session_id))
    save_session(db, session)


def _check_epoch(session: Session, epoch: int | None) -> None:
    if epoch is not None and epoch != session.agent_epoch:
        raise AgentConflict(session.session_id, epoch, session.agent_epoch, session.current_agent)
