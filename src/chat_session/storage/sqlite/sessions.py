"""The sessions of the embedded store. Each method is one function on a connection, run inside one transaction."""

import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from chat_session.checks import check_metadata_size
from chat_session.clock import now, now_ms, to_iso, to_ms
from chat_session.errors import (
    AgentConflict,
    MessageConflict,
    SessionExists,
    SessionNotFound,
)
from chat_session.message import Draft, Message
from chat_session.results import SessionPage
from chat_session.session import Agent, Session
from chat_session.storage.codec import Element, decode_message, encode_message, is_same_content
from chat_session.storage.contract import Appended, RemainingTtl, Switched
from chat_session.storage.sqlite.lists import page_of_user, read_place
from chat_session.storage.sqlite.rows import COLUMNS, decode_session
from chat_session.storage.sqlite.worker import Worker

NEVER = 2**63 - 1
BATCH = 500

_INSERT_SESSION = f"INSERT INTO sessions ({COLUMNS}, deadline, position) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - no value in it
_INSERT_MESSAGE = "INSERT INTO messages (session_id, seq, id, fingerprint, element) VALUES (?, ?, ?, ?, ?)"
_DELETE_DEAD = """
    DELETE FROM sessions WHERE session_id IN (SELECT session_id FROM sessions WHERE deadline <= ? LIMIT ?)
    RETURNING session_id
"""


class SqliteSessions:
    """Keeps SessionStore's promises in one file, also with several processes on it."""

    def __init__(self, reader: Worker, writer: Worker, max_history: int) -> None:
        self._reader = reader
        self._writer = writer
        self._max_history = max_history

    async def create_session(
        self, session: Session, history: Sequence[Draft] = (), remaining: RemainingTtl = ...
    ) -> Session:
        await self._writer.run(
            "create_session", partial(_create, session=session, history=history, remaining=remaining)
        )
        return session

    async def get_session(self, session_id: str) -> Session | None:
        return await self._reader.run("get_session", partial(_find, session_id=session_id))

    async def get_agent(self, session_id: str) -> Agent | None:
        session = await self.get_session(session_id)
        return session.current_agent if session else None

    async def update_session(self, session_id: str, metadata: Mapping[str, Any]) -> Session:
        work = partial(_update, session_id=session_id, patch=metadata)
        return await self._writer.run("update_session", work)

    async def delete_session(self, session_id: str) -> int:
        return await self._writer.run("delete_session", partial(_delete, session_id=session_id))

    async def extend_session(self, session_id: str) -> None:
        await self._writer.run("extend_session", partial(_extend, session_id=session_id))

    async def append_messages(self, session_id: str, drafts: Sequence[Draft], epoch: int | None) -> list[Appended]:
        work = partial(_append, session_id=session_id, drafts=drafts, epoch=epoch, max_history=self._max_history)
        return await self._writer.run("append_messages", work)

    async def get_history(self, session_id: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        work = partial(_history, session_id=session_id, limit=limit, before=before, after=after)
        return await self._reader.run("get_history", work)

    async def switch_agent(
        self, session_id: str, agent: Agent, expect: int | Agent | None, note: Draft | None
    ) -> Switched:
        work = partial(
            _switch, session_id=session_id, agent=agent, expect=expect, note=note, max_history=self._max_history
        )
        return await self._writer.run("switch_agent", work)

    async def set_ttl(self, session_id: str, ttl: int | None) -> None:
        await self._writer.run("set_ttl", partial(_set_ttl, session_id=session_id, ttl=ttl))

    async def get_ttl(self, session_id: str) -> int:
        return await self._reader.run("get_ttl", partial(_seconds_left, session_id=session_id))

    async def list_user_sessions(self, user_id: str, limit: int, cursor: str | None) -> SessionPage:
        place = (NEVER, "") if cursor is None else read_place(cursor)
        page = partial(page_of_user, user_id=user_id, limit=limit, place=place)
        return await self._reader.run("list_user_sessions", page)

    async def count_sessions(self) -> int:
        return await self._reader.run("count_sessions", _count)

    async def sweep(self) -> int:
        removed = 0
        while batch := await self._writer.run("sweep", _sweep):
            removed += batch
        return removed


def _create(db: sqlite3.Connection, session: Session, history: Sequence[Draft], remaining: RemainingTtl) -> None:
    if _find(db, session.session_id) is not None:
        raise SessionExists(session.session_id)
    _remove(db, session.session_id)  # what was left of a dead one
    switched = session.agent_switched_at
    row = (
        session.session_id,
        session.user_id,
        to_iso(session.created_at),
        to_iso(session.last_active_at),
        session.current_agent,
        to_iso(switched) if switched else None,
        session.agent_epoch,
        session.message_count,
        session.ttl,
        msgspec.json.encode(session.metadata),
        _deadline(session.ttl if remaining is ... else remaining),
        _next_position(db, session),
    )
    db.execute(_INSERT_SESSION, row)
    for seq, draft in enumerate(history, session.message_count - len(history) + 1):
        db.execute(_INSERT_MESSAGE, (session.session_id, seq, *encode_message(draft)))


def _next_position(db: sqlite3.Connection, session: Session) -> int:
    """The moment of creation in microseconds; of the same millisecond, a later session has more."""
    position = to_ms(session.created_at) * 1000
    newest = "SELECT max(position) FROM sessions WHERE user_id = ? AND position >= ? AND position < ?"
    [known] = db.execute(newest, (session.user_id, position, position + 1000)).fetchone()
    return position if known is None else known + 1


def _find(db: sqlite3.Connection, session_id: str) -> Session | None:
    select = f"SELECT {COLUMNS} FROM sessions WHERE session_id = ? AND deadline > ?"  # noqa: S608 - as above
    row = db.execute(select, (session_id, now_ms())).fetchone()
    return None if row is None else decode_session(row)


def _must_find(db: sqlite3.Connection, session_id: str) -> Session:
    session = _find(db, session_id)
    if session is None:
        raise SessionNotFound(session_id)
    return session


def _update(db: sqlite3.Connection, session_id: str, patch: Mapping[str, Any]) -> Session:
    session = _must_find(db, session_id)
    merged = {name: value for name, value in {**session.metadata, **patch}.items() if patch.get(name, 0) is not None}
    check_metadata_size(merged)
    row = (msgspec.json.encode(merged), session_id)
    db.execute("UPDATE sessions SET metadata = ? WHERE session_id = ?", row)
    return msgspec.structs.replace(session, metadata=merged)


def _delete(db: sqlite3.Connection, session_id: str) -> int:
    return _remove(db, session_id) if _find(db, session_id) else 0


def _remove(db: sqlite3.Connection, session_id: str) -> int:
    messages = db.execute("DELETE FROM messages WHERE session_id = ?", (session_id,)).rowcount
    return messages + db.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,)).rowcount


