"""The store on Redis and Valkey: each write one script and, but for delete, one round trip.

On a cluster creation, deletion and a new ttl take more: see ``cluster_index.py``.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from chat_session.checks import MAX_JSON_BYTES, MAX_METADATA_ENTRIES, brief, encode_value, refuse_large_metadata
from chat_session.clock import now, to_iso
from chat_session.errors import (
    AgentConflict,
    InvalidInput,
    MessageConflict,
    SessionExists,
    SessionNotFound,
    SettingsError,
    StoreCorrupt,
    StoreIncompatible,
)
from chat_session.message import Draft, Message
from chat_session.results import SessionPage
from chat_session.session import RESERVED, Agent, Session, is_session_id
from chat_session.settings import Settings
from chat_session.storage.codec import decode_id, decode_message, encode_message
from chat_session.storage.contract import Appended, Finding, Left, Switched
from chat_session.storage.cursors import read_cursor, write_cursor
from chat_session.storage.redis import scripts
from chat_session.storage.redis.cluster import Cluster
from chat_session.storage.redis.cluster_index import ClusterIndex
from chat_session.storage.redis.codec import decode_meta, decode_number, decode_user, encode_ttl
from chat_session.storage.redis.connection import Command, Link, Patience, Reading
from chat_session.storage.redis.doctor import Doctor
from chat_session.storage.redis.index import Dead, DueEntry, Index, Outcome, ServerIndex, UserEntry
from chat_session.storage.redis.keys import Keys, parse_due_member
from chat_session.storage.redis.opening import Opener
from chat_session.storage.redis.server_checks import check_servers, warn_of_settings
from chat_session.storage.redis.topology import Topology
from chat_session.telemetry.hooks import Hooks

BATCH = 500  # entries or sessions per round trip: each costs the server a few microseconds
MAX_READ = 1000  # sessions that one page reads in search of those of an agent
MAX_REPEATS = 100  # looks at one entry; one that is due in the very millisecond of its deadline takes a few


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
        key = self._keys.user(user_id)
        place = ("", "") if cursor is None else _read_place("user", cursor)
        sessions: list[Session] = []
        damaged: list[StoreCorrupt] = []
        while True:
            wanted = limit - len(sessions) - len(damaged)
            call = scripts.list_entries(key, direction="descending", score=place[0], member=place[1], limit=wanted)
            _, pairs = await self._link.run("list_user_sessions", call)
            found, strays = _read_user_entries(key, user_id, pairs)
            damaged += strays
            dead = []
            read = await self._read_sessions("list_user_sessions", [(e.session_id, user_id) for e in found])
            for entry, session in zip(found, read, strict=True):
                if isinstance(session, StoreCorrupt):
                    damaged.append(session)
                elif session is None:
                    dead.append(entry)
                else:
                    sessions.append(session)
            await self._index.mark_dead("list_user_sessions", dead)
            if len(pairs) < 2 * wanted:
                return SessionPage(sessions, None, damaged)
            place = (pairs[-1].decode(), pairs[-2].decode(errors="surrogateescape"))
            if len(sessions) + len(damaged) >= limit:
                return SessionPage(sessions, write_cursor("user", *place), damaged)

    async def list_sessions(self, limit: int, cursor: str | None, agent: Agent | None) -> SessionPage:
        """Bucket by bucket, in each the one that may end soonest first."""
        number, place = 0, ("", "")
        if cursor is not None:
            number, place = _read_bucket("all", cursor, self._keys.due_buckets())
        sessions: list[Session] = []
        damaged: list[StoreCorrupt] = []
        budget = max(limit, MAX_READ) if agent else limit
        buckets = self._keys.due_buckets()
        while number < len(buckets):
            wanted = min(limit - len(sessions) - len(damaged), budget)
            if wanted <= 0:
                return SessionPage(sessions, write_cursor("all", str(number), *place), damaged)
            call = scripts.list_entries(
                buckets[number], direction="ascending", score=place[0], member=place[1], limit=wanted
            )
            _, pairs = await self._link.run("list_sessions", call)
            names = [name for member in pairs[::2] if (name := parse_due_member(member))]
            for session in await self._read_sessions("list_sessions", names):
                if isinstance(session, StoreCorrupt):
                    damaged.append(session)
                elif session is not None and agent in (None, session.current_agent):
                    sessions.append(session)
            budget -= len(pairs) // 2
            if len(pairs) < 2 * wanted:
                number, place = number + 1, ("", "")
            else:
                place = (pairs[-1].decode(), pairs[-2].decode(errors="surrogateescape"))
        return SessionPage(sessions, None, damaged)

    async def count_sessions(self) -> int:
        _, living = await self._check_due("count_sessions", "mark_dead")
        return living

    async def sweep(self) -> int:
        reaped, _ = await self._check_due("sweep", "reap")
        return reaped

    async def scan_sessions(self) -> AsyncIterator[Session | StoreCorrupt]:
        for due in self._keys.due_buckets():
            cursor = b"0"
            while True:
                cursor, found = await self._link.run("scan_sessions", (b"ZSCAN", due, cursor, b"COUNT", BATCH))
                names = dict.fromkeys(name for member in found[::2] if (name := parse_due_member(member)))
                for session in await self._read_sessions("scan_sessions", list(names)):
                    if session is not None:
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

    async def _check_due(self, name: str, dead: Dead) -> tuple[int, int]:
        """Look after the entries that are due, of all buckets at once; how many were reaped, how many sessions live.

        A bucket is done when nothing is due in it but what writers are changing at this moment. Those marked as
        dead before are looked at only when they are to be reaped.
        """
        lowest = "(0" if dead == "mark_dead" else "-inf"
        pending = {bucket: _Look() for bucket in self._keys.due_buckets()}
        living: dict[bytes, int] = {}
        reaped = 0
        while pending:
            calls = [
                scripts.read_entries(bucket, lowest=lowest, skip=look.skip, limit=BATCH)
                for bucket, look in pending.items()
            ]
            due: dict[bytes, list[DueEntry]] = {}
            moved: set[bytes] = set()
            for bucket, (_, ahead, pairs, read_at) in zip(pending, await self._link.run_all(name, calls), strict=True):
                living[bucket] = ahead
                due[bucket], strays = _read_due_entries(self._keys, bucket, pairs, int(read_at))
                if strays:
                    moved |= {bucket, *await self._put_right(name, bucket, strays)}
            outcomes = iter(await self._index.reconcile(name, list(chain.from_iterable(due.values())), dead))
            for bucket, entries in due.items():
                found = [next(outcomes) for _ in entries]
                reaped += found.count(Outcome.REAPED)
                look = pending.pop(bucket)
                living[bucket] += look.living + found.count(Outcome.LIVES)
                again = look.go_on(bucket, entries, found)
                if again is not None:
                    pending[bucket] = again
            for bucket in moved:
                pending.setdefault(bucket, _Look())
        return reaped, sum(living.values())

    async def _put_right(self, name: str, bucket: bytes, strays: Sequence[tuple[bytes, bytes]]) -> set[bytes]:
        """Move entries that are due in a wrong bucket to their own, and remove those that name no session.

        The buckets they were moved to.
        """
        own: list[tuple[bytes, bytes, bytes]] = []
        for member, score in strays:
            names = parse_due_member(member)
            if names is not None:
                own.append((self._keys.due(names[0]), score, member))
        await self._link.run_all(name, [(b"ZADD", due, b"NX", score, member) for due, score, member in own])
        await self._link.run_all(name, [(b"ZREM", bucket, member) for member, _ in strays])
        return {due for due, _, _ in own}

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
                raise AgentConflict(session_id, expected or 0, facts[0], facts[1].decode())
            case b"CONFLICT":
                raise MessageConflict(session_id, decode_id(facts[0]))
            case b"CORRUPT":
                field = facts[0].decode()
                keys = self._keys.session(session_id)
                key, problem = keys.meta, f"has a {field} that cannot be read"
                if field == "ids":
                    key, problem = keys.ids, "has an entry that is not the number and fingerprint of a message"
                raise StoreCorrupt(key.decode(), problem, session_id=session_id)
            case b"FULL":
                refuse_large_metadata(*facts)
        raise StoreIncompatible(
            f"the server answered a script of chat-session with {brief(word)}; check what answers there"
        )

    async def _read_sessions(self, name: str, names: Sequence[tuple[str, str]]) -> list[Session | StoreCorrupt | None]:
        """The sessions of these ids and users; None for a dead one, the error for one that cannot be read."""
        keys = [self._keys.meta(session_id) for session_id, _ in names]
        replies = await self._link.run_all(name, [(b"HGETALL", key) for key in keys], keep_corrupt=True)
        found: list[Session | StoreCorrupt | None] = []
        for (session_id, user_id), key, reply in zip(names, keys, replies, strict=True):
            try:
                if isinstance(reply, StoreCorrupt):
                    raise reply
                session = self._decode(key, reply)
            except StoreCorrupt as error:
                error.session_id = session_id
                found.append(error.with_traceback(None))
            else:
                found.append(session if session is not None and session.user_id == user_id else None)
        return found

    def _decode(self, key: bytes, reply: Any) -> Session | None:
        fields = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))  # RESP3, RESP2
        return decode_meta(key, fields, self._default_ttl)


class _Look(NamedTuple):
    """How far a bucket has been looked at: ``skip`` entries that writers are changing, ``living`` of their sessions."""

    skip: int = 0
    living: int = 0
    first: DueEntry | None = None  # of those that were changed last
    repeats: int = 0  # how often it has come again, although it was changed

    def go_on(self, bucket: bytes, entries: Sequence[DueEntry], outcomes: Sequence[Outcome]) -> "_Look | None":
        """Where to read on, None if the bucket is done. Raises StoreCorrupt if looking changes nothing."""
        changed = [
            e for e, outcome in zip(entries, outcomes, strict=True) if outcome in (Outcome.CHANGED, Outcome.REAPED)
        ]
        if changed:
            first = changed[0]
            same = self.first is not None and first[:3] == self.first[:3]
            if same and self.repeats >= MAX_REPEATS:
                problem = f"has the entry {first.member!r}, which stays due although it was checked {MAX_REPEATS} times"
                raise StoreCorrupt(bucket.decode(), problem)
            return _Look(first=first, repeats=self.repeats + 1 if same else 0)
        if len(entries) < BATCH:
            return None
        return _Look(self.skip + len(entries), self.living + outcomes.count(Outcome.LIVES))


def _read_due_entries(
    keys: Keys, bucket: bytes, pairs: Sequence[bytes], read_at: int
) -> tuple[list[DueEntry], list[tuple[bytes, bytes]]]:
    """The entries of a bucket, and as they are those that do not belong there."""
    entries: list[DueEntry] = []
    strays: list[tuple[bytes, bytes]] = []
    for member, score in zip(pairs[::2], pairs[1::2], strict=True):
        names = parse_due_member(member)
        if names is None or keys.due(names[0]) != bucket:
            strays.append((member, score))
        else:
            entries.append(DueEntry(*names, score, read_at))
    return entries, strays


def _read_user_entries(key: bytes, user_id: str, pairs: Sequence[bytes]) -> tuple[list[UserEntry], list[StoreCorrupt]]:
    """The entries of a user's list, and an error for each that names no session."""
    entries: list[UserEntry] = []
    strays: list[StoreCorrupt] = []
    for member, score in zip(pairs[::2], pairs[1::2], strict=True):
        session_id = member.decode(errors="replace")
        if is_session_id(session_id):
            entries.append(UserEntry(session_id, user_id, score))
        else:
            strays.append(StoreCorrupt(key.decode(), f"has the entry {brief(member)}, which is no session id"))
    return entries, strays


def _read_place(kind: str, cursor: str) -> tuple[str, str]:
    score, member = read_cursor(kind, cursor, 2)
    return _check_score(score), member


def _read_bucket(kind: str, cursor: str, buckets: Sequence[bytes]) -> tuple[int, tuple[str, str]]:
    number, score, member = read_cursor(kind, cursor, 3)
    if not number.isdecimal() or int(number) >= len(buckets):
        raise InvalidInput("cursor", "the cursor of a page of this list, or None", "another")
    return int(number), (_check_score(score) if score else "", member)


def _check_score(score: str) -> str:
    try:
        float(score)
    except ValueError:
        raise InvalidInput("cursor", "the cursor of a page of this list, or None", "another") from None
    return score


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
        counted = decode_number(count or b"0")
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


def _token() -> str:
    return secrets.token_urlsafe(6)  # 8 characters
