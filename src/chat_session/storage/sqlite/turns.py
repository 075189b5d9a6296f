"""Turns of the embedded store: a lease in the session's row. A reply that grows ends with it."""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from chat_session.clock import now_ms
from chat_session.errors import AgentConflict, SessionNotFound, TurnBusy, TurnLost
from chat_session.message import Draft
from chat_session.storage.contract import Appended, TurnState
from chat_session.storage.sqlite.lifetimes import save_session, slide_deadline
from chat_session.storage.sqlite.messages import insert_messages
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.reply_rows import end_reply, find_reply
from chat_session.storage.sqlite.rows import require_session
from chat_session.storage.sqlite.worker import Worker


class SqliteTurns:
    """Keeps TurnStore's promises."""

    def __init__(self, reader: Worker, writer: Worker, max_history: int) -> None:
        self._reader = reader
        self._writer = writer
        self._max_history = max_history

    async def take_turn(self, session_id: str, token: str, lease: float) -> TurnState:
        return await self._writer.call(take_turn, session_id, token, lease)

    async def renew_turn(self, session_id: str, token: str, lease: float) -> TurnState:
        return await self._writer.call(renew_turn, session_id, token, lease)

    async def append_in_turn(
        self, session_id: str, token: str, drafts: Sequence[Draft], read_to: int
    ) -> list[Appended]:
        return await self._writer.call(append_in_turn, session_id, token, drafts, read_to, self._max_history)

    async def release_turn(self, session_id: str, token: str, read_to: int | None, *, unless_newer: bool) -> bool:
        return await self._writer.call(release_turn, session_id, token, read_to, unless_newer)

    async def stop_turn(self, session_id: str) -> bool:
        return await self._writer.call(stop_turn, session_id)

    async def list_pending_turns(self, limit: int) -> list[str]:
        return await self._reader.call(list_pending_turns, limit)


class TurnRow(NamedTuple):
    epoch: int
    agent: str
    customer: int
    answered: int | None
    last: int
    token: str | None
    deadline: int
    turn_epoch: int | None
    end: str | None

    @property
    def state(self) -> TurnState:
        return TurnState(self.epoch, self.customer, self.answered, self.last)

    @property
    def left(self) -> int:
        """Milliseconds of a turn that holds, whoever has it."""
        return self.deadline - now_ms() if self.turn_epoch == self.epoch else 0

    def find_loss(self, token: str) -> str | None:
        """Why the turn of this token is lost."""
        if self.token != token:
            return "expired"
        if self.end == "stopped":
            return "stopped"
        if self.turn_epoch != self.epoch:
            return "taken_over"
        return None if self.left > 0 else "expired"


def take_turn(db: sqlite3.Connection, session_id: str, token: str, lease: float) -> TurnState:
    row = read_turn(db, session_id)
    if row.agent != "ai":
        raise AgentConflict(session_id, "ai", row.epoch, row.agent)
    if row.token != token and row.left > 0:
        raise TurnBusy(session_id, row.left / 1000)
    reply = find_reply(db, session_id)
    if reply is not None and reply.reason is None and row.find_loss(token):  # else it is a repeat
        end_reply(db, reply, session_id, row.epoch, "expired")
    _hold(db, session_id, token, lease, row.epoch)
    return row.state


def renew_turn(db: sqlite3.Connection, session_id: str, token: str, lease: float) -> TurnState:
    row = require_turn(db, session_id, token)
    _hold(db, session_id, token, lease, row.epoch)
    return row.state


def append_in_turn(
    db: sqlite3.Connection, session_id: str, token: str, drafts: Sequence[Draft], read_to: int, max_history: int
) -> list[Appended]:
    session = require_session(db, session_id)
    before = read_turn(db, session_id)
    appended = insert_messages(db, session, drafts, max_history)
    fresh = [done.message for done in appended if not done.duplicate]
    if not fresh:  # a repeat keeps the session alive, too
        slide_deadline(db, session_id)
        return appended
    refuse_loss(session_id, before, token)  # the job's savepoint undoes what was inserted
    count = session.message_count + len(fresh)
    save_session(db, msgspec.structs.replace(session, message_count=count))
    if not all(message.internal for message in fresh):  # what came after the round was read is not answered by it
        db.execute(SQL["save_answered"], (read_to if before.customer > read_to else count, session_id))
    return appended


def release_turn(db: sqlite3.Connection, session_id: str, token: str, read_to: int | None, unless_newer: bool) -> bool:
    row = read_turn(db, session_id)
    if row.token == token and row.end == "released":
        return True
    refuse_loss(session_id, row, token)
    if read_to is not None and read_to > (row.answered or -1):
        db.execute(SQL["save_answered"], (read_to, session_id))
    if unless_newer and row.customer > (read_to or 0):
        return False
    db.execute(SQL["end_turn"], ("released", session_id))
    if (reply := find_reply(db, session_id)) is not None:
        end_reply(db, reply, session_id, row.epoch, "released")
    return True


def stop_turn(db: sqlite3.Connection, session_id: str) -> bool:
    row = read_turn(db, session_id)
    if row.end == "stopped":
        return True
    if row.left <= 0:
        return False
    db.execute(SQL["end_turn"], ("stopped", session_id))
    db.execute(SQL["stop_reply"], (session_id,))
    return True


def list_pending_turns(db: sqlite3.Connection, limit: int) -> list[str]:
    rows = db.execute(SQL["list_pending_turns"], {"now": now_ms(), "limit": limit}).fetchall()
    return [session_id.decode(errors="replace") for [session_id] in rows]


def read_turn(db: sqlite3.Connection, session_id: str) -> TurnRow:
    """Raises SessionNotFound."""
    row = find_turn(db, session_id)
    if row is None:
        raise SessionNotFound(session_id)
    return row


def find_turn(db: sqlite3.Connection, session_id: str) -> TurnRow | None:
    """None if there is no session."""
    found = db.execute(SQL["find_turn"], (session_id, now_ms())).fetchone()
    if found is None:
        return None
    epoch, agent, customer, answered, last, token, deadline, turn_epoch, end = found
    return TurnRow(
        epoch,
        agent.decode(errors="replace"),
        customer,
        answered,
        last,
        None if token is None else token.decode(errors="replace"),
        deadline,
        turn_epoch,
        None if end is None else end.decode(errors="replace"),
    )


def require_turn(db: sqlite3.Connection, session_id: str, token: str) -> TurnRow:
    """Raises SessionNotFound, TurnLost."""
    row = read_turn(db, session_id)
    refuse_loss(session_id, row, token)
    return row


def refuse_loss(session_id: str, row: TurnRow, token: str) -> None:
    loss = row.find_loss(token)
    if loss is not None:
        raise TurnLost(session_id, loss)


def _hold(db: sqlite3.Connection, session_id: str, token: str, lease: float, epoch: int) -> None:
    deadline = now_ms() + max(round(lease * 1000), 1)
    db.execute(SQL["hold_turn"], (token, deadline, epoch, session_id))
    db.execute(SQL["move_reply"], (deadline, session_id))
