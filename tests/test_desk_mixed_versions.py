"""A process of an older release, which knows no desk, on the same data. Here it is played by its commands."""

from datetime import UTC, datetime

import redis

from chat_session import Desk, Session, SessionManager
from testkit.backends import ServerBackend
from testkit.present import present


class OlderProcess:
    """Does what an older release does to the session "s"."""

    def __init__(self, client: redis.Redis, backend: ServerBackend) -> None:
        self._client = client
        self._keys = backend.keys.session("s")

    def switch_agent(self, agent: str) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        with self._client.pipeline() as step:
            step.set(self._keys.agent, agent, keepttl=True)
            step.hset(self._keys.meta, mapping={"currentAgent": agent, "agentSwitchedAt": moment})
            step.hincrby(self._keys.meta, "agentEpoch", 1)
            step.execute()

    def append(self) -> None:
        """It slides the deadline by the ttl that is stored."""
        ttl = int(self._client.hget(self._keys.meta, "ttl") or 0)
        with self._client.pipeline() as step:
            step.rpush(self._keys.history, '{"id":"old","from":"user","text":"Hello?"}')
            step.hincrby(self._keys.meta, "messageCount", 1)
            for key in self._keys:
                step.pexpire(key, ttl * 1000)
            step.execute()

    def set_ttl(self, ttl: int) -> None:
        with self._client.pipeline() as step:
            step.hset(self._keys.meta, "ttl", ttl)
            for key in self._keys:
                step.pexpire(key, ttl * 1000)
            step.execute()


async def test_a_session_of_an_older_release_is_open(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s")
        with redis_backend.server.client() as client:
            OlderProcess(client, redis_backend).append()
        assert (await _read(manager)).desk.state == "open"
        assert (await Desk(manager).request_human("s")).place == 1


async def test_a_switch_by_an_older_process_is_a_takeover_by_an_unknown_operator(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        desk = Desk(manager)
        await manager.create_session("u", session_id="s")
        await desk.request_human("s", team="billing")
        with redis_backend.server.client() as client:
            OlderProcess(client, redis_backend).switch_agent("human")
        session = await _read(manager)
        assert (session.desk.state, session.desk.operator_id) == ("assigned", None)
        assert session.desk.since == session.agent_switched_at
        assert await desk.claim_next("anna") is None
        assert await desk.waiting() == []
        assert (await desk.take_over("s", "anna")).desk.operator_id == "anna"


async def test_a_switch_by_an_older_process_is_a_hand_back(redis_backend: ServerBackend) -> None:
    """What it left undone, a check does: the seat, and the session's own ttl."""
    async with redis_backend.open() as manager:
        desk = Desk(manager)
        await manager.create_session("u", session_id="s", ttl=60)
        await desk.take_over("s", "anna")
        with redis_backend.server.client() as client:
            OlderProcess(client, redis_backend).switch_agent("ai")
            assert (await _read(manager)).desk.state == "open"
            client.zadd(redis_backend.keys.check("s"), {"s": 1})  # the check is due
        await manager.cleanup_expired_sessions()
        assert await desk.assigned("anna") == []
        assert await manager.get_session_ttl("s") <= 60


async def test_an_append_by_an_older_process_does_not_shorten_the_life_of_a_waiting_session(
    redis_backend: ServerBackend,
) -> None:
    async with redis_backend.open(waiting_ttl=5000) as manager:
        await manager.create_session("u", session_id="s", ttl=60)
        await Desk(manager).request_human("s")
        with redis_backend.server.client() as client:
            OlderProcess(client, redis_backend).append()
        assert await manager.get_session_ttl("s") == 5000
        assert (await _read(manager)).ttl == 60


async def test_a_ttl_that_an_older_process_sets_meanwhile_is_kept(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        desk = Desk(manager)
        await manager.create_session("u", session_id="s", ttl=60)
        await desk.take_over("s", "anna")
        with redis_backend.server.client() as client:
            OlderProcess(client, redis_backend).set_ttl(120)
        assert (await desk.hand_back("s", "anna")).ttl == 120
        assert 60 < await manager.get_session_ttl("s") <= 120


async def _read(manager: SessionManager) -> Session:
    return present(await manager.get_session("s"))
