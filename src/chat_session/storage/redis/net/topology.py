"""Which server has a key: one server, the primary that Sentinel names, or a node of a cluster.

This file has the interface they share and the first two; a cluster is in ``cluster.py``.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError

from chat_session.storage.redis.net.connection import ServerConnection
from chat_session.storage.redis.net.pipeline import PipelinedConnection
from chat_session.storage.redis.net.private import transports_of

GOODBYE_TIMEOUT = 0.7  # seconds: TLS ends with words from both sides, which a busy server says late

Connect = Callable[[ConnectionPool], PipelinedConnection]


class Keyed(Protocol):
    """A command; its key decides which server is asked."""

    @property
    def key(self) -> bytes: ...


class Topology(Protocol):
    """Finds the server that has a key. ``address`` says where the servers are, without a password."""

    address: str

    def server_of(self, command: Keyed) -> PipelinedConnection | None:
        """The server that has its key. None while that is not known: call ``discover`` first."""
        ...

    async def discover(self) -> None:
        """Learn which servers there are. Raises NoReply if none of those that are known answers."""
        ...

    def servers(self) -> Sequence[PipelinedConnection]:
        """Every server that takes writes, for operators' scans."""
        ...

    def redirect(self, error: AskError, asked: PipelinedConnection) -> PipelinedConnection | None:
        """Where the server that was asked sends us. That a slot has moved is remembered. None: nowhere we can go."""
        ...

    def invalidate(self) -> None:
        """A server failed: what is known of the servers may be out of date."""
        ...

    async def close(self) -> None:
        """Leave all connections, then close what is ours. Calls under way fail."""
        ...


class PooledConnections:
    """Borrows from a client's pool for one round trip: others may wait for its connections."""

    max_in_flight = 0

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    @property
    def database(self) -> int:
        return int(self._pool.connection_kwargs.get("db") or 0)

    def make_connection(self) -> AbstractConnection:
        return self._pool.make_connection()  # type: ignore[no-any-return, no-untyped-call]

    async def acquire(self, timeout: float) -> ServerConnection:  # noqa: ASYNC109
        async with asyncio.timeout(timeout):
            return ServerConnection(await self._pool.get_connection())  # type: ignore[no-untyped-call]

    async def release(self, connection: ServerConnection) -> None:
        await self._pool.release(connection.inner)


class DedicatedConnection(PooledConnections):
    """Keeps one connection of a pool of our own: borrowing it for each round trip costs 20 µs."""

    max_in_flight = 32  # beyond it waiting for the round trip costs less than more and smaller ones

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        self._kept: ServerConnection | None = None

    async def acquire(self, timeout: float) -> ServerConnection:  # noqa: ASYNC109
        kept = self._kept
        if kept is None:
            kept = self._kept = await super().acquire(timeout)
        elif not kept.inner.is_connected or await kept.has_unsolicited_data():
            await kept.abort()
            async with asyncio.timeout(timeout):
                await kept.inner.connect()  # type: ignore[no-untyped-call]
            kept = self._kept = ServerConnection(kept.inner)
        return kept

    async def release(self, connection: ServerConnection) -> None:
        """It is kept until the pool closes."""


class OneServer:
    """One address, or one service of Sentinel's: its pool asks for the primary each time it connects.

    ``closes``: what is ours to close.
    """

    def __init__(self, pool: ConnectionPool, connect: Connect, *closes: Any) -> None:
        self._server = connect(pool)
        self._closes = closes
        self.address = self._server.address

    def server_of(self, command: Keyed) -> PipelinedConnection | None:  # noqa: ARG002 - it has every key
        return self._server

    async def discover(self) -> None:
        """There is nothing to learn."""

    def servers(self) -> Sequence[PipelinedConnection]:
        return (self._server,)

    def redirect(self, error: AskError, asked: PipelinedConnection) -> PipelinedConnection | None:  # noqa: ARG002
        return None  # there is no other server

    def invalidate(self) -> None:
        """The next connection finds the server by itself."""

    async def close(self) -> None:
        await close_all([self._server], self._closes)


async def close_all(servers: Collection[PipelinedConnection], resources: Collection[Any]) -> None:
    """A server that does not answer holds nobody up: neither in the middle of a reply nor when saying goodbye."""
    await asyncio.gather(*(server.close() for server in servers))
    await _close_resources(resources)
    await asyncio.gather(*(server.join() for server in servers))
    await _close_resources(resources)  # what was connecting until now


async def _close_resources(resources: Collection[Any]) -> None:
    transports = [transport for resource in resources for transport in transports_of(resource)]
    try:
        async with asyncio.timeout(GOODBYE_TIMEOUT):
            await asyncio.gather(*(resource.aclose() for resource in resources))
    except TimeoutError:
        for transport in transports:
            transport.abort()


def address_of(pool: ConnectionPool) -> str:
    """Where a pool connects to; without a password."""
    service = getattr(pool, "service_name", None)
    if service:
        return f"the Sentinel service {service!r}"
    kwargs = pool.connection_kwargs
    return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")
