"""Pipelining: calls that are made while a round trip is under way leave together in the next one.

A PipelinedConnection carries the traffic to one server. It borrows one connection at a time and sends many commands
in one round trip; each caller gets its own reply or error. Tasks of its own send and read, so a caller that is
cancelled disturbs nobody: its reply is read and dropped. A lone call leaves in the next turn of the event loop.
To a server that is far away, on a connection of our own, up to 32 calls may be under way in several batches.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from itertools import count
from typing import Any, NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - redis-py's own
    NoPermissionError,
    ReadOnlyError,
    RedisError,
)

from chat_session.storage.redis.net.batch import Batch, PendingCommand
from chat_session.storage.redis.net.connection import ServerConnection
from chat_session.storage.redis.net.faults import NoReply, ProtocolDesync, TooFewReplicas, classify
from chat_session.storage.redis.net.private import NOT_ARRIVED
from chat_session.storage.redis.net.wire import WireCommand, choose_reply, pack_command
from chat_session.telemetry.hooks import Hooks

MAX_COMMANDS = 512  # of one round trip: about 10 ms of server time for appends, so nobody waits longer for a turn
MAX_BYTES = 1 << 20  # of one round trip
MAX_BATCH = 32  # commands whose replies are delivered together
SMALL_BATCH = 4  # commands: its round trip takes hardly longer than the way to the server and back
REMOTE_RTT = 0.0005  # seconds; a server that is nearer answers before another batch would be worth its cost
MAX_QUEUE = 16_384  # commands waiting for one server; beyond it callers wait before they queue
TICK = 0.05  # seconds between two checks for commands that have waited too long; each check looks at all of them
JOIN_TIMEOUT = 0.2  # seconds: closing the pool ends a task that connects, but not in the middle of a TLS handshake


class Connections(Protocol):
    """Where the connection is borrowed. ``max_in_flight``: commands that may be under way in several batches."""

    max_in_flight: int

    @property
    def database(self) -> int: ...
    def make_connection(self) -> AbstractConnection: ...
    async def acquire(self, timeout: float) -> ServerConnection: ...  # noqa: ASYNC109 - in redis-py's own words
    async def release(self, connection: ServerConnection) -> None: ...


class Confirmation(NamedTuple):
    """How many replicas must have a write before it is acknowledged, 0 for none, and how long that may take."""

    replicas: int
    timeout_ms: int


class PipelinedConnection:
    """Sends commands and gives each its reply. An error reply is given, not raised."""

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
        self._wait = pack_command((b"WAIT", confirmation.replicas, confirmation.timeout_ms))
        self._max_in_flight = 0 if confirmation.replicas else connections.max_in_flight  # a WAIT holds up what follows
        self._timeout = round_trip_timeout
        self._queue: deque[PendingCommand] = deque()
        self._in_flight: deque[Batch] = deque()
        self._connection: ServerConnection | None = None  # borrowed while anything is in flight
        self._rtt = 0.0  # seconds that the round trips of small batches take, smoothed
        self._closed = False
        self._runner: asyncio.Task[None] | None = None  # sends and reads while there is anything to do
        self._sender: asyncio.Task[None] | None = None  # sends further batches while the runner reads
        self._ending: asyncio.Task[None] | None = None  # gives up a connection whose round trip takes too long
        self._barriers = count()
        self._scripts: set[bytes] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._waiters: deque[asyncio.Future[None]] = deque()  # callers that wait because the queue is full
        self._admitted = 0  # of those, how many may queue but have not yet

    def send(self, command: WireCommand, expires: float) -> Awaitable[Any]:
        """Give the reply. Raises NoReply if there is none by ``expires``, a moment of the event loop's clock."""
        if self._waiters or len(self._queue) + self._admitted >= MAX_QUEUE:
            return self._send_when_admitted(command, expires)
        return self.submit(command, expires)

    def submit(self, command: WireCommand, expires: float) -> asyncio.Future[Any]:
        """As ``send``, but queue at once, even if the queue is full, and give the future of the reply."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._queue.append(PendingCommand(command, expires, reply))
        if self._alarm is None or expires < self._alarm.when():
            self._set_alarm(expires, loop)
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        elif self._max_in_flight and self._sender is None and self._may_send_more():
            self._sender = loop.create_task(self._send_more())  # in the next turn, with all that are queued in this one
        return reply

    @property
    def database(self) -> int:
        return self._connections.database

    def make_connection(self) -> AbstractConnection:
        """Another connection to the server, made as ours are, which is not connected yet and not one of the pool's."""
        return self._connections.make_connection()

    def claim_first_send(self, script: bytes) -> bool:
        """Whether the caller is the first to send this script on the connection. Then it sends its text along."""
        is_first = script not in self._scripts
        self._scripts.add(script)
        return is_first

    def forget_scripts(self) -> None:
        """The server has forgotten them: the text of each is to be sent along once more."""
        self._scripts.clear()

    async def close(self) -> None:
        """Leave the connection. Commands under way and queued commands fail. Then its pool closes, then ``join``."""
        self._closed = True
        error = ConnectionError("the manager was closed")
        for pending in self._queue:
            pending.fail(error, sent=False)
        await self._give_up(self._connection, error)

    async def join(self) -> None:
        """Wait until no task connects any more: a socket that nobody waits for would stay open."""
        await end_tasks(self._runner, self._sender, self._ending)

    async def _send_when_admitted(self, command: WireCommand, expires: float) -> Any:
        admission: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(admission)
        self._hooks.queue_full(self.address)
        try:
            async with asyncio.timeout_at(expires):
                await admission
        except (TimeoutError, asyncio.CancelledError) as error:
            if not admission.cancelled():  # admitted at the same moment
                self._admitted -= 1
                self._admit()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise NoReply(error, sent=False) from error
        self._admitted -= 1
        return await self.submit(command, expires)

    def _admit(self) -> None:
        """Let as many waiters queue as there is room for, in the order in which they came."""
        while self._waiters and len(self._queue) + self._admitted < MAX_QUEUE:
            admission = self._waiters.popleft()
            if not admission.done():
                admission.set_result(None)
                self._admitted += 1

    async def _run(self) -> None:
        try:
            while self._queue or self._in_flight:
                if self._queue and (not self._in_flight or self._may_send_more()):
                    await self._send()
                if self._in_flight:
                    await self._read()
                if not self._queue and not self._in_flight:
                    await asyncio.sleep(0)  # callers that have their replies call again: no new task, a turn less
        finally:
            self._runner = None

    def _may_send_more(self) -> bool:
        """Whether another batch may follow those in flight: they are few, and end in a barrier."""
        if not self._in_flight or not self._in_flight[-1].barrier:
            return False
        return sum(len(batch.commands) for batch in self._in_flight) < self._max_in_flight

    async def _send_more(self) -> None:
        try:
            while self._queue and self._may_send_more():
                await self._send()
        finally:
            if self._sender is asyncio.current_task():
                self._sender = None

    async def _send(self) -> None:
        """Send what is queued, behind what is in flight. Raises nothing: whatever breaks, each caller learns of it."""
        connection = self._connection
        try:
            if connection is None:
                connection = self._connection = await self._connect()
            data = self._put_in_flight()
            if data:
                await connection.send(data)
            elif not self._in_flight:  # nobody waits any more
                await self._release(connection)
        except Exception as error:
            if connection is None:
                for pending in self._take():
                    pending.fail(error, sent=False)
            await self._give_up(connection, error)

    async def _connect(self) -> ServerConnection:
        """Queued commands that expire meanwhile are not sent."""
        if not self._closed:
            connection = await self._connections.acquire(self._timeout)
            if not self._closed:
                return connection
            await connection.abort()
            await self._connections.release(connection)
        raise ConnectionError("the manager was closed")

    async def _release(self, connection: ServerConnection) -> None:
        self._connection = None
        await self._connections.release(connection)

    def _put_in_flight(self) -> list[bytes]:
        """Put what the next round trip carries in flight, in batches so short that their replies can be held back.

        Each batch that may be followed by another ends in a barrier of its own. One that a WAIT confirms is not split.
        """
        commands, loop = self._take(), asyncio.get_running_loop()
        now = loop.time()
        due = now + self._timeout
        if self._alarm is None or due < self._alarm.when():
            self._set_alarm(due, loop)
        size = len(commands) if self._confirmation.replicas else MAX_BATCH
        is_remote = self._max_in_flight > 0 and self._rtt > REMOTE_RTT
        data: list[bytes] = []
        for start in range(0, len(commands), size or 1):
            batch = Batch(commands[start : start + size], now, due)
            data += [pending.command.data for pending in batch.commands]
            if self._confirmation.replicas:
                batch.confirmed = any(pending.command.writes for pending in commands)
                data += [self._wait] if batch.confirmed else []
            elif is_remote or start + size < len(commands):
                batch.barrier = b"chat-session %d" % next(self._barriers)
                data.append(pack_command((b"ECHO", batch.barrier)))
            self._in_flight.append(batch)
        return data

    def _take(self) -> list[PendingCommand]:
        taken: list[PendingCommand] = []
        size = 0
        while self._queue and len(taken) < MAX_COMMANDS and size < MAX_BYTES:
            pending = self._queue.popleft()
            if not pending.reply.done():  # cancelled, or expired, while it was queued
                taken.append(pending)
                size += len(pending.command.data)
        if self._waiters:
            self._admit()
        return taken

    async def _read(self) -> None:
        """Read the replies of the oldest batch, and deliver them. Raises nothing, as ``_send``."""
        connection, batch = self._connection, self._in_flight[0]
        if connection is None:
            return
        try:
            is_healthy = await self._read_batch(connection, batch)
        except Exception as error:
            await self._give_up(connection, error)
            return
        if self._connection is not connection:  # sending what followed broke it
            return
        self._in_flight.popleft()
        if len(batch.commands) <= SMALL_BATCH:
            took = asyncio.get_running_loop().time() - batch.sent_at
            self._rtt += (took - self._rtt) / 8
        if not is_healthy:
            await self._give_up(connection, ConnectionError("the server is a replica, or its replicas do not follow"))
        elif not self._in_flight:
            await self._release(connection)

    async def _read_batch(self, connection: ServerConnection, batch: Batch) -> bool:
        """Deliver each command its reply. False if the connection should not be used again: it met a replica.

        Replies come in the order of their commands. If one were missing, a caller would get another's. So they are
        held back until all of the batch have come, and its barrier after them.
        """
        undelivered = []
        is_healthy = True
        for pending in batch.commands:
            reply = connection.take()
            if reply is NOT_ARRIVED:
                reply = await connection.next()
            if pending.command.replies > 1:
                reply = choose_reply([reply, *[await connection.next() for _ in range(pending.command.replies - 1)]])
            if isinstance(reply, ReadOnlyError):
                is_healthy = False
            undelivered.append((pending, reply))
        if batch.confirmed:
            return self._confirm(await connection.next(), undelivered) and is_healthy
        if batch.barrier:
            echoed = await connection.next()
            if echoed != batch.barrier and not isinstance(echoed, NoPermissionError):  # for ECHO
                busy = isinstance(echoed, RedisError) and classify(echoed).retry  # it refuses ECHO, too
                raise echoed if busy else ProtocolDesync("a reply is missing, or there is one too many")
        for pending, reply in undelivered:
            pending.resolve(reply)
        return is_healthy

    def _confirm(self, confirmed: Any, undelivered: Sequence[tuple[PendingCommand, Any]]) -> bool:
        """Resolve the writes as WAIT has said. False if this may be a primary that was replaced."""
        wanted = self._confirmation.replicas
        is_enough = isinstance(confirmed, int) and confirmed >= wanted
        for pending, reply in undelivered:
            if not pending.command.writes or is_enough:
                pending.resolve(reply)
            elif isinstance(confirmed, Exception):
                pending.fail(confirmed, sent=True)
            else:
                pending.fail(TooFewReplicas(f"{confirmed} of {wanted} replicas confirmed the write in time"), sent=True)
        return is_enough or (isinstance(confirmed, Exception) and classify(confirmed).reason != "read_only")

    async def _give_up(self, connection: ServerConnection | None, error: Exception) -> None:
        """Close the connection, unless that was done already. All commands in flight fail."""
        if connection is not self._connection:
            return
        batches, self._in_flight = self._in_flight, deque()
        self._connection = None
        self.forget_scripts()  # the next connection may be to another server
        sender, self._sender = self._sender, None
        if sender is not None and sender is not asyncio.current_task():
            sender.cancel()  # it waits for the old socket, and would close the next one
        for batch in batches:
            for pending in batch.commands:
                pending.fail(error, sent=True)
        if connection is not None:
            await connection.abort()
            await self._connections.release(connection)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all: fail the commands that have waited too long, and give up a round trip that takes too long.

        It is set again for the next such moment.
        """
        self._alarm = None
        now = loop.time()
        if self._in_flight and self._in_flight[0].due <= now:
            error = TimeoutError("no answer within the time of a round trip")
            self._ending = loop.create_task(self._give_up(self._connection, error))  # what waits for it, fails
        late = TimeoutError("no answer within the call's time")
        in_flight = [(pending, True) for batch in self._in_flight for pending in batch.commands]
        left = []
        for pending, sent in (*in_flight, *((pending, False) for pending in self._queue)):
            if pending.expires <= now:
                pending.fail(late, sent=sent)
            if not pending.reply.done():
                left.append(pending.expires)
        if self._in_flight:
            left.append(self._in_flight[0].due)
        if left:
            self._set_alarm(max(min(left), now + TICK), loop)

    def _set_alarm(self, moment: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(moment, self._expire, loop)


async def end_tasks(*tasks: asyncio.Task[Any] | None) -> None:
    """Give them a moment to end by themselves, then cancel them, and give them a moment for that, too."""
    running = {task for task in tasks if task is not None}
    if running:
        _, running = await asyncio.wait(running, timeout=JOIN_TIMEOUT)
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=JOIN_TIMEOUT)
