"""Scripts under Lua 5.4. The contract runs on the backend "lua54", too; this is what it does not reach."""

import re
from typing import Any

import pytest
from redis import Redis, ResponseError

from chat_session.storage.redis.keys import Keys, due_member
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.scripts import index as scripts
from chat_session.storage.redis.scripts.sessions import set_ttl
from testkit.backends import RedisBackend, StartBackend

KEYS = Keys("", "tagged")
DUE, USER, MEMBER = KEYS.due("s"), KEYS.user("u"), due_member("s", "u")


@pytest.fixture
def lua54(start_empty: StartBackend) -> RedisBackend[Any]:
    return start_empty("lua54")


def client_of(backend: RedisBackend[Any]) -> Redis:
    return Redis.from_url(backend.url)


@pytest.mark.parametrize("script", ["return 4 / 2", "return {1, {4 / 2}}", "return redis.call('SET', KEYS[1], 4 / 2)"])
def test_a_float_that_would_leave_a_script_is_an_error(lua54: RedisBackend[Any], script: str) -> None:
    with client_of(lua54) as client, pytest.raises(ResponseError, match=r"the float 2\.0"):
        client.eval(script, 1, "k")


def test_the_scripts_of_a_cluster_answer_and_store_the_same_as_under_lua_51(lua54: RedisBackend[Any]) -> None:
    told = []
    for client in (client_of(lua54), lua54.server.client()):
        with client:
            told.append([re.sub(r"\d{13,16}", "<now>", repr(each)) for each in change_an_entry(client)])
            client.flushall()
    assert told[0] == told[1]


def change_an_entry(client: Redis) -> list[Any]:
    """Everything that writers and counts of a cluster do with an entry. Returns all replies and stored values."""
    seen = []

    def run(call: Call[Any]) -> Any:
        reply = client.execute_command(*call.as_eval())  # type: ignore[no-untyped-call]
        seen.extend([reply, client.zrange(DUE, 0, -1), client.zscore(DUE, MEMBER), client.zscore(USER, "s")])
        return reply

    def finish(begun: bytes, verdict: str) -> Any:
        return run(scripts.finish_entry(DUE, member=MEMBER, begun=begun, verdict=verdict))

    _, alone = run(scripts.begin_entry(DUE, member=MEMBER))
    finish(alone, "+inf")  # Lua 5.4 does not read this as a number
    _, one = run(scripts.begin_entry(DUE, member=MEMBER))
    _, two = run(scripts.begin_entry(DUE, member=MEMBER))
    finish(one, "+inf")
    _, score = finish(two, "")
    for verdict in ("1900000000000", "mark_dead", "reap"):
        run(scripts.change_entry(DUE, member=MEMBER, seen=score, verdict=verdict))
        score = client.zscore(DUE, MEMBER)
        score = b"" if score is None else b"%.17g" % score
    finish(one, "")
    for session_id in ("s", "t", "s"):
        run(scripts.add_entry(USER, member=session_id.encode(), created_ms=1_800_000_000_000))
    keys = KEYS.session("s")
    client.hset(keys.meta, mapping={"userId": "u"})
    run(set_ttl(keys, (), session_id="s", ttl=60, waiting_ttl=600))
    run(scripts.list_entries(USER, direction="ascending", score="", member="", limit=10))
    run(scripts.list_entries(USER, direction="descending", score="1800000000000001", member="t", limit=10))
    return seen
