"""The store on Redis and Valkey: each write one script and, but for delete, one round trip.

On a cluster creation, deletion and a new ttl take more: see ``cluster_index.py``.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from chat_session.checks import MAX_JSON_BYTES, MAX_METADATA_ENTRIES, brief, encode_value, refuse_large_metadata
from chat_session.clock import now, to_iso
from chat_session.errors import (
    AgentConflict,
    MessageConflict,
    SessionExists,
    SessionNotFound,
    StoreCorrupt,
    StoreIncompatible,
    StoreUnavailable,
)
from chat_session.message import Draft, Message
from chat_session.results import SessionPage
from chat_session.session import RESERVED, Agent, Session
from chat_session.storage.codec import decode_id, decode_message, encode_message
from chat_session.storage.contract import Appended, RemainingTtl, Switched
from chat_session.storage.redis import scripts
from chat_session.storage.redis.codec import decode_number, decode_user, encode_ttl
from chat_session.storage.redis.connection import Command, Link, Reading
from chat_session.storage.redis.due import DueEntries
from chat_session.storage.redis.index import Index
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.lists import SessionLists
from chat_session.storage.redis.tokens import Tokens

MAX_OWNERS = 8  # users to whom an id may be given while it is deleted, before the call gives up


class RedisSessions:
    """Keeps SessionStore's promises on one Redis server or a cluster."""

    def __init__(self, link: Link, keys: Keys, index: Index, *, default_ttl: int, max_history: int) -> None:
        self._link = link
        self._keys = keys
        self._index = index
        self._due = DueEntries(link, keys, index)
        self._lists = SessionLists(link, keys, index, default_ttl)
        self._tokens = Tokens()
        self._default_ttl = default_ttl
        self._max_history = max_history

    async def create_session(
        self, session: Session, history: Sequence[Draft] = (), remaining: RemainingTtl = ...
    ) -> Session:
        reply = await self._index.create(
            session,
            token=secrets.token_urlsafe(6),  # 8 characters
            ttl=encode_ttl(session.ttl if remaining is ... else remaining),
            elements=[encode_message(draft) for draft in history],
        )
        self._facts(session.session_id, reply)
        return session

    async def get_session(self, session_id: str) -> Session | None:
        key = self._keys.meta(session_id)
        return self._lists.decode(key, await self._link.run("get_session", (b"HGETALL", key)))

    async def get_agent(self, session_id: str) -> Agent | None:
        key = self._keys.meta(session_id)
        command = (b"HMGET", key, b"userId", b"currentAgent")
        user_id, agent = await self._link.run("get_agent", command)
        if user_id is None:
            return None
        if agent not in (b"ai", b"human", None):
            raise StoreCorrupt(key.decode(), "has a currentAgent that is neither ai nor human", session_id=session_id)
        return "human" if agent == b"human" else "ai"

    async def update_session(self, session_id: str, metadata: Mapping[str, Any]) -> Session:
        key = self._keys.meta(session_id)
        call = scripts.update_session(
            key,
            max_entries=MAX_METADATA_ENTRIES,
            max_bytes=MAX_JSON_BYTES,
            reserved=RESERVED,
            removed=[name for name, value in metadata.items() if value is None],
            changes={name: encode_value(value) for name, value in metadata.items() if value is not None},
        )
        [fields] = await self._write("update_session", session_id, call)
        session = self._lists.decode(key, fields)
        if session is None:
            raise SessionNotFound(session_id)
        return session

    async def delete_session(self, session_id: str) -> int:
        meta = self._keys.meta(session_id)
        for _ in range(MAX_OWNERS):
            user = await self._link.run("delete_session", (b"HGET", meta, b"userId"))
            if user is None:
                return 0
            word, *rest = await self._index.delete(session_id, decode_user(meta, user))
            if word == b"OK":
                return int(rest[0])
            if word == b"GONE":
                return 0
        text = f"The session {session_id!r} was given to {MAX_OWNERS} users while it was deleted. Delete it again."
        raise StoreUnavailable(text, session_id=session_id)

    async def extend_session(self, session_id: str) -> None:
        call = scripts.extend_session(self._keys.session(session_id), now=to_iso(now()), default_ttl=self._default_ttl)
        await self._write("extend_session", session_id, call)

    async def append_messages(self, session_id: str, drafts: Sequence[Draft], epoch: int | None) -> list[Appended]:
        call = scripts.append_messages(
            self._keys.session(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            epoch=epoch,
            elements=[encode_message(draft) for draft in drafts],
        )
        answers = self._facts(session_id, await self._link.run("append_messages", call), epoch)
        return [
            _appended(draft.message, seq, stored)
            for draft, seq, stored in zip(drafts, answers[::2], answers[1::2], strict=True)
        ]

    async def get_history(self, session_id: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        keys = self._keys.session(session_id)
        script = scripts.get_history(keys.meta, keys.history, limit=limit, before=before, after=after)
        windowed = before is not None or after is not None
        reply = await self._link.run("get_history", script if windowed else _in_transaction(script, limit))
        try:
            first, elements = self._facts(session_id, _as_of_script(*reply) if isinstance(reply[0], list) else reply)
        except SessionNotFound:
            return []
        return [decode_message(element, seq) for seq, element in enumerate(elements, first)]

    async def switch_agent(
        self, session_id: str, agent: Agent, expect: int | Agent | None, note: Draft | None
    ) -> Switched:
        token = self._tokens.take()
        call = scripts.switch_agent(
            self._keys.session(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            agent=agent,
            expect=expect,
            token=token.text,
            settled=token.settled,
            elements=[encode_message(note)] if note else [],
        )
        try:
            reply = await self._link.run("switch_agent", call)
        except BaseException:
            self._tokens.lose()
            raise
        self._tokens.settle(token)
        epoch, noted = self._facts(session_id, reply, expect)
        return Switched(agent, epoch, bool(noted))

    async def set_ttl(self, session_id: str, ttl: int | None) -> None:
        self._facts(session_id, await self._index.set_ttl(session_id, encode_ttl(ttl)))

    async def get_ttl(self, session_id: str) -> int:
        key = self._keys.meta(session_id)
        commands: list[Command] = [(b"HEXISTS", key, b"userId"), (b"PTTL", key)]
        exists, left = await self._link.run_all("get_ttl", commands)
        if not exists:
            return -2
        return int(left) if left < 0 else -(-int(left) // 1000)

    async def list_user_sessions(self, user_id: str, limit: int, cursor: str | None) -> SessionPage:
        return await self._lists.page_of_user(user_id, limit, cursor)

    async def count_sessions(self) -> int:
        _, living = await self._due.check("count_sessions", "mark_dead")
        return living

    async def sweep(self) -> int:
        reaped, _ = await self._due.check("sweep", "reap")
        return reaped

    async def _write(self, name: str, session_id: str, call: scripts.Call) -> list[Any]:
        """Run a script on a session; give what follows OK."""
        return self._facts(session_id, await self._link.run(name, call))

    def _facts(self, session_id: str, reply: Sequence[Any], expected: int | str | None = None) -> list[Any]:
        """What follows OK in a script's reply. The one table from status codes to errors."""
        word, *facts = reply
        match word:
            case b"OK":
                return list(facts)
            case b"GONE":
                raise SessionNotFound(session_id)
            case b"EXISTS":
                raise SessionExists(session_id)
            case b"STALE":
                raise AgentConflict(session_id, expected or 0, facts[0], facts[1].decode(errors="replace"))
            case b"CONFLICT":
                raise MessageConflict(session_id, decode_id(facts[0]))
            case b"CORRUPT":
                field = facts[0].decode(errors="replace")
                keys = self._keys.session(session_id)
                key, problem = keys.meta, f"has a {field} that cannot be read"
                if field == "ids":
                    key, problem = keys.ids, "has an entry that is not the number and fingerprint of a message"
                raise StoreCorrupt(key.decode(), problem, session_id=session_id)
            case b"FULL":
                refuse_large_metadata(*facts)
        raise StoreIncompatible(
            f"The server answered a script of chat-session with {brief(word)}. Check that it is Redis or Valkey."
        )


def _in_transaction(script: scripts.Call, limit: int) -> Reading:
    """What the script get_history does without a window, in a transaction."""
    meta, history = script.keys
    newest = (b"LRANGE", history, -limit, -1)
    return Reading(((b"HMGET", meta, b"userId", b"messageCount"), (b"LLEN", history), newest), script)


def _as_of_script(meta: list[bytes | None], length: int, elements: list[bytes]) -> list[Any]:
    """The script's reply, from that of the transaction."""
    user_id, count = meta
    if user_id is None:
        return [b"GONE"]
    try:
        counted = decode_number(b"0" if count is None else count)
    except ValueError:
        return [b"CORRUPT", b"messageCount"]
    last = max(counted, length)  # another program may have pushed, uncounted
    return [b"OK", last - len(elements) + 1, elements]


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
