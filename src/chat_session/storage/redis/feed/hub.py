"""Wakes all who listen in this process, with one subscription connection to each server however many they are.

A *placer* finds the server of each new channel and of those whose connection was lost. Nothing runs while nobody
listens.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from redis.exceptions import MovedError

from chat_session.errors import StoreError
from chat_session.storage.contract import Wake
from chat_session.storage.redis.feed.channels import Channel, Channels
from chat_session.storage.redis.feed.polling import Poller
from chat_session.storage.redis.feed.subscription import Subscription
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import integer
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.net.pipeline import PipelinedConnection, end_tasks
from chat_session.storage.redis.net.topology import Topology
from chat_session.storage.redis.scripts.feed import check_channel

SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 1.0  # seconds, before what was lost is subscribed again
ASK_AGAIN = 300.0  # seconds, for a right that was missing

_DENIED = (
    "The user has no right to the channels of notifications, so changes are seen up to 2 s late. "
    "Grant &session:* and &{desk}:feed, with the prefix of the keys before them, and the commands that go with them."
)


class Hub:
    """Knows who listens to which channel, and on which connection it is subscribed."""

    def __init__(self, executor: CommandExecutor, topology: Topology, keys: Keys) -> None:
        self._executor = executor
        self._topology = topology
        self._keys = keys
        self._channels: Channels = {}
        self._poller = Poller(executor, topology, keys, self._channels)
        self._unplaced: dict[bytes, None] = {}  # channels without a subscription
        self._placed: dict[bytes, Subscription] = {}
        self._subscriptions: dict[PipelinedConnection, tuple[Subscription, asyncio.Task[None]]] = {}
        self._denied: dict[bool, float] = {}  # channels of the desk, or of sessions; until when nobody asks again
        self._has_warned = False
        self._failures = 0  # one after the other
        self._placing: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def listen(self, session_id: str | None, wake: Wake) -> Callable[[], None]:
        """As FeedStore.listen."""
        name = self._keys.desk_feed() if session_id is None else self._keys.feed(session_id)
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(self._keys_of(session_id))
            self._unplaced[name] = None
        channel.wakes.append(wake)
        loop = asyncio.get_running_loop()
        if channel.is_live or self._is_denied(name):
            loop.call_soon(self._wake_one, name, wake)
        if not self._closed:
            if self._polling is None:
                self._polling = loop.create_task(self._poller.run())
            self._place_soon()
        return partial(self._leave, name, wake)

    async def close(self) -> None:
        """End all that runs, and close the connections."""
        self._closed = True
        self._channels.clear()
        self._end_all()
        await end_tasks(*self._ending)

    def subscribed(self, name: bytes) -> None:
        self._failures = 0
        channel = self._channels.get(name)
        if channel is not None:
            channel.is_live = True
            channel.wake()

    def received(self, name: bytes, payload: bytes) -> None:
        """An empty payload: something has changed. Else the number of a database, and news that are not stored."""
        channel = self._channels.get(name)
        if channel is None:
            return
        if not payload:
            channel.wake()
            return
        database, _, news = payload.partition(b" ")
        subscription = self._placed.get(name)
        if subscription is not None and database == b"%d" % subscription.server.database:
            channel.wake(news)

    def refused(self, name: bytes) -> None:
        self._deny(is_desk=self._is_desk(name))
        self._take_from_subscription(name)
        self._lose(name)

    def moved(self, name: bytes, error: MovedError | None) -> None:
        subscription = self._take_from_subscription(name)
        if error is None or subscription is None:
            self._topology.invalidate()
        else:
            self._topology.redirect(error, subscription.server)
        if self._placing is None:  # the first of those that have moved together
            self._failures += 1
        self._lose(name)

    def _wake_one(self, name: bytes, wake: Wake) -> None:
        channel = self._channels.get(name)
        if channel is not None and wake in channel.wakes:
            wake(None)

    def _leave(self, name: bytes, wake: Wake) -> None:
        channel = self._channels.get(name)
        if channel is None or wake not in channel.wakes:
            return
        channel.wakes.remove(wake)
        if channel.wakes:
            return
        del self._channels[name]
        self._unplaced.pop(name, None)
        self._take_from_subscription(name)
        if not self._channels:
            self._end_all()

    def _take_from_subscription(self, name: bytes) -> Subscription | None:
        """One that has no channels any more is ended."""
        subscription = self._placed.pop(name, None)
        if subscription is not None:
            subscription.remove(name)
            known = self._subscriptions.get(subscription.server)
            if not subscription.names and known is not None and known[0] is subscription:
                del self._subscriptions[subscription.server]
                self._end(known[1])
        return subscription

    def _lose(self, name: bytes) -> None:
        if name in self._channels:
            self._channels[name].is_live = False
            self._unplaced[name] = None
            self._place_soon()

    def _place_soon(self) -> None:
        if self._placing is not None or self._closed:
            return
        loop = asyncio.get_running_loop()
        if self._next_unplaced():
            self._placing = loop.create_task(self._place_all())
            self._placing.add_done_callback(self._placed_all)
        elif self._unplaced and self._alarm is None:
            self._alarm = loop.call_later(ASK_AGAIN, self._ask_again)

    def _placed_all(self, placing: asyncio.Task[None]) -> None:
        if self._placing is placing:
            self._placing = None
        if not placing.cancelled():
            placing.result()
            self._place_soon()

    def _ask_again(self) -> None:
        self._alarm = None
        self._place_soon()

    async def _place_all(self) -> None:
        while names := self._next_unplaced():
            if self._failures:
                longest = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(self._failures, 10))
                await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - jitter
            try:
                await self._place(names)
            except StoreError:
                self._failures += 1

    async def _place(self, names: list[bytes]) -> None:
        """Ask a server how to listen, and whether that is allowed; then subscribe. Raises StoreError."""
        kinds = {self._is_desk(name): name for name in names}
        replies = await self._executor.run_all("watch", [check_channel(name) for name in kinds.values()])
        for is_desk, (command, is_allowed) in zip(kinds, replies, strict=True):
            if not is_allowed:
                self._deny(is_desk=is_desk)
                continue
            self._denied.pop(is_desk, None)
            for name in names:
                if self._is_desk(name) is is_desk and name in self._unplaced:
                    server = self._topology.server_of(PlainCommand((b"", name), integer))
                    if server is None:
                        self._failures += 1  # it is asked for in the next round
                        break
                    self._subscribe(name, server, command)

    def _subscribe(self, name: bytes, server: PipelinedConnection, command: bytes) -> None:
        del self._unplaced[name]
        known = self._subscriptions.get(server)
        if known is not None:
            subscription = known[0]
        else:
            subscription = Subscription(server, command, self)
            task = asyncio.get_running_loop().create_task(subscription.run())
            self._subscriptions[server] = subscription, task
            task.add_done_callback(partial(self._lost, subscription))
        self._placed[name] = subscription
        subscription.add(name)

    def _lost(self, subscription: Subscription, task: asyncio.Task[None]) -> None:
        """Its connection is gone."""
        if task.cancelled():
            return
        task.exception()  # whatever it was, the next connection is tried
        self._failures += 1
        known = self._subscriptions.get(subscription.server)
        if known is not None and known[0] is subscription:
            del self._subscriptions[subscription.server]
        for name in subscription.names:
            if self._placed.get(name) is subscription:
                del self._placed[name]
                self._lose(name)

    def _keys_of(self, session_id: str | None) -> tuple[bytes, ...]:
        """What the poll reads."""
        if session_id is None:
            return ()
        own = self._keys.session(session_id)
        return own.meta, own.history, self._keys.draft(session_id)

    def _is_desk(self, name: bytes) -> bool:
        return name == self._keys.desk_feed()

    def _is_denied(self, name: bytes) -> bool:
        return self._denied.get(self._is_desk(name), 0.0) > asyncio.get_running_loop().time()

    def _next_unplaced(self) -> list[bytes]:
        return [name for name in self._unplaced if not self._denied or not self._is_denied(name)]

    def _deny(self, *, is_desk: bool) -> None:
        """Say so once, and ask again after a while."""
        if not self._has_warned:
            self._has_warned = True
            self._executor.hooks.endangered("notifications", _DENIED)
        self._denied[is_desk] = asyncio.get_running_loop().time() + ASK_AGAIN

    def _end_all(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        tasks: list[Any] = [self._placing, self._polling, *(task for _, task in self._subscriptions.values())]
        self._placing = self._polling = self._alarm = None
        self._subscriptions.clear()
        self._placed.clear()
        self._unplaced.clear()
        for task in tasks:
            if task is not None:
                self._end(task)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()
