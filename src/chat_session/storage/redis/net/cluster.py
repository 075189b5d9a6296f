"""The nodes of a cluster: which of them has a key's slot, learnt from the nodes and from their redirections.

redis-py's own cluster client is not used for traffic: of 8.1 it was seen to close its connections under
other tasks' calls at every fifth MOVED, and to raise untyped errors while slots migrate. Its nodes tell
how to connect; the map of slots and the redirections are kept here.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import ConnectionPool
from redis.crc import key_slot
from redis.exceptions import AskError, InvalidResponse, MovedError, RedisClusterException

from chat_session.storage.redis.net.faults import NoReply
from chat_session.storage.redis.net.pipeline import PipelinedConnection
from chat_session.storage.redis.net.topology import Connect, Keyed, close_all
from chat_session.storage.redis.net.wire import WireCommand, pack_command

SLOTS = 16_384

Address = tuple[str, int]
MakePool = Callable[[Address], ConnectionPool]

_CLUSTER_SLOTS = WireCommand(pack_command((b"CLUSTER", b"SLOTS")), writes=False)


class Cluster:
    """A connection for each node. ``seeds`` are asked first, then the nodes that they name."""

    def __init__(
        self,
        seeds: Sequence[Address],
        make_pool: Callable[[Address], ConnectionPool],
        connect: Connect,
        timeout: float,
    ) -> None:
        self.address = "cluster at " + ",".join(f"{host}:{port}" for host, port in seeds)
        self._make_pool = make_pool
        self._connect = connect
        self._timeout = timeout
        self._pools: list[ConnectionPool] = []
        self._nodes: dict[Address, PipelinedConnection] = {}
        self._slots: list[PipelinedConnection | None] = [None] * SLOTS
        self._known = False
        self._learning: asyncio.Task[None] | None = None
        for seed in seeds:
            self._node(seed)

    def server_of(self, command: Keyed) -> PipelinedConnection | None:
        return self._slots[key_slot(command.key)] if self._known else None

    def servers(self) -> Sequence[PipelinedConnection]:
        return tuple(dict.fromkeys(node for node in self._slots if node is not None))

    def invalidate(self) -> None:
        self._known = False

    def redirect(self, error: AskError, asked: PipelinedConnection) -> PipelinedConnection | None:
        if not 0 <= error.slot_id < SLOTS:
            return None
        node = self._node((error.host or asked.address.rpartition(":")[0], error.port))  # no host: where you asked
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = node
        return node

    async def discover(self) -> None:
        if self._learning is None:  # one asks for all who wait
            self._learning = asyncio.create_task(self._learn())
            self._learning.add_done_callback(self._learnt)
        await asyncio.shield(self._learning)

    async def close(self) -> None:
        if self._learning is not None:
            self._learning.cancel()
        await close_all(self._nodes.values(), self._pools)

    async def _learn(self) -> None:
        """Ask one node after another, in no order, for its map of slots. Raises NoReply if none gives it."""
        fault = NoReply(RedisClusterException("the cluster named no node"), sent=False)
        for address in random.sample(tuple(self._nodes), len(self._nodes)):
            try:
                expires = asyncio.get_running_loop().time() + self._timeout
                reply = await self._nodes[address].send(_CLUSTER_SLOTS, expires)
            except NoReply as error:
                fault = error
                continue
            if isinstance(reply, Exception):
                fault = NoReply(reply, sent=False)
                continue
            slots = self._read_slots(reply, address[0])
            if slots is None:
                fault = NoReply(InvalidResponse("that is no map of slots"), sent=False)
                continue
            self._slots, self._known = slots, True
            return
        raise fault

    def _read_slots(self, reply: Any, asked: str) -> list[PipelinedConnection | None] | None:
        """The map that CLUSTER SLOTS tells; None if it is none."""
        slots: list[PipelinedConnection | None] = [None] * SLOTS
        try:
            for first, last, (host, port, *_), *_ in reply:
                if not 0 <= first <= last < SLOTS:
                    return None
                node = self._node(((host or b"").decode() or asked, int(port)))
                slots[first : last + 1] = [node] * (last + 1 - first)
        except (TypeError, ValueError, AttributeError):
            return None
        return slots

    def _learnt(self, learning: asyncio.Task[None]) -> None:
        self._learning = None
        if not learning.cancelled():
            learning.exception()  # the callers that wait for it raise it

    def _node(self, address: Address) -> PipelinedConnection:
        node = self._nodes.get(address)
        if node is None:
            pool = self._make_pool(address)
            self._pools.append(pool)
            node = self._nodes[address] = self._connect(pool)
        return node
