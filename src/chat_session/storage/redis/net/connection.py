"""One connection to a server: sending, and reading replies. A reply that has arrived already is taken without waiting.

redis-py leads every reply through five coroutines, which takes 4.5 µs, of which parsing is 0.1 (6.4 and 8.1, in
batches of 256). Before version 8 it also sets a timer to learn that nothing has arrived.
"""

from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, RedisError, ResponseError  # noqa: A004 - redis-py's own

from chat_session.storage.redis.net.private import (
    NOT_ARRIVED,
    handle_push,
    has_buffered,
    reply_reader,
    transport_of,
)


class ServerConnection:
    """A connection of redis-py's, from when it is connected until it is closed."""

    __slots__ = ("_push", "_reader", "_stream", "inner")

    def __init__(self, inner: AbstractConnection) -> None:
        self.inner = inner
        found = reply_reader(inner)
        self._reader = found[0] if found else None
        self._stream = found[1] if found else None
        self._push: Any = None  # what came between two replies

    async def send(self, data: Sequence[bytes]) -> None:
        """Raises ConnectionError also if the connection was lost a moment ago.

        asyncio of 3.12 and 3.13.0 does not check that in ``writelines``. It goes on waiting for the closed socket, and
        a later connection that gets the same number is not read.
        """
        transport = transport_of(self.inner)
        if transport is not None and transport.is_closing():
            raise ConnectionError("the connection was lost")
        await self.inner.send_packed_command(data, check_health=False)

    def take(self) -> Any:
        """The next reply if it has arrived, else NOT_ARRIVED: then wait for ``next``. Raises as it does.

        An error reply is given, not raised.
        """
        reply = self._reader.gets(False) if self._reader else NOT_ARRIVED
        if isinstance(reply, hiredis.PushNotification):
            self._push = reply
            return NOT_ARRIVED
        if isinstance(reply, ConnectionError):  # LOADING, say
            raise reply
        return reply

    async def next(self) -> Any:
        """Wait for the next reply. Raises what redis-py raises when there is none."""
        reply = self.take() if self._push is None else NOT_ARRIVED
        while self._push is not None:
            push, self._push = self._push, None
            await handle_push(self.inner, push)
            reply = self.take()
        if reply is not NOT_ARRIVED:
            return reply
        try:
            return await self.inner.read_response(disable_decoding=True, disconnect_on_error=False)
        except ResponseError as error:
            return error

    async def next_said(self) -> Any:
        """As ``next``, but of all that the server says: a message that nobody asked for is given, too."""
        reply = self._reader.gets(False) if self._reader else NOT_ARRIVED
        if reply is NOT_ARRIVED:
            try:
                return await self.inner.read_response(
                    disable_decoding=True, disconnect_on_error=False, push_request=True
                )
            except ResponseError as error:
                return error
        if isinstance(reply, ConnectionError):
            raise reply
        return reply

    async def has_unsolicited_data(self) -> bool:
        """Between two round trips: the server closed the connection, or said something that nobody asked for."""
        if self._reader and self._stream:
            return self._reader.has_data() or self._stream.at_eof() or has_buffered(self._stream)
        can_read = getattr(self.inner, "can_read", None) or self.inner.can_read_destructive
        try:
            return bool(await can_read())
        except (OSError, RedisError):
            return True

    async def abort(self) -> None:
        """Close it without a word to the server, and whether or not what was sent has left.

        A server that is frozen would keep the socket open: TLS waits 30 s for the server's goodbye, and a socket that
        takes no more bytes waits for ever.
        """
        transport = transport_of(self.inner)
        try:
            await self.inner.disconnect(nowait=True)
        finally:
            if transport is not None:
                transport.abort()
