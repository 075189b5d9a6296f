"""Finds what no notification told: every 2 s at the latest, a mark of each session that somebody listens to.

The looks of one round are spread over it, so that a server with thousands of them is not held up.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from chat_session.errors import StoreCorrupt, StoreError
from chat_session.storage.redis.feed.channels import Channel, Channels
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.cluster import Cluster
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import integer
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.net.pipeline import PipelinedConnection
from chat_session.storage.redis.net.topology import Topology
from chat_session.storage.redis.scripts.feed import read_desk_mark, read_marks

INTERVAL = 1.4  # seconds from one round to the next
STEPS = 8  # of a round; when many come or leave, a session is looked at in another step than before
PAUSE = 0.05  # seconds between two steps
TOGETHER = 100  # sessions of one look: half a millisecond of the server's time
HEAD = 100  # sessions that wait, of the desk's queue


class Poller:
    """Looks at ``channels`` as long as it runs, and wakes those whose marks have changed."""

    def __init__(self, executor: CommandExecutor, topology: Topology, keys: Keys, channels: Channels) -> None:
        self._executor = executor
        self._topology = topology
        self._keys = keys
        self._channels = channels
        self._together = 1 if isinstance(topology, Cluster) else TOGETHER  # there a script has keys of one slot only
        self._busy: dict[PipelinedConnection | None, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Never ends by itself. A server that does not answer holds up nobody but its own sessions."""
        try:
            while True:
                for server, names in self._by_server().items():
                    if server not in self._busy:
                        self._busy[server] = asyncio.create_task(self._look(server, names))
                await asyncio.sleep(INTERVAL)
        finally:
            looks = tuple(self._busy.values())
            for look in looks:
                look.cancel()
            if looks:
                await asyncio.wait(looks)

    def _by_server(self) -> dict[PipelinedConnection | None, list[Channel]]:
        if self._together > 1:  # there is one server
            return {self._topology.servers()[0]: list(self._channels.values())} if self._channels else {}
        found: dict[PipelinedConnection | None, list[Channel]] = {}
        for name, channel in self._channels.items():
            found.setdefault(self._topology.server_of(PlainCommand((b"", name), integer)), []).append(channel)
        return found

    async def _look(self, server: PipelinedConnection | None, channels: Sequence[Channel]) -> None:
        """At all of them once."""
        try:
            with suppress(StoreError):  # the next round looks again
                sessions = [channel for channel in channels if channel.keys]
                for channel in channels:
                    if not channel.keys:
                        mark = await self._executor.run("watch", read_desk_mark(self._keys.desk(), head=HEAD))
                        _compare(channel, mark)
                parts = [sessions[at : at + self._together] for at in range(0, len(sessions), self._together)]
                size = -(-len(parts) // STEPS)
                for at in range(0, len(parts), size or 1):
                    await self._read(parts[at : at + size])
                    await asyncio.sleep(PAUSE if at + size < len(parts) else 0)
        finally:
            del self._busy[server]

    async def _read(self, parts: Sequence[Sequence[Channel]]) -> None:
        calls = [read_marks([key for channel in part for key in channel.keys]) for part in parts]
        replies = await self._executor.run_all("watch", calls, keep_corrupt=True)
        for part, marks in zip(parts, replies, strict=True):
            if not isinstance(marks, StoreCorrupt):
                for channel, mark in zip(part, marks, strict=True):
                    _compare(channel, mark)


def _compare(channel: Channel, mark: bytes) -> None:
    """Those who have left meanwhile are woken by nobody."""
    if channel.mark != mark:
        channel.mark = mark
        channel.wake()
