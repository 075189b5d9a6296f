"""Every store and topology that the package is tested on, by name and behind one interface."""

import asyncio
import hashlib
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar
from zlib import crc32

from chat_session import SessionManager
from chat_session.storage.redis.keys import Keys
from testkit.cluster import ClusterTopology
from testkit.lua54 import Lua54Server
from testkit.ports import HOST
from testkit.programs import need_server_of, need_tls
from testkit.sentinel import SentinelTopology
from testkit.servers import Server
from testkit.tls import Tls, TlsServer

# On each of them the whole contract is tested in CI.
BACKENDS = ("redis", "redis62", "valkey", "lua54", "sentinel", "cluster", "tls", "sqlite", "memory")

# The rights that the application's user needs, as documented.
ACL = (
    "~session:* ~sessions:due:* ~sessions:desk:* ~sessions:turns:* ~user:*:sessions ~state:* ~{desk}:* "
    "resetchannels &session:* &{desk}:feed -@all "
    "+evalsha +eval +multi +exec +echo "
    "+hgetall +hget +hmget +hexists +hlen +hset +hdel +set +llen +lindex +lrange +lset +rpush +lpop "
    "+append +strlen +pttl +pexpireat "
    "+persist +time +unlink +zadd +zrem +zcard +zcount +zscore +zrange +zrevrange +zrangebyscore +zrevrangebyscore "
    "+zrangebylex +zlexcount +hincrby "
    "+publish +spublish +subscribe +ssubscribe +unsubscribe +sunsubscribe +getrange +strlen "
    "+zscan +scan +hscan +hrandfield +type +exists +ping +info"
)

# What a refused step of the desk may change, and what is written a moment after the call.
_APPROXIMATE = (b"{desk}:counts", b"{desk}:presence", b"{desk}:operators")

StartBackend = Callable[[str], "RedisBackend[Any]"]  # a test's way to start one by its name
ServersT = TypeVar("ServersT", bound=Server | SentinelTopology | ClusterTopology)


def chosen_backends() -> list[str]:
    """All names, or those that the variable CHAT_SESSION_TEST_STORE lists, separated by commas."""
    wanted = os.environ.get("CHAT_SESSION_TEST_STORE")
    return wanted.split(",") if wanted else list(BACKENDS)


# Of these kinds of the same server each test runs on one, unless it is to run on every kind.
ALIKE = ("redis62", "valkey", "lua54", "tls", "sentinel")


def is_left_out(test: str, backend: str) -> bool:
    """Whether the test of that name runs on another kind of the same server: chosen by the name, so always the same."""
    if backend not in ALIKE or os.environ.get("CHAT_SESSION_TEST_STORE") or os.environ.get("CHAT_SESSION_TEST_EVERY"):
        return False
    return backend != ALIKE[crc32(test.encode()) % len(ALIKE)]


class Backend(ABC):
    """A store under test, as ``chat_session.testing`` asks for it. ``settings`` go to every manager on it.

    ``shared``: managers that are opened one after the other see the same sessions. This is not so in memory.
    """

    shared = True

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self.settings = settings

    def open(self, **settings: Any) -> SessionManager:
        return SessionManager.from_url(self.url, **{**self.settings, **settings})

    @abstractmethod
    async def digest(self, manager: SessionManager) -> str:
        """A digest of all that is stored, except deadlines and except scores that only say when to look again."""

    @abstractmethod
    async def corrupt(self, manager: SessionManager, session_id: str, seq: int, raw: bytes) -> None:
        """Replace the stored form of one message by ``raw``."""

    def clear(self) -> None:  # noqa: B027 - doing nothing is right for an embedded store
        """Remove everything. An embedded store begins empty in each test, and has nothing to remove."""

    def keys_without_deadline(self) -> list[str]:
        """Keys of sessions that would stay for ever although the ttl of their session is limited."""
        return []


class RedisBackend(Backend, Generic[ServersT]):
    """One server or a topology of servers, which this process started. ``server`` is that server or topology."""

    layout: Literal["plain", "tagged"] = "plain"

    def __init__(self, server: ServersT, url: str, **settings: Any) -> None:
        super().__init__(url, **settings)
        self.server = server
        self.keys = Keys("", self.layout)

    @contextmanager
    def clients(self) -> Iterator[list[Any]]:
        """A plain synchronous client of each server that takes writes. redis-py has no types for many commands."""
        opened = [server.client() for server in self.server.primaries()]
        try:
            yield opened
        finally:
            for client in opened:
                client.close()

    def on_primaries(self, *command: str | int) -> list[Any]:
        """Send a command to each server that takes writes; returns the replies."""
        with self.clients() as clients:
            return [client.execute_command(*command) for client in clients]

    def count_connections(self) -> list[int]:
        """How many connections each of these servers has, without those over its Unix socket, which are ours."""
        with self.clients() as clients:
            connected = [client.client_list(_type="normal") for client in clients]
        return [sum(not c["addr"].endswith("sock:0") for c in each) for each in connected]

    async def digest(self, manager: SessionManager) -> str:  # noqa: ARG002 - a server is looked at directly
        digest = hashlib.sha256()
        with self.server.client() as client:
            for key in sorted(client.scan_iter(count=1000)):
                if not key.endswith(_APPROXIMATE):
                    digest.update(key + _content(client, key))
        return digest.hexdigest()

    async def corrupt(
        self,
        manager: SessionManager,  # noqa: ARG002 - as above
        session_id: str,
        seq: int,
        raw: bytes,
    ) -> None:
        keys = self.keys.session(session_id)
        with self.server.client() as client:
            count = int(client.hget(keys.meta, "messageCount"))
            client.lset(keys.history, seq - count - 1, raw)

    def clear(self) -> None:
        self.server.flush()

    def keys_without_deadline(self) -> list[str]:
        with self.server.client() as client:
            found = []
            for key in client.scan_iter(match="*session:*:*", count=1000):
                meta = key.rpartition(b":")[0] + b":meta"
                ttl = client.hget(meta, "ttl") if client.type(meta) == b"hash" else None
                if client.pttl(key) == -1 and ttl != b"-1":
                    found.append(key.decode())
        return found


