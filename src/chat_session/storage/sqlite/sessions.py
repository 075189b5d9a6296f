"""The sessions of the embedded store: create, update, delete, switch; further calls are in the files it imports.

Each call is a function on a connection, which the worker runs in a transaction.
"""

import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chat_session.checks import refuse_no_integer
from chat_session.clock import now, now_ms, now_us, to_iso, to_ms
from chat_session.desk_status import OPEN
from chat_session.errors import AgentConflict, SequenceConflict, SessionExists
from chat_session.message import Draft, Message
from chat_session.results import SessionPage
from chat_session.session import Agent, Session
from chat_session.storage.codec import encode_message, is_answer, is_from_customer
from chat_session.storage.contract import Appended, Conditional, RemainingTtl, Switched
from chat_session.storage.sqlite import edits
from chat_session.storage.sqlite.counts import count_created
from chat_session.storage.sqlite.desk_rows import adopt_switch, require_desk_row
from chat_session.storage.sqlite.lifetimes import (
    NO_SESSION,
    count_sessions,
    extend_session,
    find_deadline,
    get_ttl,
    save_session,
    set_ttl,
    slide_deadline,
    sweep,
)
from chat_session.storage.sqlite.lists import list_user_sessions, read_user_cursor
from chat_session.storage.sqlite.messages import (
    append_messages,
    check_expected,
    get_history,
    insert_messages,
    merge_metadata,
)
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.restoring import restore_desk
from chat_session.storage.sqlite.rows import get_session, require_session
from chat_session.storage.sqlite.worker import Worker