def _extend(db: sqlite3.Connection, session_id: str) -> None:
    _touch(db, _must_find(db, session_id))


def _touch(db: sqlite3.Connection, session: Session) -> None:
    """Write back what a write changes: agent, counts, activity and, from the session's ttl, the deadline."""
    switched = session.agent_switched_at
    db.execute(
        "UPDATE sessions SET last_active_at = ?, deadline = ?, message_count = ?, current_agent = ?, "
        "agent_epoch = ?, agent_switched_at = ? WHERE session_id = ?",
        (
            to_iso(now()),
            _deadline(session.ttl),
            session.message_count,
            session.current_agent,
            session.agent_epoch,
            to_iso(switched) if switched else None,
            session.session_id,
        ),
    )


def _slide(db: sqlite3.Connection, session: Session) -> None:
    db.execute("UPDATE sessions SET deadline = ? WHERE session_id = ?", (_deadline(session.ttl), session.session_id))


def _append(
    db: sqlite3.Connection, session_id: str, drafts: Sequence[Draft], epoch: int | None, max_history: int
) -> list[Appended]:
    session = _must_find(db, session_id)
    appended = _push(db, session, drafts, max_history)
    fresh = sum(not done.duplicate for done in appended)
    if fresh and epoch is not None and epoch != session.agent_epoch:
        raise AgentConflict(session_id, epoch, session.agent_epoch, session.current_agent)
    if fresh:
        _touch(db, msgspec.structs.replace(session, message_count=session.message_count + fresh))
    else:  # a repeat keeps the session alive, too
        _slide(db, session)
    return appended


