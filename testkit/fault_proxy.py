"""A TCP proxy that breaks things on purpose, between a client and a server on this machine.

When a reply comes back from the server, the server has executed the command. The function ``fault`` decides what
happens to the reply. It is asked once for each chunk of replies, and answers one of

    pass      the reply is delivered
    swallow   the reply is dropped; the connection stays open, and the client waits
    reset     the connection is reset
    cut       half of the reply is delivered, then the connection is reset
    delay     the reply is delivered later
    stall     from now on nothing is delivered in either direction, and the connection stays open
"""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self

from testkit.backends import ClusterBackend, RedisBackend
from testkit.ports import HOST
from testkit.servers import wait_until
from testkit.topology import Node

Fault = Callable[[], str]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: closing sends RST


def no_fault() -> str:
    return "pass"


class FaultProxy:
    """Listens on a free port of 127.0.0.1. ``fault`` may be replaced at any time; ``injected`` counts the faults.

    With ``spare_replicas`` nothing happens to the connection of a replica, which is recognised by its PING.
    """

    def __init__(self, port: int, fault: Fault = no_fault, delay: float = 0.2, *, spare_replicas: bool = False) -> None:
        self.fault = fault
        self.injected: Counter[str] = Counter()
        self._target = port
        self._delay = delay
        self._spare_replicas = spare_replicas
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
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
            replies, upstream = await asyncio.open_connection(HOST, self._target)
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
        except* (OSError, _Broken, asyncio.CancelledError):  # asyncio 3.11 would report a cancelled one as an error
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


@asynccontextmanager
async def open_proxies(backend: RedisBackend[Any]) -> AsyncIterator[tuple[str, list[FaultProxy]]]:
    """One proxy in front of each server of the backend, and the URL that goes through them.

    A cluster's nodes announce the ports of the proxies. Replicas connect through them, too; they are spared.
    """
    async with AsyncExitStack() as stack:
        if not isinstance(backend, ClusterBackend):
            [server] = backend.server.primaries()
            proxy = await stack.enter_async_context(FaultProxy(server.port))
            yield f"redis://{HOST}:{proxy.port}/0", [proxy]
            return
        nodes = backend.server.servers
        proxies = [await stack.enter_async_context(FaultProxy(node.port, spare_replicas=True)) for node in nodes]
        try:
            await asyncio.to_thread(_announce, nodes, [proxy.port for proxy in proxies])
            addresses = ",".join(f"{HOST}:{proxy.port}" for proxy in proxies)
            yield f"redis+cluster://{addresses}", proxies
        finally:  # the tests that follow use the same cluster
            await asyncio.to_thread(_announce, nodes, [node.port for node in nodes])


def _announce(nodes: Sequence[Node], ports: Sequence[int]) -> None:
    """Wait until all nodes know each other by these ports."""
    for node, port in zip(nodes, ports, strict=True):
        node.ask("CONFIG", "SET", "cluster-announce-port", port)

    def announced() -> bool:
        views = [node.ask("CLUSTER", "NODES") for node in nodes]
        return all(f":{port}@" in view for view in views for port in ports)

    wait_until(announced, f"all nodes announce the ports {ports}")


class _Broken(Exception):
    """The connection is over: ends both directions."""


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
    while chunk := await reader.read(65536):
        await flowing.wait()
        writer.write(chunk)
        await writer.drain()
    raise _Broken
