"""Calls that are made while a round trip is under way leave together in the next one.

A lane is one connection's worth of traffic to one server. A lone call goes out at once. Whoever is
cancelled takes nobody else's answer along: a future that nobody waits for is passed over.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ReadOnlyError, ResponseError

from chat_session.storage.redis.faults import Lost

MAX_BATCH = 512  # calls: about 5 ms of server time for appends, so nobody waits longer for a turn
MAX_BATCH_BYTES = 1 << 20
MAX_QUEUE = 16_384  # calls waiting in one lane; beyond it callers wait for room


class Connections(Protocol):
    """Where a lane borrows its connection."""

    async def acquire(self) -> AbstractConnection: ...
    async def release(self, connection: AbstractConnection) -> None: ...


class _Waiting(NamedTuple):
    packed: bytes
    answer: asyncio.Future[Any]


class Lane:
    """Sends packed commands over one borrowed connection at a time, many in one round trip."""

    def __init__(self, connections: Connections, round_trip_timeout: float) -> None:
        self._connections = connections
        self._timeout = round_trip_timeout
        self._queue: deque[_Waiting] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()

    async def send(self, packed: bytes) -> Any:
        """Give the server's reply; an error reply is given, not raised. Raises Lost if there is none."""
        while len(self._queue) >= MAX_QUEUE:
            self._room.clear()
            await self._room.wait()
        return await self.submit(packed)

    def submit(self, packed: bytes) -> asyncio.Future[Any]:
        """As ``send``, but queue at once and give the future of the reply."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(packed, answer))
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        return answer

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._pump is not None:
            await asyncio.wait([self._pump])

    async def _run(self) -> None:
        try:
            while batch := self._take():
                await self._round_trip(batch)
        finally:
            self._pump = None

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            waiting = self._queue.popleft()
            if not waiting.answer.done():  # cancelled before it left
                batch.append(waiting)
                size += len(waiting.packed)
        self._room.set()
        return batch

    async def _round_trip(self, batch: Sequence[_Waiting]) -> None:
        sent = False
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connections.acquire()
                healthy = False
                try:
                    sent = True
                    await connection.send_packed_command([w.packed for w in batch], check_health=False)
                    healthy = await _read_replies(connection, batch)
                finally:
                    if not healthy:
                        await connection.disconnect(nowait=True)
                    await self._connections.release(connection)
        except Exception as error:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(Lost(error, sent=sent))


async def _read_replies(connection: AbstractConnection, batch: Sequence[_Waiting]) -> bool:
    """Answer each in turn. False when the connection should not be used again: it met a replica."""
    healthy = True
    for waiting in batch:
        try:
            reply = await connection.read_response(disable_decoding=True)
        except ResponseError as error:
            reply = error
            healthy = healthy and not isinstance(error, ReadOnlyError)
        if not waiting.answer.done():
            waiting.answer.set_result(reply)
    return healthy
