"""Which server a key lives on: one server, the primary that Sentinel names, or the nodes of a cluster.

This file holds the face they share and the first two; a cluster is in ``cluster.py``.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError

from chat_session.storage.redis.batching import Lane
from chat_session.storage.redis.replies import Replies, abort, transport_of

GOODBYE_TIMEOUT = 0.7  # seconds: TLS ends with words from both sides, which a busy server says late

MakeLane = Callable[[ConnectionPool], Lane]


class Topology(Protocol):
    """Finds the lane for a key. ``address`` says where the servers are, without a password."""

    address: str

    def lane(self, key: bytes) -> Lane | None:
        """Where the key lives, or None while that is not known: then ``discover`` first."""
        ...

    async def discover(self) -> None:
        """Learn which servers there are. Raises Lost if nobody tells."""
        ...

    def lanes(self) -> Sequence[Lane]:
        """Every server that takes writes, for operators' scans."""
        ...

    def redirect(self, error: AskError, asked: Lane) -> Lane | None:
        """Where a server that does not have the key sends us; a move is remembered. None: nowhere we can go."""
        ...

    def suspect(self) -> None:
        """A server failed: what is known of the servers may be out of date."""
        ...

    async def close(self) -> None:
        """Leave all connections, then close what is ours. Calls under way fail."""
        ...


class PoolConnections:
    """Borrows from a pool, its own or a client's, for a round trip: others may wait for its connections."""

    depth = 0

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def acquire(self) -> AbstractConnection:
        connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        await self._pool.release(connection)


class HeldConnection(PoolConnections):
    """Keeps the one connection that a lane needs, of a pool of our own: borrowing it anew costs 20 µs a call."""

    depth = 32  # beyond it waiting for the round trip costs less than more and smaller ones

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(pool)
        self._held: AbstractConnection | None = None

    async def acquire(self) -> AbstractConnection:
        held = self._held
        if held is None:
            held = self._held = await super().acquire()
        elif not held.is_connected:
            await held.connect()  # type: ignore[no-untyped-call]
        elif await Replies(held).are_unasked():
            await abort(held)
            await held.connect()  # type: ignore[no-untyped-call]
        return held

    async def release(self, connection: AbstractConnection) -> None:
        """It stays ours until the pool closes."""


class OneServer:
    """One address, or one service of Sentinel's: its pool asks for the primary whenever it connects anew.

    ``closes``: what is ours to close.
    """

    def __init__(self, pool: ConnectionPool, make_lane: MakeLane, *closes: Any) -> None:
        self._lane = make_lane(pool)
        self._closes = closes
        self.address = self._lane.address

    def lane(self, key: bytes) -> Lane | None:  # noqa: ARG002 - every key lives here
        return self._lane

    async def discover(self) -> None:
        """There is nothing to learn."""

    def lanes(self) -> Sequence[Lane]:
        return (self._lane,)

    def redirect(self, error: AskError, asked: Lane) -> Lane | None:  # noqa: ARG002 - there is one server
        return None

    def suspect(self) -> None:
        """The next connection asks anew by itself."""

    async def close(self) -> None:
        await close_all([self._lane], self._closes)


async def close_all(lanes: Collection[Lane], resources: Collection[Any]) -> None:
    """A server that does not answer holds nobody up: neither in the middle of a reply nor when saying goodbye."""
    await asyncio.gather(*(lane.close() for lane in lanes))
    await _close_resources(resources)
    await asyncio.gather(*(lane.join() for lane in lanes))
    await _close_resources(resources)  # what was connecting until now


async def _close_resources(resources: Collection[Any]) -> None:
    transports = [transport for resource in resources for transport in _transports(resource)]
    try:
        async with asyncio.timeout(GOODBYE_TIMEOUT):
            await asyncio.gather(*(resource.aclose() for resource in resources))
    except TimeoutError:
        for transport in transports:
            transport.abort()


def _transports(resource: Any) -> list[asyncio.WriteTransport]:
    """Of the open connections of a pool, or of a client's pool. redis-py has no public name for them."""
    pool = getattr(resource, "connection_pool", resource)
    connections = (*getattr(pool, "_available_connections", ()), *getattr(pool, "_in_use_connections", ()))
    return [transport for connection in connections if (transport := transport_of(connection))]


def address_of(pool: ConnectionPool) -> str:
    """Where a pool connects to; without a password."""
    service = getattr(pool, "service_name", None)
    if service:
        return f"the Sentinel service {service!r}"
    kwargs = pool.connection_kwargs
    return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")
