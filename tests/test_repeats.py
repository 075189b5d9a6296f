"""Calls that are repeated after a lost reply. All calls of a round trip are repeated together."""

from hashlib import sha1
from typing import Any

import pytest

from chat_session import SessionManager, StoreUnavailable
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.scripts.sessions import replace_elements, switch_agent
from chat_session.storage.redis.tokens import Tokens
from testkit.backends import ServerBackend
from testkit.fault_proxy import open_proxies
from testkit.present import present

NOW = "2026-01-31T08:00:00.000Z"


def switch(token: str) -> Call[Any]:
    keys = Keys().session("s")
    facts: dict[str, Any] = {"now": NOW, "default_ttl": 600, "max_history": 100, "expect": None, "elements": []}
    return switch_agent("s", keys, new_agent="human", token=token, answered_below=0, **facts)


@pytest.mark.parametrize("calls", [40, 256])
async def test_switches_that_share_a_round_trip_and_are_repeated_together_count_once(
    redis_backend: ServerBackend, calls: int
) -> None:
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with redis_backend.server.client() as client:
            for _ in range(2):
                batch = client.pipeline(transaction=False)
                for i in range(calls):
                    batch.execute_command(*switch(f"manager.{i}").as_eval())
                assert [reply[1] for reply in batch.execute()] == list(range(1, calls + 1))
        assert present(await manager.get_session("s")).agent_epoch == calls


async def test_sixty_four_pops_that_share_a_round_trip_and_are_repeated_together_take_sixty_four_messages(
    redis_backend: ServerBackend,
) -> None:
    messages = [{"id": f"m{i}", "from": "user", "text": "hello"} for i in range(1, 101)]
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        await manager.add_messages("s", messages)
        with redis_backend.server.client() as client:
            elements = client.lrange("session:s:history", 0, -1)
            pops = [pop(seq, elements[seq - 1], newest=100) for seq in range(100, 36, -1)]
            for _ in range(2):
                batch = client.pipeline(transaction=False)
                for each in pops:
                    batch.execute_command(*each.as_eval())
                assert batch.execute() == [[b"OK"]] * 64
        assert [message.seq for message in await manager.get_history("s", 100)] == list(range(1, 37))
        assert present(await manager.get_session("s")).revision == 64


def pop(seq: int, element: bytes, *, newest: int) -> Call[bool]:
    tombstone = b'{"id":"m%d","from":"user","text":"","type":"retracted"}' % seq
    keys = Keys().session("s")
    facts: dict[str, Any] = {"now": NOW, "default_ttl": 600, "epoch": None, "answered_below": 0, "tag": "aa"}
    changes = [(seq, sha1(element, usedforsecurity=False).hexdigest(), tombstone)]
    return replace_elements("s", keys, newest=newest, token=f"manager.{seq}", changes=changes, **facts)


async def test_a_session_that_is_changed_too_often_says_so_and_nothing_is_written(redis_backend: ServerBackend) -> None:
    async with redis_backend.open(redis_max_retries=1, redis_retry_delay=1) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with redis_backend.server.client() as client:
            for i in range(256):
                client.execute_command(*switch(f"manager.{i}").as_eval())
            before = client.hgetall("session:s:meta")
            with pytest.raises(StoreUnavailable, match="256 changes"):
                await manager.switch_agent("s", "ai")
            assert client.hgetall("session:s:meta") == before


async def test_a_manager_that_got_its_answers_may_switch_as_often_as_it_likes(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        for i in range(600):
            await manager.switch_agent("s", "human" if i % 2 else "ai")
        with redis_backend.server.client() as client:
            assert client.hget("session:s:meta", "cs:done").count(b";") == 1
        assert present(await manager.get_session("s")).agent_epoch == 600


async def test_calls_that_may_still_be_under_way_are_remembered_although_later_ones_were_answered() -> None:
    tokens = Tokens()
    first, second = tokens.take(), tokens.take()
    tokens.answered(second)
    assert tokens.take().answered_below == first.number
    tokens.lost()
    later = tokens.take()
    assert later.text.partition(".")[0] != first.text.partition(".")[0]
    tokens.answered(first)
    assert tokens.take().answered_below == later.number


async def test_an_update_that_compares_is_known_when_it_is_repeated(redis_backend: ServerBackend) -> None:
    async with open_proxies(redis_backend) as (url, [proxy]), SessionManager.from_url(url) as manager:
        await manager.create_session("u", {"state": "old"}, session_id="s", ttl=600)
        updated: list[bool] = []

        def lose_reply() -> str:
            """The first reply after the update, which is the update's own."""
            with redis_backend.server.client() as client:
                updated.append(client.hget("session:s:meta", "state") == b"new")
            return "reset" if updated.count(True) == 1 and updated[-1] else "pass"

        proxy.fault = lose_reply
        session = await manager.update_session("s", {"state": "new"}, expect={"state": "old"})
        assert (session.metadata, proxy.injected["reset"]) == ({"state": "new"}, 1)