class ServerBackend(RedisBackend[Server]):
    """One server."""


class SentinelBackend(RedisBackend[SentinelTopology]):
    """A primary with replicas, watched by sentinels."""


class ClusterBackend(RedisBackend[ClusterTopology]):
    """A cluster. A session's keys share a slot, because they have its id in braces."""

    layout = "tagged"


class SqliteBackend(Backend):
    """A file, or memory if ``path`` is None."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(f"sqlite:///{path or ':memory:'}")
        self.path = path
        self.shared = path is not None

    async def digest(self, manager: SessionManager) -> str:
        tables = ("sessions", "messages", "state")

        def read(db: sqlite3.Connection) -> str:
            rows = [db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables]
            return hashlib.sha256(repr(rows).encode()).hexdigest()

        return str(await store_of(manager)._writer.run("digest", read))

    async def corrupt(self, manager: SessionManager, session_id: str, seq: int, raw: bytes) -> None:
        def damage(db: sqlite3.Connection) -> None:
            db.execute("UPDATE messages SET element = ? WHERE session_id = ? AND seq = ?", (raw, session_id, seq))

        await store_of(manager)._writer.run("corrupt", damage)


@contextmanager
def start_server(name: str, folder: Path, *options: str) -> Iterator[Server]:
    """One server that no other test uses, to be killed, frozen and configured. Raises MissingProgram."""
    with Server(need_server_of(name), folder, *options) as server:
        yield server


@contextmanager
def start_backend(name: str, folder: Path, *options: str) -> Iterator[RedisBackend[Any]]:
    """Start the servers of that name; they are stopped at the end of the block. Raises MissingProgram.

    Beside the names in ``BACKENDS`` there are "standalone", which is "redis" over TCP instead of a Unix socket,
    "cluster-valkey", "sentinel-tls" and "cluster-tls". ``options`` go to every server that keeps sessions.
    """
    program = need_server_of(name)
    certificates = None
    if name in ("sentinel-tls", "cluster-tls"):
        need_tls(program)
        certificates = Tls(folder / "certificates")
    settings = certificates.settings if certificates else {}
    match name.partition("-")[0]:
        case "sentinel":
            with SentinelTopology(program, folder, options=options, tls=certificates) as sentinel:
                yield SentinelBackend(sentinel, sentinel.url, **settings)
        case "cluster":
            with ClusterTopology(program, folder, options=options, tls=certificates) as cluster:
                yield ClusterBackend(cluster, cluster.url, **settings)
        case "tls":
            with TlsServer(program, folder, acl=ACL, options=options) as tls:
                yield ServerBackend(tls, tls.url, **tls.tls.settings)
        case "lua54":
            with Server(program, folder, *options) as server, Lua54Server(server.port) as lua54:
                yield ServerBackend(server, f"redis://{HOST}:{lua54.port}/0?protocol=2")
        case "standalone":
            with Server(program, folder, *options) as server:
                yield ServerBackend(server, server.url)
        case _:
            with Server(program, folder, *options) as server:
                yield ServerBackend(server, server.unix_url())


@asynccontextmanager
async def start_backend_in_thread(name: str, folder: Path, *options: str) -> AsyncIterator[RedisBackend[Any]]:
    """As ``start_backend``, without blocking the event loop while servers start and stop."""
    manager = start_backend(name, folder, *options)
    starting = asyncio.create_task(asyncio.to_thread(manager.__enter__))
    try:
        yield await asyncio.shield(starting)
    finally:  # a thread cannot be cancelled: when the caller is, the servers are stopped as soon as they have started
        await asyncio.wait([starting])
        if starting.exception() is None:
            await asyncio.to_thread(manager.__exit__, None, None, None)


def store_of(manager: SessionManager) -> Any:
    """The store of a manager. The type is Any, because tests look at its private parts."""
    return manager._store


def _content(client: Any, key: bytes) -> bytes:
    match client.type(key):
        case b"hash":
            return repr(sorted(client.hgetall(key).items())).encode()
        case b"list":
            return repr(client.lrange(key, 0, -1)).encode()
        case b"zset":
            return repr(client.zrange(key, 0, -1, withscores=b"sessions:due:" not in key)).encode()
        case _:
            return repr(client.get(key)).encode()