def _push(db: sqlite3.Connection, session: Session, drafts: Sequence[Draft], max_history: int) -> list[Appended]:
    """Insert what is new and trim. A refusal further on undoes it: the job's savepoint sees to that."""
    session_id, count = session.session_id, session.message_count
    written = [(draft.message, encode_message(draft)) for draft in drafts]
    # Of a batch longer than the history the first ids were forgotten at once; its end tells a repeat.
    end = _find_known(db, session_id, *written[-1]) if len(written) > max_history else None
    appended = []
    for to_come, (message, element) in zip(range(len(written) - 1, -1, -1), written, strict=False):
        known = _find_known(db, session_id, message, element)
        if known is not None:
            appended.append(Appended(known, duplicate=True))
        elif end is not None and to_come >= max_history and (seq := (end.seq or 0) - to_come) > 0:
            appended.append(Appended(msgspec.structs.replace(message, seq=seq), duplicate=True))
        else:
            count += 1
            db.execute(_INSERT_MESSAGE, (session_id, count, *element))
            appended.append(Appended(msgspec.structs.replace(message, seq=count), duplicate=False))
    if count > session.message_count:
        db.execute("DELETE FROM messages WHERE session_id = ? AND seq <= ?", (session_id, count - max_history))
    return appended


def _find_known(db: sqlite3.Connection, session_id: str, message: Message, element: Element) -> Message | None:
    select = "SELECT seq, fingerprint, element FROM messages WHERE session_id = ? AND id = ?"
    row = db.execute(select, (session_id, element.id)).fetchone()
    if row is None:
        return None
    seq, fingerprint, stored = row
    if not is_same_content(fingerprint, element.fingerprint):
        raise MessageConflict(session_id, message.id or "")
    return decode_message(stored, seq)


def _history(
    db: sqlite3.Connection, session_id: str, limit: int, before: int | None, after: int | None
) -> list[Message]:
    if _find(db, session_id) is None:
        return []
    forwards = before is None and after is not None
    rows = db.execute(
        "SELECT seq, element FROM messages WHERE session_id = ? AND seq > ? AND seq < ? "  # noqa: S608 - no value
        f"ORDER BY seq {'ASC' if forwards else 'DESC'} LIMIT ?",
        (session_id, after or 0, NEVER if before is None else before, limit),
    ).fetchall()
    return [decode_message(element, seq) for seq, element in (rows if forwards else reversed(rows))]


def _switch(
    db: sqlite3.Connection,
    session_id: str,
    agent: Agent,
    expect: int | Agent | None,
    note: Draft | None,
    max_history: int,
) -> Switched:
    session = _must_find(db, session_id)
    if expect not in (None, session.agent_epoch, session.current_agent):
        raise AgentConflict(session_id, expect, session.agent_epoch, session.current_agent)
    noted = note is not None and not _push(db, session, [note], max_history)[0].duplicate
    switched = msgspec.structs.replace(
        session,
        current_agent=agent,
        agent_epoch=session.agent_epoch + 1,
        agent_switched_at=now(),
        message_count=session.message_count + noted,
    )
    _touch(db, switched)
    return Switched(agent, switched.agent_epoch, noted)


def _set_ttl(db: sqlite3.Connection, session_id: str, ttl: int | None) -> None:
    _must_find(db, session_id)
    db.execute("UPDATE sessions SET ttl = ?, deadline = ? WHERE session_id = ?", (ttl, _deadline(ttl), session_id))


def _seconds_left(db: sqlite3.Connection, session_id: str) -> int:
    select = "SELECT deadline FROM sessions WHERE session_id = ? AND deadline > ?"
    moment = now_ms()
    row = db.execute(select, (session_id, moment)).fetchone()
    if row is None:
        return -2
    return -1 if row[0] == NEVER else -(-(row[0] - moment) // 1000)


def _count(db: sqlite3.Connection) -> int:
    [count] = db.execute("SELECT count(*) FROM sessions WHERE deadline > ?", (now_ms(),)).fetchone()
    return int(count)


def _sweep(db: sqlite3.Connection) -> int:
    dead = db.execute(_DELETE_DEAD, (now_ms(), BATCH)).fetchall()
    db.executemany("DELETE FROM messages WHERE session_id = CAST(? AS TEXT)", dead)
    return len(dead)


def _deadline(ttl: int | None) -> int:
    return NEVER if ttl is None else now_ms() + ttl * 1000
