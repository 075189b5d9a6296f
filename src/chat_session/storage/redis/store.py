"""The store on Redis and Valkey, put together from its parts."""

from functools import partial
from typing import Any, Self

from chat_session.errors import SettingsError
from chat_session.storage.redis.codec import encode_ttl
from chat_session.storage.redis.desk.entries import DeskEntries
from chat_session.storage.redis.desk.steps import SessionSteps
from chat_session.storage.redis.desk.store import RedisDesk
from chat_session.storage.redis.desk.unchecked import UncheckedSessions
from chat_session.storage.redis.doctor import Doctor
from chat_session.storage.redis.feed.store import RedisFeed
from chat_session.storage.redis.index.cluster import ClusterIndex
from chat_session.storage.redis.index.entries import Index
from chat_session.storage.redis.index.server import ServerIndex
from chat_session.storage.redis.keys import Keys, expected_type
from chat_session.storage.redis.net.cluster import Cluster
from chat_session.storage.redis.net.executor import CommandExecutor, RetryPolicy
from chat_session.storage.redis.net.opening import Opener
from chat_session.storage.redis.net.topology import Topology
from chat_session.storage.redis.operator import RedisOperator
from chat_session.storage.redis.options import RedisOptions
from chat_session.storage.redis.replies import RedisReplies
from chat_session.storage.redis.server_checks import warn_of_settings
from chat_session.storage.redis.sessions import RedisSessions
from chat_session.storage.redis.state import RedisState
from chat_session.storage.redis.turn_entries import TurnEntries
from chat_session.storage.redis.turns import RedisTurns
from chat_session.storage.redis.unfound_turns import UnfoundTurns
from chat_session.telemetry.hooks import Hooks


class RedisStore:
    """Sessions on one Redis server, behind Sentinel, or on a cluster."""

    def __init__(self, topology: Topology, retry_policy: RetryPolicy, options: RedisOptions, hooks: Hooks) -> None:
        on_cluster = isinstance(topology, Cluster)
        keys = Keys(options.key_prefix, options.key_layout or ("tagged" if on_cluster else "plain"))
        if on_cluster and keys.layout == "plain":
            raise SettingsError(
                "KEY_LAYOUT",
                "The value cannot be plain on a cluster, where the keys of a session must share a hash slot.",
            )
        self._executor = CommandExecutor(
            topology, retry_policy, hooks, startup_check=warn_of_settings, expected_type=expected_type
        )
        index: Index = (ClusterIndex if on_cluster else ServerIndex)(self._executor, keys, options.desk.waiting_ttl)
        default_ttl = encode_ttl(options.default_ttl)
        turn_entries = TurnEntries(self._executor, keys)
        entries = DeskEntries(self._executor, keys, options.desk)
        self._creations = entries.creations
        common: Any = {"on_cluster": on_cluster, "default_ttl": default_ttl, "max_history": options.max_history}
        steps = SessionSteps(
            self._executor, keys, index, entries, turn_entries, presence_ms=options.desk.presence_ms, **common
        )
        self.sessions = RedisSessions(self._executor, keys, index, steps, **common)
        self.turns = RedisTurns(
            self._executor, keys, turn_entries, default_ttl=default_ttl, max_history=options.max_history
        )
        self.desk = RedisDesk(self._executor, keys, entries, steps, options.desk)
        self.feed = RedisFeed(self._executor, topology, keys, default_ttl=default_ttl)
        self.replies = RedisReplies(
            self._executor, keys, self.turns, default_ttl=default_ttl, max_history=options.max_history
        )
        self.state = RedisState(self._executor, keys)
        unchecked = UncheckedSessions(self._executor, keys, entries)
        unfound = UnfoundTurns(self._executor, keys, turn_entries)
        new_doctor = partial(Doctor, self._executor, keys, index, unchecked, unfound, default_ttl)
        self.operator = RedisOperator(self._executor, keys, index, new_doctor, default_ttl=default_ttl)

    @classmethod
    def open(cls, options: RedisOptions, hooks: Hooks) -> Self:
        """On the servers that the options name. Nothing connects yet. Raises SettingsError."""
        opener = Opener(options.connection, hooks)
        return cls(opener.open(), opener.retry_policy, options, hooks)

    @classmethod
    def adopt(cls, client: object, options: RedisOptions, hooks: Hooks) -> Self:
        """On the servers of a client, whatever its decoding, protocol and retries; it stays its owner's."""
        opener = Opener(options.connection, hooks)
        return cls(opener.adopt(client), opener.retry_policy, options, hooks)

    async def close(self) -> None:
        await self._creations.close()
        await self.feed.close()
        await self._executor.close()
