"""Streaming replies of the embedded store: the text of a reply that grows, in a row beside the session's."""

import sqlite3

import msgspec

from chat_session.errors import InvalidInput, TurnLost
from chat_session.message import Draft
from chat_session.storage.contract import Appended
from chat_session.storage.sqlite.lifetimes import save_session, slide_deadline
from chat_session.storage.sqlite.messages import find_duplicate, insert_messages
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.reply_rows import ReplyRow, end_reply, find_reply
from chat_session.storage.sqlite.rows import require_session
from chat_session.storage.sqlite.turns import append_in_turn, find_turn, read_turn, require_turn
from chat_session.storage.sqlite.worker import Worker


class SqliteReplies:
    """Keeps ReplyStore's promises."""

    def __init__(self, writer: Worker, max_history: int) -> None:
        self._writer = writer
        self._max_history = max_history

    async def begin_reply(self, session_id: str, token: str, reply_id: str, author: str | None) -> None:
        await self._writer.call(begin_reply, session_id, token, reply_id, author)

    async def write_reply(self, session_id: str, token: str, reply_id: str, offset: int, text: bytes) -> int:
        return await self._writer.call(write_reply, session_id, token, reply_id, offset, text)

    async def commit_reply(self, session_id: str, token: str, draft: Draft, read_to: int) -> Appended:
        return await self._writer.call(commit_reply, session_id, token, draft, read_to, self._max_history)

    async def abort_reply(self, session_id: str, reply_id: str, reason: str) -> None:
        await self._writer.call(abort_reply, session_id, reply_id, reason)

    async def commit_partial(self, session_id: str, draft: Draft, length: int, reason: str) -> Appended | None:
        return await self._writer.call(commit_partial, session_id, draft, length, reason, self._max_history)


def begin_reply(db: sqlite3.Connection, session_id: str, token: str, reply_id: str, author: str | None) -> None:
    turn = require_turn(db, session_id, token)
    found = find_reply(db, session_id)
    if found is not None and found.reply_id == reply_id:  # a repeat
        _refuse_end(session_id, found, turn.epoch)
        return
    if found is not None and found.find_end(turn.epoch) is None:
        raise InvalidInput("reply", "begun when no other reply of the turn grows", "a second one")
    values = {
        "session_id": session_id,
        "reply_id": reply_id,
        "epoch": turn.epoch,
        "author": author,
        "deadline": turn.deadline,
    }
    db.execute(SQL["begin_reply"], values)


def write_reply(db: sqlite3.Connection, session_id: str, token: str, reply_id: str, offset: int, text: bytes) -> int:
    turn = require_turn(db, session_id, token)
    found = find_reply(db, session_id)
    if found is None or found.reply_id != reply_id:
        raise TurnLost(session_id, "expired")
    _refuse_end(session_id, found, turn.epoch)
    fresh = text[found.length - offset :] if offset <= found.length else b""
    if fresh:
        db.execute(SQL["write_reply"], (fresh, session_id))
    return found.length + len(fresh)


def commit_reply(
    db: sqlite3.Connection, session_id: str, token: str, draft: Draft, read_to: int, max_history: int
) -> Appended:
    [appended] = append_in_turn(db, session_id, token, [draft], read_to, max_history)
    found = find_reply(db, session_id)
    if found is not None and found.reply_id == draft.message.id:
        if not appended.duplicate:
            _refuse_end(session_id, found, read_turn(db, session_id).epoch)  # the job's savepoint undoes the append
        db.execute(SQL["commit_reply"], (appended.message.seq, session_id))
    return appended


def abort_reply(db: sqlite3.Connection, session_id: str, reply_id: str, reason: str) -> None:
    turn = find_turn(db, session_id)
    found = find_reply(db, session_id)
    if turn is not None and found is not None and found.reply_id == reply_id:
        end_reply(db, found, session_id, turn.epoch, reason)


def commit_partial(
    db: sqlite3.Connection, session_id: str, draft: Draft, length: int, reason: str, max_history: int
) -> Appended | None:
    """The turn is not asked for: what the customer saw is worth keeping after a takeover and a stop, too."""
    session = require_session(db, session_id)
    known = find_duplicate(db, session_id, draft)
    if known is not None:
        slide_deadline(db, session_id)  # a repeat keeps the session alive, too
        return Appended(known, duplicate=True)
    found = find_reply(db, session_id)
    if found is None or found.reply_id != draft.message.id or not found.shows(length):
        return None
    [appended] = insert_messages(db, session, [draft], max_history)
    save_session(db, msgspec.structs.replace(session, message_count=session.message_count + 1))
    end_reply(db, found, session_id, session.agent_epoch, reason)
    return appended


def _refuse_end(session_id: str, found: ReplyRow, epoch: int) -> None:
    """Raises TurnLost if the reply is over."""
    end = found.find_end(epoch)
    if end is not None:
        raise TurnLost(session_id, "expired" if end == "committed" else end)
