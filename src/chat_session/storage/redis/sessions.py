"""The sessions on Redis and Valkey: each write is one script and, except for delete, one round trip.

On a cluster creation, deletion and a new ttl take more: see ``index/cluster.py``.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from chat_session.checks import MAX_JSON_BYTES, MAX_METADATA_ENTRIES, encode_value
from chat_session.clock import now, to_iso
from chat_session.errors import SessionNotFound, StoreCorrupt, StoreUnavailable
from chat_session.message import Draft, Message
from chat_session.results import SessionPage
from chat_session.session import RESERVED, Agent, Session
from chat_session.storage.codec import decode_message, encode_message
from chat_session.storage.contract import Appended, RemainingTtl, Switched
from chat_session.storage.redis.codec import decode_number, decode_user, encode_ttl
from chat_session.storage.redis.index.due import DueEntries
from chat_session.storage.redis.index.entries import Index, Verdict
from chat_session.storage.redis.keys import Keys, SessionKeys
from chat_session.storage.redis.net.commands import Call, Command, PlainCommand, ReadTransaction
from chat_session.storage.redis.net.decoders import integer, optional_text, optional_texts, refuse, stored_hash, texts
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.pages import SessionPages
from chat_session.storage.redis.scripts import sessions as scripts
from chat_session.storage.redis.tokens import Tokens

MAX_OWNERS = 8  # users to whom an id may be given while it is deleted, before the call gives up


class RedisSessions:
    """Keeps SessionStore's promises on one Redis server or a cluster."""

    def __init__(
        self, executor: CommandExecutor, keys: Keys, index: Index, *, default_ttl: int, max_history: int
    ) -> None:
        self._executor = executor
        self._keys = keys
        self._index = index
        self._due = DueEntries(executor, keys, index)
        self._pages = SessionPages(executor, keys, index, default_ttl)
        self._tokens = Tokens()
        self._default_ttl = default_ttl
        self._max_history = max_history

    async def create_session(
        self, session: Session, history: Sequence[Draft] = (), remaining: RemainingTtl = ...
    ) -> Session:
        await self._index.create(
            session,
            token=secrets.token_urlsafe(6),  # 8 characters
            ttl=encode_ttl(session.ttl if remaining is ... else remaining),
            elements=[encode_message(draft) for draft in history],
        )
        return session

    async def get_session(self, session_id: str) -> Session | None:
        key = self._keys.meta(session_id)
        fields = await self._executor.run("get_session", PlainCommand((b"HGETALL", key), stored_hash))
        return self._pages.decode(key, fields)

    async def get_agent(self, session_id: str) -> Agent | None:
        key = self._keys.meta(session_id)
        command = PlainCommand((b"HMGET", key, b"userId", b"currentAgent"), _two_texts)
        user_id, agent = await self._executor.run("get_agent", command)
        if user_id is None:
            return None
        if agent not in (b"ai", b"human", None):
            raise StoreCorrupt(key.decode(), "has a currentAgent that is neither ai nor human", session_id=session_id)
        return "human" if agent == b"human" else "ai"

    async def update_session(self, session_id: str, metadata: Mapping[str, Any]) -> Session:
        keys = self._keys.session(session_id)
        call = scripts.update_session(
            session_id,
            keys,
            max_entries=MAX_METADATA_ENTRIES,
            max_bytes=MAX_JSON_BYTES,
            reserved=RESERVED,
            removed=[name for name, value in metadata.items() if value is None],
            changes={name: encode_value(value) for name, value in metadata.items() if value is not None},
        )
        session = self._pages.decode(keys.meta, await self._executor.run("update_session", call))
        if session is None:
            raise SessionNotFound(session_id)
        return session

    async def delete_session(self, session_id: str) -> int:
        meta = self._keys.meta(session_id)
        for _ in range(MAX_OWNERS):
            owner = await self._executor.run("delete_session", PlainCommand((b"HGET", meta, b"userId"), optional_text))
            if owner is None:
                return 0
            deleted = await self._index.delete(session_id, decode_user(meta, owner))
            if deleted is not None:
                return deleted
        text = f"The session {session_id!r} was given to {MAX_OWNERS} users while it was deleted. Delete it again."
        raise StoreUnavailable(text, session_id=session_id)

    async def extend_session(self, session_id: str) -> None:
        keys = self._keys.session(session_id)
        call = scripts.extend_session(session_id, keys, now=to_iso(now()), default_ttl=self._default_ttl)
        await self._executor.run("extend_session", call)

    async def append_messages(self, session_id: str, drafts: Sequence[Draft], epoch: int | None) -> list[Appended]:
        call = scripts.append_messages(
            session_id,
            self._keys.session(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            epoch=epoch,
            elements=[encode_message(draft) for draft in drafts],
        )
        stored = await self._executor.run("append_messages", call)
        return [_appended(draft.message, seq, element) for draft, (seq, element) in zip(drafts, stored, strict=True)]

    async def get_history(self, session_id: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        keys = self._keys.session(session_id)
        script = scripts.get_history(session_id, keys, limit=limit, before=before, after=after)
        windowed = before is not None or after is not None
        command = script if windowed else _newest(session_id, keys, script, limit)
        try:
            first, elements = await self._executor.run("get_history", command)
        except SessionNotFound:
            return []
        return [decode_message(element, seq) for seq, element in enumerate(elements, first)]

    async def switch_agent(
        self, session_id: str, agent: Agent, expect: int | Agent | None, note: Draft | None
    ) -> Switched:
        token = self._tokens.take()
        call = scripts.switch_agent(
            session_id,
            self._keys.session(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            new_agent=agent,
            expect=expect,
            token=token.text,
            answered_below=token.answered_below,
            elements=[encode_message(note)] if note else [],
        )
        with self._tokens.answering(token):
            epoch, noted = await self._executor.run("switch_agent", call)
        return Switched(agent, epoch, bool(noted))

    async def set_ttl(self, session_id: str, ttl: int | None) -> None:
        await self._index.set_ttl(session_id, encode_ttl(ttl))

    async def get_ttl(self, session_id: str) -> int:
        key = self._keys.meta(session_id)
        commands = [PlainCommand((b"HEXISTS", key, b"userId"), integer), PlainCommand((b"PTTL", key), integer)]
        exists, left = await self._executor.run_all("get_ttl", commands)
        if not exists:
            return -2
        return left if left < 0 else -(-left // 1000)

    async def list_user_sessions(self, user_id: str, limit: int, cursor: str | None) -> SessionPage:
        return await self._pages.page_of_user(user_id, limit, cursor)

    async def count_sessions(self) -> int:
        _, living = await self._due.check("count_sessions", Verdict.MARK_DEAD)
        return living

    async def sweep(self) -> int:
        reaped, _ = await self._due.check("sweep", Verdict.REAP)
        return reaped


def _newest(
    session_id: str, keys: SessionKeys, script: Call[tuple[int, list[bytes]]], limit: int
) -> Command[tuple[int, list[bytes]]]:
    """What the script get_history does without a window, in a transaction."""

    def decode(reply: Any) -> tuple[int, list[bytes]]:
        if type(reply) is not list or len(reply) != 3:  # noqa: PLR2004
            refuse(reply)
        user_id, counted = _two_texts(reply[0])
        length, elements = integer(reply[1]), texts(reply[2])
        if user_id is None:
            raise SessionNotFound(session_id)
        try:
            count = decode_number(b"0" if counted is None else counted)
        except ValueError:
            problem = "has a messageCount that cannot be read"
            raise StoreCorrupt(keys.meta.decode(), problem, session_id=session_id) from None
        last = max(count, length)  # another program may have pushed, uncounted
        return last - len(elements) + 1, elements

    commands = (
        (b"HMGET", keys.meta, b"userId", b"messageCount"),
        (b"LLEN", keys.history),
        (b"LRANGE", keys.history, -limit, -1),
    )
    return ReadTransaction(commands, decode, script)


def _two_texts(reply: Any) -> list[bytes | None]:
    return optional_texts(reply, 2)


def _appended(sent: Message, seq: int, stored: bytes | None) -> Appended:
    if stored is not None:
        return Appended(decode_message(stored, seq), duplicate=True)
    message = Message(  # structs.replace would take four times as long
        id=sent.id,
        sender=sent.sender,
        text=sent.text,
        timestamp=sent.timestamp,
        type=sent.type,
        seq=seq,
        extra=sent.extra,
    )
    return Appended(message, duplicate=False)
