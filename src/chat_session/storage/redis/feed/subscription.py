"""One connection to a server on which the channels of all who listen are subscribed, until it is lost."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Protocol

from redis.exceptions import MovedError, NoPermissionError, RedisError

from chat_session.storage.redis.net.connection import ServerConnection
from chat_session.storage.redis.net.pipeline import PipelinedConnection
from chat_session.storage.redis.net.wire import pack_command

CONNECT_TIMEOUT = 5.0  # seconds
PING_EVERY = 3.0  # seconds; a connection on which nothing was heard for twice as long is lost

_PING = pack_command((b"PING",))


class Subscriber(Protocol):
    """Who is told what happens to the channels."""

    def subscribed(self, name: bytes) -> None: ...
    def received(self, name: bytes, payload: bytes) -> None: ...
    def refused(self, name: bytes) -> None:
        """The user has no right to this one."""
        ...

    def moved(self, name: bytes, error: MovedError | None) -> None:
        """Its slot is on another node; which one the error says, if there is one."""
        ...


class Subscription:
    """``command``: SSUBSCRIBE or SUBSCRIBE. Channels may be added and removed before and while it runs.

    The server answers commands in their order, and between the answers come notifications.
    """

    def __init__(self, server: PipelinedConnection, command: bytes, subscriber: Subscriber) -> None:
        self.server = server
        self.names: dict[bytes, None] = {}
        self._subscribe, self._unsubscribe = command, command.replace(b"SUB", b"UNSUB")
        self._subscriber = subscriber
        self._connection: ServerConnection | None = None
        self._expected: deque[tuple[bytes, bytes]] = deque()  # replies that are still to come: kind and channel
        self._outgoing: list[bytes] = []
        self._sender: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._has_heard = True
        self._is_silent = False  # it was asked whether it is there

    def add(self, name: bytes) -> None:
        self.names[name] = None
        if self._connection is not None:
            self._send(self._subscribe, name)

    def remove(self, name: bytes) -> None:
        if name in self.names:
            del self.names[name]
            if self._connection is not None:
                self._send(self._unsubscribe, name)

    async def run(self) -> None:
        """Until the connection is lost: raises what redis-py raises, or OSError."""
        inner = self.server.make_connection()
        connection = ServerConnection(inner)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await inner.connect()  # type: ignore[no-untyped-call]
            inner.socket_timeout = None  # that of an adopted client: nothing may be said for long
            self._connection = connection = ServerConnection(inner)
            for name in self.names:
                self._send(self._subscribe, name)
            self._alarm = asyncio.get_running_loop().call_later(PING_EVERY, self._check)
            while True:
                self._hear(await connection.next_said())
        finally:
            self._connection = None
            if self._alarm is not None:
                self._alarm.cancel()
            if self._sender is not None:
                self._sender.cancel()
            await connection.abort()

    def _send(self, command: bytes, name: bytes) -> None:
        """In the next turn of the event loop, with all that is to be sent in this one."""
        self._expected.append((command.lower(), name))
        self._outgoing.append(pack_command((command, name)) if name else _PING)
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            with suppress(RedisError, OSError):  # who reads meets it, too
                while self._outgoing and self._connection is not None:
                    outgoing, self._outgoing = self._outgoing, []
                    await self._connection.send([b"".join(outgoing)])
        finally:
            self._sender = None

    def _hear(self, said: Any) -> None:
        """Raises an error reply that is about the connection and not about one channel."""
        self._has_heard = True
        if isinstance(said, RedisError):
            self._refused(said)
        elif isinstance(said, list) and said and isinstance(said[0], bytes):
            kind, name = said[0].lower(), said[1] if len(said) > 1 else b""
            if kind in (b"smessage", b"message"):
                self._subscriber.received(name, said[2])
            elif self._expected and self._expected[0] == ((kind, name) if kind != b"pong" else (b"ping", b"")):
                self._expected.popleft()
                if kind == self._subscribe.lower() and name in self.names:
                    self._subscriber.subscribed(name)
            elif kind == b"sunsubscribe" and name in self.names:  # the server's own: the slot has moved
                del self.names[name]
                self._subscriber.moved(name, None)
        elif said == b"PONG" and self._expected:
            self._expected.popleft()

    def _refused(self, error: RedisError) -> None:
        command, name = self._expected.popleft() if self._expected else (b"", b"")
        if command != self._subscribe.lower():
            raise error
        if name not in self.names:
            return
        if isinstance(error, MovedError):
            del self.names[name]
            self._subscriber.moved(name, error)
        elif isinstance(error, NoPermissionError):
            del self.names[name]
            self._subscriber.refused(name)
        else:
            raise error

    def _check(self) -> None:
        """Ask a server that has been silent since the last time whether it is there; leave one that does not answer."""
        if self._connection is None:
            return
        loop = asyncio.get_running_loop()
        if not self._has_heard:
            if self._is_silent:
                self._ending = loop.create_task(self._connection.abort())
                return
            self._is_silent = True
            self._send(b"PING", b"")
        else:
            self._is_silent = False
        self._has_heard = False
        self._alarm = loop.call_later(PING_EVERY, self._check)
