"""Calls that are made while a round trip is under way leave together in the next one.

A lane is the traffic to one server: one borrowed connection at a time, many commands in one round
trip, each with its own answer. A lone call goes out at once. Whoever is cancelled takes nobody
else's answer along: an answer that nobody waits for is read and dropped.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple, Protocol

import hiredis
from msgspec import Struct
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ReadOnlyError, RedisError

from chat_session.storage.redis.faults import Lost, TooFewReplicas
from chat_session.storage.redis.replies import Replies
from chat_session.telemetry.hooks import Hooks

MAX_BATCH = 512  # calls: about 10 ms of server time for appends, so nobody waits longer for a turn
MAX_BATCH_BYTES = 1 << 20
MAX_QUEUE = 16_384  # calls waiting in one lane; beyond it callers wait for room


class Connections(Protocol):
    """Where a lane borrows its connection."""

    async def acquire(self) -> AbstractConnection: ...
    async def release(self, connection: AbstractConnection) -> None: ...


class Packed(Struct, frozen=True, gc=False):
    """A command as it goes over the wire. ``writes``: replicas may be waited for.

    ``replies``: how many the server gives; the first error is the answer, else the last.
    """

    data: bytes
    writes: bool
    replies: int = 1


class Confirmation(NamedTuple):
    """How many replicas must have a write before it is acknowledged, and how long that may take. 0: none."""

    replicas: int
    timeout_ms: int


class _Waiting:
    """A command that was handed to the lane, its moment to give up, and who waits for it."""

    __slots__ = ("answer", "command", "expires")

    def __init__(self, command: Packed, expires: float, answer: asyncio.Future[Any]) -> None:
        self.command = command
        self.expires = expires
        self.answer = answer

    def give(self, reply: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)

    def fail(self, error: Exception, *, sent: bool) -> None:
        if not self.answer.done():
            self.answer.set_exception(Lost(error, sent=sent))


class Lane:
    """Sends packed commands and gives each its reply. An error reply is given, not raised.

    A lone call on a warm connection is carried by its caller's own task. Connecting is never left to a
    task that somebody may cancel: asyncio then loses the socket.
    """

    def __init__(
        self,
        address: str,
        connections: Connections,
        round_trip_timeout: float,
        confirmation: Confirmation,
        hooks: Hooks,
    ) -> None:
        self.address = address
        self._hooks = hooks
        self._connections = connections
        self._confirmation = confirmation
        self._wait = hiredis.pack_command((b"WAIT", confirmation.replicas, confirmation.timeout_ms))  # type: ignore[arg-type]
        self._timeout = round_trip_timeout
        self._queue: deque[_Waiting] = deque()
        self._flying: Sequence[_Waiting] = ()
        self._sent = False  # of those flying
        self._warm = False  # the last round trip went well, so the next one need not connect
        self._busy = False
        self._pump: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._room = asyncio.Event()

    def send(self, command: Packed, expires: float) -> Awaitable[Any]:
        """Give the reply. Raises Lost if there is none by ``expires``, a moment of the loop's clock."""
        if self._warm and not self._busy:
            return self._send_alone(command, expires)
        if len(self._queue) >= MAX_QUEUE:
            return self._send_when_there_is_room(command, expires)
        return self.submit(command, expires)

    async def _send_alone(self, command: Packed, expires: float) -> Any:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(command, expires, loop.create_future())
        self._busy = True
        try:
            await self._round_trip([waiting])
        finally:
            self._carry_on(loop)
        return await waiting.answer

    async def _send_when_there_is_room(self, command: Packed, expires: float) -> Any:
        while len(self._queue) >= MAX_QUEUE:
            self._room.clear()
            self._hooks.crowded(self.address)
            try:
                async with asyncio.timeout_at(expires):
                    await self._room.wait()
            except TimeoutError as error:
                raise Lost(error, sent=False) from error
        return await self.submit(command, expires)

    def submit(self, command: Packed, expires: float) -> asyncio.Future[Any]:
        """As ``send``, but queue at once, room or not, and give the future of the reply."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._queue.append(_Waiting(command, expires, answer))
        if self._alarm is None:
            self._alarm = loop.call_at(expires, self._expire, loop)
        if not self._busy:
            self._busy = True
            self._carry_on(loop)
        return answer

    async def drain(self) -> None:
        """Wait until nothing is under way; calls made meanwhile are waited for, too."""
        while self._busy:
            await (asyncio.wait([self._pump]) if self._pump else asyncio.sleep(0.001))
        if self._alarm is not None:
            self._alarm.cancel()

    def _carry_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """After a lone call: whatever has queued up behind it is pumped out."""
        if self._queue:
            self._pump = loop.create_task(self._run())
        else:
            self._busy = False

    async def _run(self) -> None:
        try:
            while batch := self._take():
                await self._round_trip(batch)
        finally:
            self._busy = False
            self._pump = None

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            waiting = self._queue.popleft()
            if not waiting.answer.done():  # cancelled or expired before it left
                batch.append(waiting)
                size += len(waiting.command.data)
        self._room.set()
        return batch

    async def _round_trip(self, batch: Sequence[_Waiting]) -> None:
        """Answer every one of the batch, by a reply or by Lost. Raises only if it is cancelled itself."""
        self._flying, self._sent, self._warm = batch, False, False
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connections.acquire()
                healthy = False
                try:
                    self._sent = True
                    confirm = self._confirmation.replicas > 0 and any(w.command.writes for w in batch)
                    data = [waiting.command.data for waiting in batch]
                    await connection.send_packed_command([*data, self._wait] if confirm else data, check_health=False)
                    healthy = await self._read_replies(connection, batch, confirm=confirm)
                finally:
                    if not healthy:
                        await connection.disconnect(nowait=True)
                    await self._connections.release(connection)
            self._warm = healthy
        except Exception as error:  # whatever breaks, each caller learns of it, typed
            for waiting in batch:
                waiting.fail(error, sent=self._sent)
        finally:
            self._flying = ()

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for the whole lane: fail what has waited too long, and ask again at the next such moment."""
        self._alarm = None
        now = loop.time()
        late = TimeoutError("no answer within the call's time")
        for waiting in self._flying:
            if waiting.expires <= now:
                waiting.fail(late, sent=self._sent)
        for waiting in self._queue:
            if waiting.expires <= now:
                waiting.fail(late, sent=False)
        left = [w.expires for w in (*self._flying, *self._queue) if not w.answer.done()]
        if left:
            self._alarm = loop.call_at(min(left), self._expire, loop)

    async def _read_replies(self, connection: AbstractConnection, batch: Sequence[_Waiting], *, confirm: bool) -> bool:
        """Answer each in turn. False when the connection should not be used again: it met a replica."""
        healthy = True
        unconfirmed: list[tuple[_Waiting, Any]] = []
        replies = Replies(connection)
        for waiting in batch:
            reply = await replies.next()
            if waiting.command.replies > 1:
                reply = await _read_more(replies, waiting.command.replies - 1, reply)
            healthy = healthy and not isinstance(reply, ReadOnlyError)
            if confirm and waiting.command.writes:
                unconfirmed.append((waiting, reply))
            else:
                waiting.give(reply)
        if confirm:
            confirmed = await replies.next()
            wanted = self._confirmation.replicas
            for waiting, reply in unconfirmed:
                if isinstance(confirmed, Exception):
                    waiting.fail(confirmed, sent=True)
                elif confirmed >= wanted:
                    waiting.give(reply)
                else:
                    healthy = False  # this may be a primary that was replaced: the next try asks anew
                    waiting.fail(TooFewReplicas(f"{confirmed} of {wanted} replicas confirmed it in time"), sent=True)
        return healthy


async def _read_more(replies: Replies, count: int, reply: Any) -> Any:
    """``count`` more; the first error among them all, or in the last of them, else the last."""
    for _ in range(count):
        following = await replies.next()
        reply = reply if isinstance(reply, RedisError) else following
    return next((part for part in reply if isinstance(part, RedisError)), reply) if isinstance(reply, list) else reply
