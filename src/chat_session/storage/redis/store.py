"""The store on Redis and Valkey: each write one script and, but for delete, one round trip.

On a cluster creation, deletion and a new ttl take more: see ``cluster_index.py``.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain
from typing import Any

from chat_session.checks import MAX_JSON_BYTES
from chat_session.clock import now, to_iso
from chat_session.errors import (
    AgentConflict,
    InvalidInput,
    MessageConflict,
    SessionExists,
    SessionNotFound,
    SettingsError,
    StoreCorrupt,
)
from chat_session.message import Draft, Message
from chat_session.results import SessionPage
from chat_session.session import MAX_METADATA_ENTRIES, RESERVED, Agent, Session
from chat_session.settings import Settings
from chat_session.storage.codec import decode_id, decode_message, encode_message
from chat_session.storage.contract import Appended, Finding, Left, Switched
from chat_session.storage.redis import scripts
from chat_session.storage.redis.cluster import Cluster
from chat_session.storage.redis.cluster_index import ClusterIndex
from chat_session.storage.redis.codec import decode_meta, decode_user, encode_ttl, encode_value
from chat_session.storage.redis.connection import Command, Link, Patience, Reading
from chat_session.storage.redis.doctor import Doctor
from chat_session.storage.redis.index import Hint, Index, ServerIndex
from chat_session.storage.redis.keys import Keys, due_member, parse_due_member
from chat_session.storage.redis.opening import Opener
from chat_session.storage.redis.server_checks import check_servers, warn_of_settings
from chat_session.storage.redis.topology import Topology
from chat_session.telemetry.hooks import Hooks

BATCH = 500  # hints or sessions per round trip: each costs the server a few microseconds


class RedisStore:
    """Keeps SessionStore's promises on one Redis server or a cluster."""

    def __init__(self, link: Link, keys: Keys, index: Index, *, default_ttl: int, max_history: int) -> None:
        self._link = link
        self._keys = keys
        self._index = index
        self._default_ttl = default_ttl
        self._max_history = max_history

    @classmethod
    def from_settings(cls, settings: Settings, hooks: Hooks) -> "RedisStore":
        opener = Opener(settings, hooks)
        return cls._on(opener.open(), opener.patience, settings, hooks)

    @classmethod
    def from_client(cls, client: object, settings: Settings, hooks: Hooks) -> "RedisStore":
        """On the servers of a client, whatever its decoding, protocol and retries; it stays its owner's."""
        opener = Opener(settings, hooks)
        return cls._on(opener.adopt(client), opener.patience, settings, hooks)

    @classmethod
    def _on(cls, topology: Topology, patience: Patience, settings: Settings, hooks: Hooks) -> "RedisStore":
        on_cluster = isinstance(topology, Cluster)
        keys = Keys(settings.key_prefix, settings.key_layout or ("tagged" if on_cluster else "plain"))
        if on_cluster and keys.layout == "plain":
            raise SettingsError("KEY_LAYOUT", "cannot be plain on a cluster: a session's keys must share a slot")
        link = Link(topology, patience, hooks, warn_of_settings)
        index = ClusterIndex(link, keys) if on_cluster else ServerIndex(link, keys)
        return cls(
            link, keys, index, default_ttl=settings.default_session_ttl, max_history=settings.max_message_history
        )

    async def create_session(self, session: Session, history: Sequence[Draft] = (), left: Left = ...) -> Session:
        reply = await self._index.create(
            session,
            token=_token(),
            ttl=encode_ttl(session.ttl if left is ... else left),
            elements=[encode_message(draft) for draft in history],
        )
        self._facts(session.session_id, reply)
        return session

    async def get_session(self, session_id: str) -> Session | None:
        key = self._keys.meta(session_id)
        return self._decode(key, await self._link.run("get_session", (b"HGETALL", key)))

    async def get_agent(self, session_id: str) -> Agent | None:
        key = self._keys.meta(session_id)
        command = (b"HMGET", key, b"userId", b"currentAgent")
        user_id, agent = await self._link.run("get_agent", command)
        if user_id is None:
            return None
        if agent not in (b"ai", b"human", None):
            raise StoreCorrupt(key.decode(), "holds a currentAgent other than ai and human", session_id=session_id)
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
        session = self._decode(key, fields)
        if session is None:
            raise SessionNotFound(session_id)
        return session

    async def delete_session(self, session_id: str) -> int:
        meta = self._keys.meta(session_id)
        while True:
            user = await self._link.run("delete_session", (b"HGET", meta, b"userId"))
            if user is None:
                return 0
            word, *rest = await self._index.delete(session_id, decode_user(meta, user))
            if word == b"OK":
                return int(rest[0])
            if word == b"GONE":
                return 0

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
        call = scripts.switch_agent(
            self._keys.session(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            agent=agent,
            expect=expect,
            token=_token(),
            elements=[encode_message(note)] if note else [],
        )
        epoch, noted = await self._write("switch_agent", session_id, call, expected=expect)
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
        hints = self._keys.user(user_id)
        ids = await self._link.run("list_user_sessions", (b"ZRANGEBYSCORE", hints, b"(0", b"+inf"))
        sessions: list[Session] = []
        for start in range(0, len(ids), BATCH):
            pairs = [(session_id.decode(), user_id) for session_id in ids[start : start + BATCH]]
            sessions += await self._read_sessions("list_user_sessions", pairs)
        return _page(sorted(sessions, key=lambda session: session.created_at, reverse=True), limit, cursor)

    async def list_sessions(self, limit: int, cursor: str | None, agent: Agent | None) -> SessionPage:
        sessions = [s async for s in self.scan_sessions() if isinstance(s, Session)]
        return _page([s for s in sessions if agent in (None, s.current_agent)], limit, cursor)

    async def count_sessions(self) -> int:
        _, ahead = await self._settle_due("count_sessions", "mark")
        return ahead

    async def sweep(self) -> int:
        removed, _ = await self._settle_due("sweep", "remove")
        return removed

    async def _settle_due(self, name: str, dead: str) -> tuple[int, int]:
        """Check the hints that are due, of all buckets at once; how many were removed, how many are then ahead.

        Those marked as dead before are looked at only when they are to be removed.
        """
        lowest = "(0" if dead == "mark" else "-inf"
        ahead: dict[bytes, int] = {}
        skip = dict.fromkeys(self._keys.due_buckets(), 0)
        removed = 0
        while skip:
            calls = [scripts.read_hints(bucket, lowest=lowest, skip=n, limit=BATCH) for bucket, n in skip.items()]
            due: dict[bytes, list[Hint]] = {}
            for bucket, (_, count, pairs, now_ms) in zip(skip, await self._link.run_all(name, calls), strict=True):
                ahead[bucket] = count
                due[bucket] = [Hint(*pair, int(now_ms)) for pair in zip(pairs[::2], pairs[1::2], strict=True)]
            settled = await self._index.settle(name, list(chain.from_iterable(due.values())), dead)
            removed += settled.removed
            standing = iter(settled.standing)
            left = {bucket: sum(next(standing) for _ in hints) for bucket, hints in due.items()}
            skip = {bucket: skip[bucket] + left[bucket] for bucket, hints in due.items() if hints}
        return removed, sum(ahead.values())

    async def scan_sessions(self) -> AsyncIterator[Session | StoreCorrupt]:
        for due in self._keys.due_buckets():
            cursor = b"0"
            while True:
                cursor, found = await self._link.run("scan_sessions", (b"ZSCAN", due, cursor, b"COUNT", BATCH))
                pairs = list(dict.fromkeys(map(parse_due_member, found[::2])))
                for session in await self._read_sessions("scan_sessions", pairs):
                    yield session
                if cursor == b"0":
                    break

    async def diagnose(self, *, repair: bool) -> list[Finding]:
        doctor = Doctor(self._link, self._keys, self._index, self._default_ttl)
        return [*await check_servers(self._link), *await doctor.check_keys(repair=repair)]

    async def close(self) -> None:
        await self._link.close()

    async def _write(
        self, name: str, session_id: str, call: scripts.Call, *, expected: int | str | None = None
    ) -> list[Any]:
        """Run a script on a session; give what follows OK."""
        return self._facts(session_id, await self._link.run(name, call), expected)

    def _facts(self, session_id: str, reply: Sequence[Any], expected: int | str | None = None) -> list[Any]:
        """What follows OK in a script's reply. The one table from words to errors."""
        word, *facts = reply
        match word:
            case b"OK":
                return list(facts)
            case b"GONE":
                raise SessionNotFound(session_id)
            case b"EXISTS":
                raise SessionExists(session_id)
            case b"STALE":
                raise AgentConflict(session_id, expected or 0, facts[0], facts[1].decode())
            case b"CONFLICT":
                raise MessageConflict(session_id, decode_id(facts[0]))
            case b"FULL":
                allowed = f"at most {MAX_METADATA_ENTRIES} entries and {MAX_JSON_BYTES:,} bytes after the merge"
                raise InvalidInput("metadata", allowed, "more")
            case _:
                key = self._keys.meta(session_id).decode()
                raise StoreCorrupt(key, f"has a {facts[0].decode()} that is not a number", session_id=session_id)

    async def _read_sessions(self, name: str, pairs: Sequence[tuple[str, str]]) -> list[Session]:
        """The living among the sessions that hints speak of; the hints of the dead are marked."""
        keys = [self._keys.meta(session_id) for session_id, _ in pairs]
        replies = await self._link.run_all(name, [(b"HGETALL", key) for key in keys])
        living, dead = [], []
        for (session_id, user_id), key, reply in zip(pairs, keys, replies, strict=True):
            session = self._decode(key, reply)
            if session is not None and session.user_id == user_id:
                living.append(session)
            else:
                dead.append(Hint(due_member(session_id, user_id), b""))
        await self._index.settle(name, dead, "mark")
        return living

    def _decode(self, key: bytes, reply: Any) -> Session | None:
        fields = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))  # RESP3, RESP2
        return decode_meta(key, fields, self._default_ttl)


def _page(sessions: list[Session], limit: int, cursor: str | None) -> SessionPage:
    start = int(cursor or 0)
    end = start + limit
    return SessionPage(sessions[start:end], str(end) if end < len(sessions) else None)


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
    if not (count or b"0").isdigit():
        return [b"CORRUPT", b"messageCount"]
    last = max(int(count or 0), length)  # another program may have pushed, uncounted
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


def _token() -> str:
    return secrets.token_urlsafe(6)  # 8 characters
