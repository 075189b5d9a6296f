"""Calls that are made while round trips are under way leave together in the next one.

A lane is the traffic to one server: one borrowed connection at a time, many commands in one round trip, each
with its own answer. A lone call goes out at once. To a server that is far, on a connection of our own, a few
calls leave one behind the other: of two that alternate, each would take two round trips. Whoever is cancelled
takes nobody else's answer along: an answer that nobody waits for is read and dropped.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from itertools import chain, count
from typing import Any, NamedTuple, Protocol

from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - redis-py's own
    NoPermissionError,
    ReadOnlyError,
    RedisError,
)

from chat_session.storage.redis.faults import Lost, OutOfStep, TooFewReplicas, classify
from chat_session.storage.redis.flights import Flight, Waiting
from chat_session.storage.redis.packed import Packed, answer_of, pack_words
from chat_session.storage.redis.replies import Replies, abort
from chat_session.telemetry.hooks import Hooks

MAX_BATCH = 512  # calls: about 10 ms of server time for appends, so nobody waits longer for a turn
MAX_BATCH_BYTES = 1 << 20
FLIGHT = 32  # calls whose answers are given together
SHORT = 4  # calls: a flight that takes hardly longer than the way to the server and back
FAR = 0.0005  # seconds there and back; a server that is nearer answers before another flight were worth its cost
MAX_QUEUE = 16_384  # calls waiting in one lane; beyond it callers wait for room
TICK = 0.05  # seconds: between two looks who has waited too long, each of which looks at all
JOIN_TIMEOUT = 0.2  # seconds: closing the pool ends whoever connects, but not in the middle of a TLS handshake
MAX_ALONE_BYTES = 1 << 16  # of a lone call: it leaves without waiting for the socket to take it


class Connections(Protocol):
    """Where a lane borrows its connection. ``depth``: behind fewer calls than that others may leave; 0: never."""

    depth: int

    async def acquire(self) -> AbstractConnection: ...
    async def release(self, connection: AbstractConnection) -> None: ...


class Confirmation(NamedTuple):
    """How many replicas must have a write before it is acknowledged, 0 for none, and how long that may take."""

    replicas: int
    timeout_ms: int


class Lane:
    """Sends packed commands and gives each its reply. An error reply is given, not raised.

    A lone call on a warm connection is carried by its caller's own task. Otherwise the lane's own task
    connects, since asyncio loses the socket of one who is cancelled in it; only a connection that was closed
    while nobody used it is made anew by the caller.
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
        self._wait = pack_words((b"WAIT", confirmation.replicas, confirmation.timeout_ms))
        self._depth = 0 if confirmation.replicas else connections.depth  # a WAIT holds up what comes behind it
        self._timeout = round_trip_timeout
        self._queue: deque[Waiting] = deque()
        self._flights: deque[Flight] = deque()
        self._connection: AbstractConnection | None = None  # borrowed while anything flies
        self._round_trip = 0.0  # seconds that short flights take, smoothed
        self._warm = False  # the last round trip went well, so the next one need not connect
        self._busy = False  # somebody reads
        self._closed = False
        self._pump: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None
        self._marks = count()
        self._scripts: set[bytes] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._crowd: deque[asyncio.Future[None]] = deque()  # who waits for room in the queue
        self._invited = 0  # of those, who have not come yet

    def send(self, command: Packed, expires: float) -> Awaitable[Any]:
        """Give the reply. Raises Lost if there is none by ``expires``, a moment of the loop's clock."""
        if self._warm and not self._busy and len(command.data) < MAX_ALONE_BYTES and self._has_time(expires):
            return self._send_alone(command, expires)
        if self._crowd or len(self._queue) + self._invited >= MAX_QUEUE:
            return self._send_when_there_is_room(command, expires)
        return self.submit(command, expires)

    def submit(self, command: Packed, expires: float) -> asyncio.Future[Any]:
        """As ``send``, but queue at once, room or not, and give the future of the reply."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._queue.append(Waiting(command, expires, answer))
        if self._alarm is None or expires < self._alarm.when():
            self._set_alarm(expires, loop)
        if not self._busy:
            self._busy = True
            self._carry_on(loop)
        elif self._depth and self._follower is None and self._may_follow():
            self._follower = loop.create_task(self._follow())  # a turn of the loop later, with all who come in this one
        return answer

    def meets(self, script: bytes) -> bool:
        """Whether nobody has sent it since the connection was made, or the scripts were forgotten; now they have."""
        is_new = script not in self._scripts
        self._scripts.add(script)
        return is_new

    def forget_scripts(self) -> None:
        """The server has: each is to be sent along once more."""
        self._scripts.clear()

    async def close(self) -> None:
        """Leave the connection. Calls under way and calls that wait fail. Then its pool closes, then ``join``."""
        self._closed = True
        error = ConnectionError("the manager was closed")
        for waiting in self._queue:
            waiting.fail(error, sent=False)
        await self._crash(self._connection, error)

    async def join(self) -> None:
        """Wait until nobody connects any more: a socket that nobody waits for would stay open."""
        await end_tasks(self._pump, self._follower)

    def _has_time(self, expires: float) -> bool:
        """For a whole round trip: no alarm is set for a lone call."""
        return expires - asyncio.get_running_loop().time() >= self._timeout

    async def _send_alone(self, command: Packed, expires: float) -> Any:
        loop = asyncio.get_running_loop()
        waiting = Waiting(command, expires, loop.create_future())
        self._busy = True
        try:
            await self._depart([waiting])
            await self._land()
        finally:
            waiting.answer.cancel()  # if it was not given: its caller is gone and hears of no failure
            self._carry_on(loop)
        return await waiting.answer

    async def _send_when_there_is_room(self, command: Packed, expires: float) -> Any:
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._crowd.append(room)
        self._hooks.queue_full(self.address)
        try:
            async with asyncio.timeout_at(expires):
                await room
        except (TimeoutError, asyncio.CancelledError) as error:
            if not room.cancelled():  # invited at the same moment
                self._invited -= 1
                self._invite()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise Lost(error, sent=False) from error
        self._invited -= 1
        return await self.submit(command, expires)

    def _invite(self) -> None:
        """Let in as many of the crowd as there is room for, in the order in which they came."""
        while self._crowd and len(self._queue) + self._invited < MAX_QUEUE:
            room = self._crowd.popleft()
            if not room.done():
                room.set_result(None)
                self._invited += 1

    def _carry_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """After a lone call, also one that was cancelled: whatever came behind it goes on without its caller."""
        if self._queue or self._flights:
            self._pump = loop.create_task(self._run())
        else:
            self._busy = False

    async def _run(self) -> None:
        try:
            while self._queue or self._flights:
                if self._queue and (self._may_follow() or not self._flights):
                    await self._depart(self._take())
                await self._land()
        finally:
            self._busy = False
            self._pump = None

    def _may_follow(self) -> bool:
        """Whether another flight may leave behind those under way: they are few, have left, and end in a mark."""
        last = self._flights[-1] if self._flights else None
        return last is not None and last.mark != b"" and last.sent and sum(map(len, self._flights)) < self._depth

    async def _follow(self) -> None:
        try:
            while self._queue and self._may_follow():
                await self._depart(self._take())
        finally:
            if self._follower is asyncio.current_task():
                self._follower = None

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            waiting = self._queue.popleft()
            if not waiting.answer.done():  # cancelled or expired before it left
                batch.append(waiting)
                size += len(waiting.command.data)
        self._invite()
        return batch

    async def _depart(self, batch: Sequence[Waiting]) -> None:
        """Send them, behind what is under way. Raises only if it is cancelled itself."""
        if not batch:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + self._timeout
        leaving = self._board(batch, due)
        self._flights.extend(leaving)
        connection = self._connection
        try:
            async with asyncio.timeout_at(due):
                if connection is None:
                    self._check_open()
                    connection = self._connection = await self._connections.acquire()
                    self._check_open()
                    for flight in leaving:  # who gave up meanwhile was told that nothing was sent
                        flight.calls = [waiting for waiting in flight.calls if not waiting.answer.done()]
                now = loop.time()
                for flight in leaving:
                    flight.sent, flight.departed = True, now
                data = list(chain.from_iterable(map(self._data_of, leaving)))
                await connection.send_packed_command(data, check_health=False)
        except Exception as error:  # whatever breaks, each caller learns of it, typed
            await self._crash(connection, error)
        finally:
            if not leaving[0].sent and leaving[0] in self._flights:  # cancelled before they left
                self._flights.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionError("the manager was closed")

    def _board(self, batch: Sequence[Waiting], due: float) -> list[Flight]:
        """Flights so short that their answers can be held; one that a WAIT confirms stays whole.

        Each that may be followed ends in a mark of its own.
        """
        if self._confirmation.replicas:
            return [Flight(batch, b"", due)]
        parts = [batch[start : start + FLIGHT] for start in range(0, len(batch), FLIGHT)]
        far = self._depth > 0 and self._round_trip > FAR
        marked = len(parts) if far else len(parts) - 1
        marks = (b"chat-session %d" % next(self._marks) for _ in range(marked))
        return [Flight(part, next(marks, b""), due) for part in parts]

    def _data_of(self, flight: Flight) -> Iterable[bytes]:
        for waiting in flight.calls:
            yield waiting.command.data
        if flight.mark:
            yield pack_words((b"ECHO", flight.mark))
        elif self._needs_confirmation(flight):
            yield self._wait

    async def _land(self) -> None:
        """Read the replies of the oldest flight, if there is one. Raises only if it is cancelled itself."""
        connection = self._connection
        if connection is None:
            return
        flight = self._flights[0]
        try:
            async with asyncio.timeout_at(flight.due):  # also for whoever relieves a reader
                healthy = await self._read_replies(Replies(connection), flight)
        except Exception as error:
            await self._crash(connection, error)
            return
        if self._connection is not connection:  # sending what came behind it broke it
            return
        self._flights.popleft()
        self._warm = True
        if len(flight) <= SHORT:
            took = asyncio.get_running_loop().time() - flight.departed
            self._round_trip += (took - self._round_trip) / 8
        if not healthy:
            await self._crash(connection, ConnectionError("the server is a replica, or its replicas do not follow"))
        elif not self._flights:
            self._connection = None
            await self._connections.release(connection)

    async def _crash(self, connection: AbstractConnection | None, error: Exception) -> None:
        """Give up the connection, unless that was done; all who are on their way learn of it, typed."""
        if connection is not self._connection:
            return
        flights, self._flights = self._flights, deque()
        self._connection, self._warm = None, False
        self.forget_scripts()  # the next connection may be to another server
        follower, self._follower = self._follower, None
        if follower is not None and follower is not asyncio.current_task():
            follower.cancel()  # it waits for the old socket, and would close the next
        for flight in flights:
            flight.fail(error)
        if connection is not None:
            await abort(connection)
            await self._connections.release(connection)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for the whole lane: fail what has waited too long, and ask again at the next such moment."""
        self._alarm = None
        now = loop.time()
        late = TimeoutError("no answer within the call's time")
        under_way = [(waiting, flight.sent) for flight in self._flights for waiting in flight.calls]
        left = []
        for waiting, sent in (*under_way, *((waiting, False) for waiting in self._queue)):
            if waiting.expires <= now:
                waiting.fail(late, sent=sent)
            if not waiting.answer.done():
                left.append(waiting.expires)
        if left:
            self._set_alarm(max(min(left), now + TICK), loop)

    def _set_alarm(self, moment: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(moment, self._expire, loop)

    def _needs_confirmation(self, flight: Flight) -> bool:
        return self._confirmation.replicas > 0 and any(waiting.command.writes for waiting in flight.calls)

    async def _read_replies(self, replies: Replies, flight: Flight) -> bool:
        """Answer each in turn. False when the connection should not be used again: it met a replica.

        Replies come in the order of their calls; with one of them missing, a caller would be given another's.
        So answers are held until all of a flight have come, and its mark after them.
        """
        confirm = self._needs_confirmation(flight)
        while flight.landed < len(flight):
            reply = replies.take()
            if reply is NOT_ENOUGH_DATA:
                reply = await replies.next()
            waiting = flight.calls[flight.landed]
            if waiting.command.replies > 1:
                flight.replies.append(reply)
                if len(flight.replies) < waiting.command.replies:
                    continue
                reply = answer_of(flight.replies)
                flight.replies.clear()
            flight.landed += 1
            flight.held.append((waiting, reply))
        healthy = not any(isinstance(reply, ReadOnlyError) for _, reply in flight.held)
        if confirm:
            return self._confirm(await replies.next(), flight) and healthy
        if flight.mark:
            mark = await replies.next()
            if mark != flight.mark and not isinstance(mark, NoPermissionError):  # for ECHO
                busy = isinstance(mark, RedisError) and classify(mark).retry  # it refuses ECHO, too
                raise mark if busy else OutOfStep("a reply is missing, or there is one too many")
        for waiting, reply in flight.held:
            waiting.give(reply)
        return healthy

    def _confirm(self, confirmed: Any, flight: Flight) -> bool:
        """Answer the writes as WAIT has said. False if this may be a primary that was replaced."""
        wanted = self._confirmation.replicas
        for waiting, reply in flight.held:
            if not waiting.command.writes or (isinstance(confirmed, int) and confirmed >= wanted):
                waiting.give(reply)
            elif isinstance(confirmed, Exception):
                waiting.fail(confirmed, sent=True)
            else:
                waiting.fail(TooFewReplicas(f"{confirmed} of {wanted} replicas confirmed the write in time"), sent=True)
        return isinstance(confirmed, Exception) or (isinstance(confirmed, int) and confirmed >= wanted)


async def end_tasks(*tasks: asyncio.Task[Any] | None) -> None:
    """Give them a moment to end by themselves, then cancel them, and give them a moment for that, too."""
    running = {task for task in tasks if task is not None}
    if running:
        _, running = await asyncio.wait(running, timeout=JOIN_TIMEOUT)
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=JOIN_TIMEOUT)
