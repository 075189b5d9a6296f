"""Reading replies; those that have arrived already are taken without waiting.

redis-py leads every reply through five coroutines: 4.5 µs, of which parsing takes 0.1 (6.4 and 8.1, in
batches of 256); before 8 it also sets a timer to learn that nothing has arrived. Its parser's reader
and stream have no public names. Where a connection has none, or others, all goes the public way.
"""

import asyncio
from typing import Any

import hiredis
from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, RedisError, ResponseError  # noqa: A004 - redis-py's own


class Replies:
    """The replies of a connection in their order. An error reply is given, not raised."""

    __slots__ = ("_connection", "_parser", "_push", "_reader", "_stream")

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._parser: Any = getattr(connection, "_parser", None)
        reader, stream = getattr(self._parser, "_reader", None), getattr(self._parser, "_stream", None)
        known = isinstance(reader, hiredis.Reader) and isinstance(stream, asyncio.StreamReader)
        self._reader: Any = reader if known else None
        self._stream: Any = stream
        self._push: Any = None  # what came between two replies, for a client who asked for it

    def take(self) -> Any:
        """The next reply if it has arrived, else NOT_ENOUGH_DATA: then wait for ``next``. Raises as it does."""
        reply = self._reader.gets(False) if self._reader else NOT_ENOUGH_DATA
        if isinstance(reply, hiredis.PushNotification):
            self._push = reply
            return NOT_ENOUGH_DATA
        if isinstance(reply, ConnectionError):  # LOADING, say
            raise reply
        return reply

    async def next(self) -> Any:
        """Raises what redis-py raises when there is none. Who is cancelled in it has read nothing."""
        reply = self.take() if self._push is None else NOT_ENOUGH_DATA
        while self._push is not None:
            push, self._push = self._push, None
            await self._parser.handle_push_response(push)
            reply = self.take()
        if reply is not NOT_ENOUGH_DATA:
            return reply
        try:
            return await self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except ResponseError as error:
            return error

    async def are_unasked(self) -> bool:
        """Between two round trips: the server closed the connection, or said something unasked."""
        if self._reader:
            buffered = self._stream._buffer  # noqa: SLF001 - as redis-py 8 itself does
            return bool(self._reader.has_data() or self._stream.at_eof() or buffered)
        can_read = getattr(self._connection, "can_read", None) or self._connection.can_read_destructive
        try:
            return bool(await can_read())
        except (OSError, RedisError):
            return True


def transport_of(connection: AbstractConnection) -> asyncio.WriteTransport | None:
    """Of a connection that is open. redis-py forgets it when it begins to close."""
    writer = getattr(connection, "_writer", None)
    return writer.transport if isinstance(writer, asyncio.StreamWriter) else None


async def abort(connection: AbstractConnection) -> None:
    """Close it without a word to the server, and whether or not what was sent has left.

    A server that is frozen would keep the socket open: TLS waits 30 s for the server's goodbye, and a socket that
    takes no more bytes waits for ever.
    """
    transport = transport_of(connection)
    try:
        await connection.disconnect(nowait=True)
    finally:
        if transport is not None:
            transport.abort()
