"""Appending to a session's history, and reading it."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chat_session.checks import check_metadata_size, encode_value
from chat_session.clock import now_ms
from chat_session.errors import AgentConflict, MessageConflict, MetadataConflict, SequenceConflict
from chat_session.message import Draft, Message
from chat_session.session import Session
from chat_session.storage.codec import EncodedMessage, decode_message, encode_message, is_same_content
from chat_session.storage.contract import Appended, Conditional
from chat_session.storage.sqlite.lifetimes import save_session, slide_deadline
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import get_session, require_session
from chat_session.storage.sqlite.state import merge_state

_INTERNAL_ENDS = (b',"internal":true}', b',"internal":true,"type":"retracted"}')  # of a message, of its tombstone


def append_messages(
    db: sqlite3.Connection,
    session_id: str,
    drafts: Sequence[Draft],
    epoch: int | None,
    conditional: Conditional | None,
    max_history: int,
) -> list[Appended]:
    session = require_session(db, session_id)
    appended = insert_messages(db, session, drafts, max_history) if drafts else []
    fresh = sum(not done.duplicate for done in appended)
    is_fenced = conditional is not None and (fresh > 0 or not drafts)
    is_fenced = is_fenced or any(not (done.duplicate or done.message.internal) for done in appended)
    if is_fenced and epoch is not None and epoch != session.agent_epoch:
        raise AgentConflict(session_id, epoch, session.agent_epoch, session.current_agent)
    if conditional is not None and (fresh or not drafts):
        _apply(db, session, conditional)
    if fresh or not drafts:
        save_session(db, msgspec.structs.replace(session, message_count=session.message_count + fresh))
    else:  # a repeat keeps the session alive, too
        slide_deadline(db, session_id)
    return appended


def _apply(db: sqlite3.Connection, session: Session, conditional: Conditional) -> None:
    """Compare, then write what goes along with the messages. If it raises, the job's savepoint undoes all of it."""
    expected = (conditional.expect_seq, conditional.expect_revision)
    if expected[0] not in (None, session.message_count) or expected[1] not in (None, session.revision):
        raise SequenceConflict(session.session_id, session.message_count, session.revision)
    check_expected(session, conditional.expect_metadata)
    if conditional.metadata:
        merge_metadata(db, session, conditional.metadata)
    for scope, changes in conditional.state.items():
        merge_state(db, scope, changes)


def check_expected(session: Session, expect: Mapping[str, Any]) -> None:
    """Raises MetadataConflict."""
    for name, value in expect.items():
        found = session.metadata.get(name)
        if (found is None) != (value is None) or encode_value(found) != encode_value(value):
            raise MetadataConflict(session.session_id, name)


def merge_metadata(db: sqlite3.Connection, session: Session, patch: Mapping[str, Any]) -> Session:
    """None removes an entry. Raises InvalidInput if the merged whole is over the limits."""
    merged = {name: value for name, value in {**session.metadata, **patch}.items() if patch.get(name, 0) is not None}
    check_metadata_size(merged)
    db.execute(SQL["save_metadata"], (msgspec.json.encode(merged), session.session_id))
    return msgspec.structs.replace(session, metadata=merged)


def get_history(
    db: sqlite3.Connection, session_id: str, limit: int, before: int | None, after: int | None
) -> list[Message]:
    if get_session(db, session_id) is None:
        return []
    forwards = before is None and after is not None
    query = SQL["history_forwards" if forwards else "history_backwards"]
    rows = db.execute(query, (session_id, after or 0, 2**63 - 1 if before is None else before, limit)).fetchall()
    return [decode_message(element, seq) for seq, element in (rows if forwards else reversed(rows))]


def insert_messages(
    db: sqlite3.Connection, session: Session, drafts: Sequence[Draft], max_history: int
) -> list[Appended]:
    """Insert the new ones and trim the history. If a later one is refused, the job's savepoint undoes all of it."""
    max_history = session.max_history or max_history
    session_id, count = session.session_id, session.message_count
    written = [(draft.message, encode_message(draft)) for draft in drafts]
    # If a batch is longer than the history, its first ids are forgotten at once. Its last message tells a repeat.
    end = _find_stored(db, session_id, *written[-1]) if len(written) > max_history else None
    appended = []
    for to_come, (message, element) in zip(range(len(written) - 1, -1, -1), written, strict=False):
        known = _find_stored(db, session_id, message, element)
        if known is not None:
            appended.append(Appended(known, duplicate=True))
        elif end is not None and to_come >= max_history and (seq := (end.seq or 0) - to_come) > 0:
            appended.append(Appended(msgspec.structs.replace(message, seq=seq), duplicate=True))
        else:
            count += 1
            db.execute(SQL["insert_message"], (session_id, count, *element))
            appended.append(Appended(msgspec.structs.replace(message, seq=count), duplicate=False))
    if count > session.message_count:
        _trim(db, session_id, count - max_history)
    _mark(db, session_id, appended)
    return appended


def _trim(db: sqlite3.Connection, session_id: str, last: int) -> None:
    """Delete all up to ``last``. Once internal ones are gone, note the last that the customer could see."""
    trimmed = db.execute(SQL["trim_history"], (session_id, last)).fetchall()
    visible = [seq for seq, end in trimmed if not end.endswith(_INTERNAL_ENDS)]
    if len(visible) < len(trimmed):
        before = min(seq for seq, _ in trimmed) - 1
        values = {"before": before, "seq": max(visible, default=0), "session_id": session_id}
        db.execute(SQL["begin_trimmed"], values)
    elif visible:
        db.execute(SQL["save_trimmed"], (max(visible), session_id))


def _mark(db: sqlite3.Connection, session_id: str, appended: Sequence[Appended]) -> None:
    """Note the customer's newest message, and the newest that an operator has answered with."""
    fresh = [done.message for done in appended if not done.duplicate]
    customer = [message.seq for message in fresh if message.sender == "user"]
    answers = [message.seq for message in fresh if message.sender == "operator" and not message.internal]
    if customer:
        db.execute(SQL["mark_customer"], {"seq": customer[-1], "now": now_ms(), "session_id": session_id})
    if answers:
        db.execute(SQL["save_answered"], (answers[-1], session_id))


def find_duplicate(db: sqlite3.Connection, session_id: str, draft: Draft) -> Message | None:
    """The stored message of the same id and content. Raises MessageConflict for the same id with other content."""
    return _find_stored(db, session_id, draft.message, encode_message(draft))


def _find_stored(db: sqlite3.Connection, session_id: str, message: Message, element: EncodedMessage) -> Message | None:
    """The stored message of the same id and content. Raises MessageConflict for the same id with other content."""
    row = db.execute(SQL["find_message"], (session_id, element.id)).fetchone()
    if row is None:
        return None
    seq, fingerprint, stored = row
    if not is_same_content(fingerprint, element.fingerprint):
        raise MessageConflict(session_id, message.id or "")
    return decode_message(stored, seq)
