"""The poll that finds what no notification told goes on when those who listen come and go."""

from chat_session.storage.redis.feed.store import RedisFeed
from testkit.backends import ServerBackend, store_of


async def test_one_who_leaves_during_a_look_keeps_nobody_from_being_woken(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        for session_id in ("gone", "kept"):
            await manager.create_session("ann", session_id=session_id, ttl=600)
        feed: RedisFeed = store_of(manager).feed
        leave = feed.listen("gone", lambda _: None)
        woken: list[bytes | None] = []
        feed.listen("kept", woken.append)
        poller, keys = feed._hub._poller, redis_backend.keys
        channels = list(poller._channels.values())
        await poller._read([channels])
        await manager.add_message("kept", {"from": "user", "text": "x"})
        woken.clear()
        leave()
        await poller._read([channels])
        assert woken[-1:] == [None]
        await poller._read([channels[:1]])
        assert poller._channels.keys() == {keys.feed("kept")}
