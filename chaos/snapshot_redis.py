"""Reads what is stored on servers, key by key."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis

from chaos.snapshot import Snapshot, StoredSession
from chat_session.storage.redis.codec import NEVER
from chat_session.storage.redis.keys import Keys, SessionKeys, due_member, parse_due_member

BATCH = 500


def read_keys(clients: Iterable[redis.Redis], keys: Keys) -> Snapshot:
    """All of our keys on these servers, each of which is the primary of the keys that it has."""
    snapshot = Snapshot()
    for client in clients:
        seconds, micros = client.time()
        snapshot.now = seconds * 1000 + micros / 1000
        found = sorted(client.scan_iter(match=f"{keys.prefix}*", count=1000))
        any_session = _matcher_of(keys.any_session())
        session_keys = [key for key in found if any_session(key) and keys.parse_session_id(key)]
        _read_sessions(client, keys, session_keys, snapshot)
        for key in set(found).difference(session_keys).difference(keys.desk(), keys.check_buckets()):
            _read_index_entries(client, keys, key, snapshot)
    return snapshot


def _matcher_of(glob: bytes) -> Callable[[bytes], Any]:
    """The glob as the server reads it; its only special character is the asterisk."""
    return re.compile(re.escape(glob).replace(rb"\*", rb".*"), re.DOTALL).fullmatch


def _read_sessions(client: redis.Redis, keys: Keys, found: Sequence[bytes], snapshot: Snapshot) -> None:
    parts = dict.fromkeys(keys.parse_session_id(key) or "" for key in found)
    ids = list(parts)
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        pipe: Any = client.pipeline(transaction=False)
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
                continue  # it expired between two commands
            snapshot.stored[session_id] = _stored_session(meta, agent, length, remembered, deadlines)


def _stored_session(meta: Any, agent: Any, length: int, remembered: Any, deadlines: dict[str, int]) -> StoredSession:
    ttl = meta.get(b"ttl")
    return StoredSession(
        deadlines={part: None if at == -1 else at for part, at in deadlines.items() if at != -2},
        user=meta[b"userId"].decode() if b"userId" in meta else None,
        ttl=None if ttl == b"%d" % NEVER else int(ttl or 0),
        count=int(meta.get(b"messageCount", 0)),
        length=length,
        current_agent=meta.get(b"currentAgent", b"ai").decode(),
        agent=agent.decode() if agent else None,
        ids={k.decode(): int(v.partition(b":")[0]) for k, v in remembered.items()},
    )


def _read_index_entries(client: redis.Redis, keys: Keys, key: bytes, snapshot: Snapshot) -> None:
    name = key.decode().removeprefix(keys.prefix)
    if name.startswith("sessions:due:"):
        for member, score in client.zscan_iter(key, count=1000):
            named = parse_due_member(member)
            if named is None or keys.due(named[0]) != key or due_member(*named) != member:
                snapshot.strays.append(f"{member!r} in {name}")
            else:
                snapshot.due[named] = score
    elif name.startswith("sessions:turns:"):
        found: Any = client.zrange(key, 0, -1)
        snapshot.strays += [f"{each!r} in {name}" for each in found if keys.turns(each.decode()) != key]
    elif (user := re.fullmatch(r"user:(.*):sessions", name)) and keys.user(user[1]) == key:
        for member, score in client.zscan_iter(key, count=1000):
            snapshot.by_user[member.decode(), user[1]] = score
    else:
        snapshot.stored[name] = StoredSession(deadlines={name: None})  # a key of no known form is reported as left over
