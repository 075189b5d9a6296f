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

from chat_session.storage.redis.batching import Lane
from chat_session.storage.redis.faults import Lost
from chat_session.storage.redis.packed import Packed, pack_words
from chat_session.storage.redis.topology import MakeLane, close_all

SLOTS = 16_384

Address = tuple[str, int]
MakePool = Callable[[Address], ConnectionPool]

_CLUSTER_SLOTS = Packed(pack_words((b"CLUSTER", b"SLOTS")), writes=False)


class Cluster:
    """A lane for each node. ``seeds`` are where to ask first; what they name is asked from then on."""

    def __init__(
        self,
        seeds: Sequence[Address],
        make_pool: Callable[[Address], ConnectionPool],
        make_lane: MakeLane,
        timeout: float,
    ) -> None:
        self.address = "cluster at " + ",".join(f"{host}:{port}" for host, port in seeds)
        self._make_pool = make_pool
        self._make_lane = make_lane
        self._timeout = timeout
        self._pools: list[ConnectionPool] = []
        self._nodes: dict[Address, Lane] = {}
        self._slots: list[Lane | None] = [None] * SLOTS
        self._known = False
        self._learning: asyncio.Task[None] | None = None
        for seed in seeds:
            self._node(seed)

    def lane(self, key: bytes) -> Lane | None:
        return self._slots[key_slot(key)] if self._known else None

    def lanes(self) -> Sequence[Lane]:
        return tuple(dict.fromkeys(lane for lane in self._slots if lane is not None))

    def suspect(self) -> None:
        self._known = False

    def redirect(self, error: AskError, asked: Lane) -> Lane | None:
        if not 0 <= error.slot_id < SLOTS:
            return None
        lane = self._node((error.host or asked.address.rpartition(":")[0], error.port))  # no host: where you asked
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = lane
        return lane

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
        """Ask one node after another, in no order, for its map of slots. Raises Lost if none gives it."""
        fault = Lost(RedisClusterException("the cluster named no node"), sent=False)
        for address in random.sample(tuple(self._nodes), len(self._nodes)):
            try:
                expires = asyncio.get_running_loop().time() + self._timeout
                reply = await self._nodes[address].send(_CLUSTER_SLOTS, expires)
            except Lost as lost:
                fault = lost
                continue
            if isinstance(reply, Exception):
                fault = Lost(reply, sent=False)
                continue
            slots = self._read_slots(reply, address[0])
            if slots is None:
                fault = Lost(InvalidResponse("that is no map of slots"), sent=False)
                continue
            self._slots, self._known = slots, True
            return
        raise fault

    def _read_slots(self, reply: Any, asked: str) -> list[Lane | None] | None:
        """The map that CLUSTER SLOTS tells; None if it is none."""
        slots: list[Lane | None] = [None] * SLOTS
        try:
            for first, last, (host, port, *_), *_ in reply:
                if not 0 <= first <= last < SLOTS:
                    return None
                lane = self._node(((host or b"").decode() or asked, int(port)))
                slots[first : last + 1] = [lane] * (last + 1 - first)
        except (TypeError, ValueError, AttributeError):
            return None
        return slots

    def _learnt(self, learning: asyncio.Task[None]) -> None:
        self._learning = None
        if not learning.cancelled():
            learning.exception()  # whoever waits for it raises it

    def _node(self, address: Address) -> Lane:
        lane = self._nodes.get(address)
        if lane is None:
            pool = self._make_pool(address)
            self._pools.append(pool)
            lane = self._nodes[address] = self._make_lane(pool)
        return lane