class SqliteSessions:
    """Keeps SessionStore's promises in one file, also if several processes use it."""

    def __init__(self, reader: Worker, writer: Worker, max_history: int, waiting_ttl: int) -> None:
        self._reader = reader
        self._writer = writer
        self._max_history = max_history
        self._waiting_ttl = waiting_ttl  # seconds that a session lives at least while people depend on it

    async def create_session(
        self, session: Session, history: Sequence[Draft] = (), remaining: RemainingTtl = ...
    ) -> Session:
        return await self._writer.call(create_session, session, history, remaining, self._waiting_ttl)

    async def get_or_create_session(self, session: Session) -> tuple[Session, bool]:
        return await self._writer.call(get_or_create_session, session, self._waiting_ttl)

    async def assign_session(self, session_id: str, user_id: str) -> Session:
        return await self._writer.call(assign_session, session_id, user_id)

    async def get_session(self, session_id: str) -> Session | None:
        return await self._reader.call(get_session, session_id)

    async def get_agent(self, session_id: str) -> Agent | None:
        session = await self.get_session(session_id)
        return session.current_agent if session else None

    async def update_session(
        self, session_id: str, metadata: Mapping[str, Any], expect: Mapping[str, Any] = {}
    ) -> Session:
        return await self._writer.call(update_session, session_id, metadata, expect)

    async def increment(self, session_id: str, name: str, by: int) -> int:
        return await self._writer.call(increment, session_id, name, by)

    async def delete_session(self, session_id: str, expect_revision: int | None = None) -> int:
        return await self._writer.call(delete_session, session_id, expect_revision)

    async def extend_session(self, session_id: str) -> None:
        await self._writer.call(extend_session, session_id)

    async def check_epoch(self, session_id: str, epoch: int) -> None:
        await self._reader.call(check_epoch, session_id, epoch)

    async def append_messages(
        self, session_id: str, drafts: Sequence[Draft], epoch: int | None, conditional: Conditional | None = None
    ) -> list[Appended]:
        return await self._writer.call(append_messages, session_id, drafts, epoch, conditional, self._max_history)

    async def get_history(self, session_id: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        return await self._reader.call(get_history, session_id, limit, before, after)

    async def retract_message(self, session_id: str, message_id: str, epoch: int | None) -> Message | None:
        return await self._writer.call(edits.retract_message, session_id, message_id, epoch)

    async def pop_messages(self, session_id: str, count: int, epoch: int | None) -> list[Message]:
        return await self._writer.call(edits.pop_messages, session_id, count, epoch)

    async def replace_message(
        self, session_id: str, draft: Draft, expect: Message | None, epoch: int | None
    ) -> Message:
        return await self._writer.call(edits.replace_message, session_id, draft, expect, epoch)

    async def clear_history(self, session_id: str, epoch: int | None) -> int:
        return await self._writer.call(edits.clear_history, session_id, epoch)

    async def replace_history(
        self,
        session_id: str,
        drafts: Sequence[Draft],
        expect_revision: int | None,
        epoch: int | None,
        expect_seq: int | None = None,
    ) -> list[Message]:
        return await self._writer.call(
            edits.replace_history, session_id, drafts, expect_revision, epoch, expect_seq, self._max_history
        )

    async def switch_agent(
        self, session_id: str, agent: Agent, expect: int | Agent | None, note: Draft | None
    ) -> Switched:
        return await self._writer.call(
            switch_agent, session_id, agent, expect, note, self._max_history, self._waiting_ttl
        )

    async def set_ttl(self, session_id: str, ttl: int | None) -> None:
        await self._writer.call(set_ttl, session_id, ttl, self._waiting_ttl)

    async def get_ttl(self, session_id: str) -> int:
        return await self._reader.call(get_ttl, session_id)

    async def list_user_sessions(self, user_id: str, limit: int, cursor: str | None) -> SessionPage:
        return await self._reader.call(list_user_sessions, user_id, limit, read_user_cursor(cursor))

    async def count_sessions(self) -> int:
        return await self._reader.call(count_sessions)

    async def sweep(self) -> int:
        removed = 0
        while batch := await self._writer.call(sweep):
            removed += batch
        return removed


def create_session(
    db: sqlite3.Connection, session: Session, history: Sequence[Draft], remaining: RemainingTtl, waiting_ttl: int
) -> Session:
    if get_session(db, session.session_id) is not None:
        raise SessionExists(session.session_id)
    _delete_rows(db, session.session_id)  # a dead session of this id may not have been swept yet
    switched = session.agent_switched_at
    values = {
        "session_id": session.session_id,
        "user_id": session.user_id,
        "created_at": to_iso(session.created_at),
        "last_active_at": to_iso(session.last_active_at),
        "current_agent": session.current_agent,
        "agent_switched_at": to_iso(switched) if switched else None,
        "agent_epoch": session.agent_epoch,
        "message_count": session.message_count,
        "ttl": session.ttl,
        "metadata": msgspec.json.encode(session.metadata),
        "revision": session.revision,
        "max_history": session.max_history,
        "turns": int(session.turns),
        "deadline": find_deadline(session.ttl if remaining is ... else remaining),
        "position": _next_position(db, session.user_id, to_ms(session.created_at) * 1000),
        "incarnation": secrets.token_hex(4),
    }
    db.execute(SQL["insert_session"], values)
    for seq, draft in enumerate(history, session.message_count - len(history) + 1):
        element = encode_message(draft)
        db.execute(SQL["insert_message"], (session.session_id, seq, *element))
        if is_from_customer(element):
            db.execute(SQL["mark_customer"], {"seq": seq, "now": now_ms(), "session_id": session.session_id})
        elif is_answer(element):
            db.execute(SQL["save_answered"], (seq, session.session_id))
    count_created(db, session, now_us())
    if session.desk == OPEN:
        return session
    restored = restore_desk(db, session, waiting_ttl)
    if remaining is ...:
        slide_deadline(db, session.session_id)  # by the ttl that it has now
    return restored


def get_or_create_session(db: sqlite3.Connection, session: Session, waiting_ttl: int) -> tuple[Session, bool]:
    found = get_session(db, session.session_id)
    if found is None:
        return create_session(db, session, (), ..., waiting_ttl), True
    if found.user_id != session.user_id:
        raise SessionExists(session.session_id)
    return found, False


def assign_session(db: sqlite3.Connection, session_id: str, user_id: str) -> Session:
    session = require_session(db, session_id)
    if session.user_id != user_id:
        position = _next_position(db, user_id, to_ms(session.created_at) * 1000)
        db.execute(SQL["save_owner"], (user_id, position, session_id))
    return msgspec.structs.replace(session, user_id=user_id)


def _next_position(db: sqlite3.Connection, user_id: str, position: int) -> int:
    """The creation in microseconds; in the same millisecond, one more than the newest session of the user."""
    [newest] = db.execute(SQL["find_newest_position"], (user_id, position, position + 1000)).fetchone()
    return position if newest is None else newest + 1


def update_session(
    db: sqlite3.Connection, session_id: str, patch: Mapping[str, Any], expect: Mapping[str, Any]
) -> Session:
    session = require_session(db, session_id)
    check_expected(session, expect)
    return merge_metadata(db, session, patch)


def increment(db: sqlite3.Connection, session_id: str, name: str, by: int) -> int:
    session = require_session(db, session_id)
    before = session.metadata.get(name, 0)
    refuse_no_integer(name, before)
    number: int = before + by
    refuse_no_integer(name, number)
    merge_metadata(db, session, {name: number})
    return number


def check_epoch(db: sqlite3.Connection, session_id: str, epoch: int) -> None:
    session = require_session(db, session_id)
    if epoch != session.agent_epoch:
        raise AgentConflict(session_id, epoch, session.agent_epoch, session.current_agent)


def delete_session(db: sqlite3.Connection, session_id: str, expect_revision: int | None) -> int:
    if get_ttl(db, session_id) == NO_SESSION:  # not get_session: one that cannot be read can be deleted, too
        return 0
    if expect_revision is not None:
        session = require_session(db, session_id)
        if session.revision != expect_revision:
            raise SequenceConflict(session_id, session.message_count, session.revision)
    return _delete_rows(db, session_id)


def _delete_rows(db: sqlite3.Connection, session_id: str) -> int:
    db.execute(SQL["delete_reply"], (session_id,))
    messages = db.execute(SQL["delete_messages"], (session_id,)).rowcount
    return messages + db.execute(SQL["delete_session"], (session_id,)).rowcount


def switch_agent(
    db: sqlite3.Connection,
    session_id: str,
    agent: Agent,
    expect: int | Agent | None,
    note: Draft | None,
    max_history: int,
    waiting_ttl: int,
) -> Switched:
    row = require_desk_row(db, session_id)
    session = row.session
    if expect not in (None, session.agent_epoch, session.current_agent):
        raise AgentConflict(session_id, expect, session.agent_epoch, session.current_agent)
    noted = note is not None and not insert_messages(db, session, [note], max_history)[0].duplicate
    switched = msgspec.structs.replace(
        session,
        current_agent=agent,
        agent_epoch=session.agent_epoch + 1,
        agent_switched_at=now(),
        message_count=session.message_count + noted,
    )
    adopt_switch(db, row._replace(session=switched), now_us(), waiting_ttl)
    save_session(db, switched)
    return Switched(agent, switched.agent_epoch, noted)
