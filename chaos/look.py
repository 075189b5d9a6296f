"""What is in the store, seen twice: through SessionManager, and key by key."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from chat_session import Inspector, SessionManager
from chat_session.storage.redis.codec import NEVER
from chat_session.storage.redis.keys import Keys, SessionKeys, due_member, parse_due_member

BATCH = 500
LIMIT = 10_000  # the most messages that one call gives


@dataclass(slots=True)
class Stored:
    """A message as a reader gets it."""

    seq: int
    id: str
    text: str


@dataclass(slots=True)
class Seen:
    """A session as a caller sees it."""

    user: str
    count: int
    epoch: int
    agent: str
    messages: list[Stored] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Kept:
    """A session as its keys stand. ``deadlines`` in milliseconds, None for a key without; absent keys are absent."""

    deadlines: dict[str, int | None]
    user: str | None = None
    ttl: int | None = None
    count: int = 0
    length: int = 0
    current_agent: str = "ai"
    agent: str | None = None
    ids: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Look:
    """The whole store at rest.

    ``due`` and ``by_user`` are the scores of the index entries: a deadline in milliseconds, a creation in microseconds.
    ``strays`` are entries that name no session or are in a bucket where nobody looks for them.
    """

    sessions: dict[str, Seen] = field(default_factory=dict)
    listed: dict[str, set[str]] = field(default_factory=dict)
    scanned: set[str] = field(default_factory=set)
    counted: int = 0
    kept: dict[str, Kept] = field(default_factory=dict)
    due: dict[tuple[str, str], float] = field(default_factory=dict)
    by_user: dict[tuple[str, str], float] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    now: float = 0.0  # milliseconds of the server's clock
    zero: float | None = None  # what that clock said when the recorder began, if that is known


async def look_through(manager: SessionManager, users: Iterable[str], look: Look) -> Look:
    """Fill in what a caller sees of the sessions whose keys are there, and of these users."""

    async def read(session_id: str) -> None:
        session = await manager.get_session(session_id)
        if session is None:
            return
        history = await manager.get_history(session_id, LIMIT)
        look.sessions[session_id] = Seen(
            session.user_id,
            session.message_count,
            session.agent_epoch,
            session.current_agent,
            [Stored(m.seq or 0, m.id or "", m.text) for m in history],
            session.metadata,
        )

    async def list_user(user: str) -> None:
        look.listed[user] = {session.session_id for session in await manager.get_user_sessions(user)}

    await _in_batches([read(session_id) for session_id in look.kept])
    known = {kept.user for kept in look.kept.values() if kept.user is not None}
    await _in_batches([list_user(user) for user in known | set(users)])
    look.scanned = {session.session_id async for session in Inspector(manager).scan_sessions()}
    look.counted = await manager.get_active_sessions_count()
    return look


async def _in_batches(calls: Sequence[Any]) -> None:
    for start in range(0, len(calls), BATCH):
        await asyncio.gather(*calls[start : start + BATCH])


def look_at_keys(clients: Iterable[redis.Redis], keys: Keys) -> Look:
    """Every key of ours on these servers; each of them is the primary of what it holds."""
    look = Look()
    for client in clients:
        seconds, micros = client.time()
        look.now = seconds * 1000 + micros / 1000
        found = sorted(client.scan_iter(match=f"{keys.prefix}*", count=1000))
        any_session = _matcher_of(keys.any_session())
        session_keys = [key for key in found if any_session(key) and keys.parse_session_id(key)]
        _read_sessions(client, keys, session_keys, look)
        for key in set(found).difference(session_keys):
            _read_hints(client, keys, key, look)
    return look


def _matcher_of(glob: bytes) -> Callable[[bytes], Any]:
    """The glob as the server reads it; its only special character is the asterisk."""
    return re.compile(re.escape(glob).replace(rb"\*", rb".*"), re.DOTALL).fullmatch


def _read_sessions(client: redis.Redis, keys: Keys, found: Sequence[bytes], look: Look) -> None:
    parts = dict.fromkeys(keys.parse_session_id(key) or "" for key in found)
    ids = list(parts)
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        pipe = client.pipeline(transaction=False)
        for session_id in batch:
            names = keys.session(session_id)
            pipe.hgetall(names.meta)
            pipe.get(names.agent)
            pipe.llen(names.history)
            pipe.hgetall(names.ids)
            for name in names:
                pipe.execute_command("PEXPIRETIME", name)
        replies = iter(pipe.execute())
        for session_id in batch:
            meta, agent, length, remembered = (next(replies) for _ in range(4))
            deadlines = dict(zip(SessionKeys._fields, (next(replies) for _ in range(4)), strict=True))
            if all(deadline == -2 for deadline in deadlines.values()):
                continue  # it died between two commands
            look.kept[session_id] = _kept(meta, agent, length, remembered, deadlines)


def _kept(meta: Any, agent: Any, length: int, remembered: Any, deadlines: dict[str, int]) -> Kept:
    ttl = meta.get(b"ttl")
    return Kept(
        deadlines={part: None if at == -1 else at for part, at in deadlines.items() if at != -2},
        user=meta[b"userId"].decode() if b"userId" in meta else None,
        ttl=None if ttl == b"%d" % NEVER else int(ttl or 0),
        count=int(meta.get(b"messageCount", 0)),
        length=length,
        current_agent=meta.get(b"currentAgent", b"ai").decode(),
        agent=agent.decode() if agent else None,
        ids={k.decode(): int(v.partition(b":")[0]) for k, v in remembered.items()},
    )


def _read_hints(client: redis.Redis, keys: Keys, key: bytes, look: Look) -> None:
    name = key.decode().removeprefix(keys.prefix)
    if name.startswith("sessions:due:"):
        for member, score in client.zscan_iter(key, count=1000):
            named = parse_due_member(member)
            if named is None or keys.due(named[0]) != key or due_member(*named) != member:
                look.strays.append(f"{member!r} in {name}")
            else:
                look.due[named] = score
    elif (user := re.fullmatch(r"user:(.*):sessions", name)) and keys.user(user[1]) == key:
        for member, score in client.zscan_iter(key, count=1000):
            look.by_user[member.decode(), user[1]] = score
    else:
        look.kept[name] = Kept(deadlines={name: None})  # a key that no layout knows is left over, too
