"""What a peer is: an adapter that does the same operations with the peer's own means."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import redis
from redis.asyncio import ConnectionPool, Redis

from benchmarks.messages import HISTORY
from testkit.servers import Server

CONNECTIONS = 512  # more than any operation has tasks, so that nobody waits for a connection
WINDOW_TOKENS = 8000  # all 20 messages fit: a message of 250 bytes counts as 62
TEMPLATE = "template"  # the session that is filled through the peer's own interface, then copied


class Peer:
    """Each operation is a method; what is in ``cannot`` is not called. Each has a database of its own.

    ``blocking`` peers have plain functions, which are called from threads. ``bounded`` ones keep 100
    messages at each write; the others are cut back to 100 before each sample.
    """

    name: ClassVar[str]
    package: ClassVar[str]  # the distribution whose version is reported
    blocking: ClassVar[bool] = False
    bounded: ClassVar[bool] = False
    cannot: ClassVar[Mapping[str, str]] = {}  # operation: why there is no number
    remarks: ClassVar[Mapping[str, str]] = {}  # operation: what the number contains

    def __init__(self, server: Server, database: int) -> None:
        self.server = server
        self.database = database
        self.raw = server.client(database)

    # Untimed

    async def open(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    async def fill(self, sessions: Sequence[str]) -> None:
        """Fill the history of every session: one through the peer itself, the others as copies made by the server."""
        await self.write_template()
        self.reset(sessions)

    async def write_template(self) -> None:
        """Store TEMPLATE with a full history, through the peer's own interface."""
        raise NotImplementedError

    def keys(self, session: str) -> Sequence[str]:
        """What a session is stored in."""
        raise NotImplementedError

    def reset(self, sessions: Sequence[str]) -> None:
        with self.raw.pipeline(transaction=False) as pipeline:
            for session in sessions:
                for source, target in zip(self.keys(TEMPLATE), self.keys(session), strict=True):
                    pipeline.copy(source, target, replace=True)
            pipeline.execute()

    def length(self, session: str) -> int:
        """How many messages the session holds now."""
        raise NotImplementedError

    async def populate(self, sessions: int, per_user: int) -> None:
        """Sessions without messages, for ``list_user``. Users are called as ``user_name`` says."""
        raise NotImplementedError

    # Timed

    append_one: Any  # (session) -> None
    append_ten: Any
    read_20: Any  # (session) -> the newest 20, oldest first
    read_100: Any
    window_20: (
        Any  # (session) -> the newest 20, oldest first, that fit a budget of WINDOW_TOKENS, with tool pairs whole
    )
    pop: Any  # (session) -> a list with the popped message; appends it first
    replace_20: Any  # (session) -> None; the whole history by 20 messages
    clear: Any  # (session) -> None; then appends one
    create: Any  # (session) -> None; the name is fresh, a peer may choose its own
    list_user: Any  # (user) -> sessions

    def texts(self, history: Any) -> list[str]:
        """The texts that a read returned, for the check before anything is timed."""
        raise NotImplementedError


def user_name(number: int) -> str:
    return f"user-{number}"


def open_client(server: Server, database: int, **options: Any) -> Redis:
    """A client of redis-py with its defaults, and with a connection for every task."""
    pool = ConnectionPool.from_url(server.unix_url(database), max_connections=CONNECTIONS, **options)
    return Redis.from_pool(pool)


def open_blocking_client(server: Server, database: int, **options: Any) -> redis.Redis:
    return redis.Redis(
        connection_pool=redis.ConnectionPool.from_url(server.unix_url(database), max_connections=CONNECTIONS, **options)
    )


async def check(peer: Peer, session: str) -> None:
    """A peer that does not give back what was stored is not worth measuring."""

    async def call(operation: str) -> Any:
        found = getattr(peer, operation)(session)
        return found if peer.blocking else await found

    for operation, wanted in (("read_20", 20), ("window_20", 20), ("read_100", HISTORY)):
        if operation not in peer.cannot:
            texts = peer.texts(await call(operation))
            if len(texts) != wanted or texts != sorted(texts):
                raise RuntimeError(f"{operation} gave {len(texts)} messages, or not in their order")
    before = peer.texts(await call("read_20"))
    if "pop" not in peer.cannot:
        popped = peer.texts(await call("pop"))
        if len(popped) != 1 or popped <= before[-1:] or peer.texts(await call("read_100"))[-20:] != before:
            raise RuntimeError("pop gave another message than the newest, or changed others")
    for operation, wanted in (("replace_20", 20), ("clear", 1)):
        if operation not in peer.cannot:
            await call(operation)
            texts = peer.texts(await call("read_100"))
            if len(texts) != wanted or texts != sorted(texts) or texts[:1] <= before[-1:]:
                raise RuntimeError(f"{operation} left {len(texts)} messages, or old ones, or not in their order")
            before = texts
