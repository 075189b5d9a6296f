"""The feed of sessions on Redis. The history is the source of truth: a notification only says when to look."""

from collections.abc import Callable
from contextlib import suppress

from chat_session.errors import StoreError
from chat_session.storage.contract import Observation, Position, Wake
from chat_session.storage.redis.feed.hub import Hub
from chat_session.storage.redis.feed.observation import decode_observation
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.net.topology import Topology
from chat_session.storage.redis.scripts import feed as scripts


class RedisFeed:
    """Keeps FeedStore's promises on one Redis server or a cluster."""

    def __init__(self, executor: CommandExecutor, topology: Topology, keys: Keys, *, default_ttl: int) -> None:
        self._executor = executor
        self._topology = topology
        self._keys = keys
        self._default_ttl = default_ttl
        self._hub = Hub(executor, topology, keys)

    async def observe(self, session_id: str, position: Position, size: int) -> Observation | None:
        """One script, one round trip."""
        seq, reply_id, offset = position
        call = scripts.observe(
            session_id,
            self._keys.session(session_id),
            self._keys.draft(session_id),
            seq=seq,
            reply_id=reply_id,
            offset=offset,
            size=size,
        )
        found = await self._executor.run("observe", call)
        if found is None:
            return None
        return decode_observation(self._keys.meta(session_id), found, seq, self._default_ttl)

    def listen(self, session_id: str | None, wake: Wake) -> Callable[[], None]:
        return self._hub.listen(session_id, wake)

    async def tell(self, session_id: str, news: bytes) -> None:
        """Channels are the same in all databases of a server, so the news begin with the number of ours."""
        database = next((server.database for server in self._topology.servers()), 0)
        with suppress(StoreError):
            call = scripts.tell(self._keys.feed(session_id), news=b"%d %b" % (database, news))
            await self._executor.run("tell", call)

    async def close(self) -> None:
        await self._hub.close()
