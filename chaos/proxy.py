"""A TCP proxy that breaks things on purpose, between a client and a server on this machine.

Every reply that comes back from the server has been executed; what happens to it is decided by
``fault``, a function that is asked once per chunk of replies and answers "pass", "swallow" (the
client waits for ever), "reset" (the connection breaks), "cut" (half of it, then a break), "delay" or
"stall" (nothing goes either way on this connection from now on, and it stays open).
With ``spare_replicas`` nothing happens to a server that comes to replicate: it is known by its PING.
"""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Fault = Callable[[], str]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no patience: closing sends RST


def no_fault() -> str:
    return "pass"


class FaultProxy:
    """Listens on a free port of 127.0.0.1. ``fault`` may be replaced at any time; ``injected`` counts."""

    def __init__(self, port: int, fault: Fault = no_fault, delay: float = 0.2, *, spare_replicas: bool = False) -> None:
        self.fault = fault
        self.injected: Counter[str] = Counter()
        self._target = port
        self._delay = delay
        self._spare_replicas = spare_replicas
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        upstream: asyncio.StreamWriter | None = None
        try:
            replies, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            spared = False
            if self._spare_replicas:
                first = await reader.read(65536)
                spared = first.upper() == b"*1\r\n$4\r\nPING\r\n"
                upstream.write(first)
            flowing = asyncio.Event()
            flowing.set()
            async with asyncio.TaskGroup() as both:
                both.create_task(_forward(reader, upstream, flowing))
                answers = _forward(replies, writer, flowing) if spared else self._answer(replies, writer, flowing)
                both.create_task(answers)
        except* (OSError, _Broken, asyncio.CancelledError):  # of one that is cancelled asyncio 3.11 complains
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    end.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(
        self, replies: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        while chunk := await replies.read(65536):
            fault = self.fault()
            if fault != "pass":
                self.injected[fault] += 1
            if fault == "swallow":
                continue
            if fault == "stall":
                flowing.clear()
                await flowing.wait()
            if fault in ("reset", "cut"):
                if fault == "cut":
                    writer.write(chunk[: len(chunk) // 2])
                    await writer.drain()
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()
                raise _Broken
            if fault == "delay":
                await asyncio.sleep(self._delay)
            writer.write(chunk)
            await writer.drain()
        raise _Broken


class _Broken(Exception):
    pass


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
    while chunk := await reader.read(65536):
        await flowing.wait()
        writer.write(chunk)
        await writer.drain()
    raise _Broken
