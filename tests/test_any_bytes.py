"""Any bytes in any of our keys: each call ends with a result or an error of the package, in scripts as in Python."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_session import Desk
from testkit.backends import ServerBackend, StartBackend
from testkit.every_call import make_every_call

FIELDS = [b"userId", b"sessionId", b"createdAt", b"lastActiveAt", b"currentAgent", b"agentSwitchedAt", b"ttl"]
FIELDS += [b"agentEpoch", b"messageCount", b"cs:created", b"cs:done", b"cs:desk", b"color", b"\xff"]
FIELDS += [b"cs:turns", b"cs:turn", b"cs:customer", b"cs:answered"]
NUMBERS = [b"nan", b"inf", b"1e309", b"1e3", b"0x10", b"1.0", b" 1", b"1 ", b"-1", b"-0", b"+1", b"9" * 5000, b""]
NUMBERS += [b"9007199254740991", b"9007199254740992", b"0", b"00", "\u0661".encode(), b"1_0", b"\xff"]
MOMENTS = [b"0001-01-01T00:00:00+05:00", b"9999-12-31T23:59:59-05:00", b"2026-01-31T08:00:00.000Z", b"yesterday"]
MESSAGES = [
    b'{"id":"m","from":"user","text":"x","timestamp":"0001-01-01T00:00:00+05:00"}',
    b'{"id":"m","from":["user"],"text":"x"}',
    b'{"id":"m","from":"user","text":"\\ud800"}',
    b"[" * 5000,
    b'{"id":1e999}',
    b"null",
]
FACTS = [
    b'{"stamp":5,"epoch":0,"state":"waiting","waitingSince":1}',
    b'{"stamp":%s,"state":"assigned","since":9,"waitingSince":7,"operator":"o","presence":1}' % (b"9" * 16),
    b'{"stamp":5,"ownTtl":600,"deskTtl":604800,"epoch":0,"state":"waiting","since":1,"waitingSince":1,"team":"t"}',
    b'{"stamp":-1}',
    b'{"stamp":5,"ownTtl":99999999999999999999,"deskTtl":1}',
    b'{"stamp":1,"state":"waiting","since":999999999999999999}',
]
PLACE = b"0000000000000005"
ENTRIES = [b"5 waiting %s\nt\n\n%s" % (PLACE, FACTS[0]), b"5 assigned %s\nt\no\n%s" % (PLACE, FACTS[1])]
ENTRIES += [b"5 waiting 5\n\n\n", b"9" * 5000 + b" open 0\n\n\n{}", "\u00b2 waiting 5\n\n\n".encode(), b"5 open 1\n\n"]
RECORDS = [b"1 -1 1 0", b"1 5 1 %s" % (b"9" * 30), b"0 0 0 0", b"1 5 1", b"-1 -2 7 x", b"%s -1 1 1" % (b"9" * 5000)]
COUNTED = ["\u00b2:requests".encode(), b"9" * 5000 + b":lapses", b"5:wait:x", b"5", b":"]
TURNS = [
    b"a 0 released",
    b"a 0 stopped",
    b"a %s 0" % (b"9" * 13),
    b"a %s 0" % (b"9" * 400),
    b"a -5 0",
    b"a 5 nan",
    b"a",
]
BYTES = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(NUMBERS + MOMENTS + MESSAGES + FACTS + ENTRIES + RECORDS + TURNS + [b"ai", b"human", b"u", b"s"]),
)
SCORES = st.sampled_from([float("-inf"), -1.0, 0.0, 0.5, 1e12 + 0.25, 1.8e12, 1e300, float("inf")])
LINES = [b"t\n%s\ns" % PLACE, b"t\ns", b"\n\n", b"o\ns", b"o\n\xff", b"t\n5\ns\n", b"o", b"p"]
MEMBERS = st.one_of(
    BYTES,
    st.sampled_from(LINES),
    st.sampled_from([b"s", b"s/u", b"s/", b"/u", b"s/v", b"t/u", b"s:u", b"s/\xff", b"\xff/u"]),
)
HASH = st.tuples(
    st.just("hset"),
    st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.sampled_from(COUNTED), BYTES), BYTES, min_size=1, max_size=5),
)
KNOWN = st.tuples(
    st.just("hset"),
    st.dictionaries(st.sampled_from([b"s", b"o", b"p", b"\xff"]), st.sampled_from(ENTRIES + RECORDS), min_size=1),
)
LIST = st.tuples(st.just("rpush"), st.lists(BYTES, min_size=1, max_size=4))
SORTED = st.tuples(st.just("zadd"), st.dictionaries(MEMBERS, SCORES, min_size=1, max_size=4))
STRING = st.tuples(st.just("set"), BYTES)
IDS = st.tuples(st.just("hset"), st.dictionaries(st.sampled_from([b"m", b"n", b"\xff"]), BYTES, min_size=1, max_size=2))
OF_THE_DESK = [
    "queue",
    "teams",
    "entries",
    "seats",
    "claims",
    "leases",
    "presence",
    "operators",
    "lapsed",
    "idle",
    "counts",
]
NAMES = st.sampled_from(
    ["meta", "agent", "history", "ids", "user", "due", "other bucket", "check", "turns", *OF_THE_DESK]
)
FITTING = {"meta": HASH, "agent": STRING, "history": LIST, "ids": IDS, "user": SORTED, "counts": HASH}
FITTING |= {"entries": KNOWN, "operators": KNOWN, "claims": KNOWN}


@st.composite
def damages(draw: Any) -> list[tuple[str, Any]]:
    """What is written into which key: mostly a value of the right type, sometimes of a wrong one."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    found = []
    for name in names:
        fitting = FITTING.get(name, SORTED)
        found.append((name, draw(st.one_of(fitting, fitting, fitting, HASH, LIST, SORTED, STRING))))
    return found


def damage(client: Any, keys: Any, name: str, write: tuple[str, Any]) -> None:
    own, index = keys.session("s"), keys.entries("s", "u")
    buckets = keys.due_buckets()
    other = buckets[(buckets.index(index.due.key) + 1) % len(buckets)]
    desk = {**keys.desk()._asdict(), "check": keys.check("s"), "turns": keys.turns("s")}
    key = {**own._asdict(), **desk, "user": index.user.key, "due": index.due.key, "other bucket": other}[name]
    command, value = write
    wanted = {"hset": b"hash", "rpush": b"list", "zadd": b"zset", "set": b"string"}[command]
    if client.type(key) not in (wanted, b"none"):
        client.delete(key)
    match command:
        case "hset":
            client.hset(key, mapping=value)
        case "rpush":
            client.rpush(key, *value)
        case "zadd":
            client.zadd(key, value)
        case "set":
            client.set(key, value)


@pytest.mark.parametrize("name", ["redis", "lua54"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage_done=damages(), waits=st.booleans())
def test_any_bytes_in_any_key_give_a_result_or_an_error_of_the_package(
    start: StartBackend, name: str, damage_done: Any, waits: bool
) -> None:
    backend = start(name)
    backend.clear()

    async def run() -> None:
        async with backend.open() as manager:
            await manager.create_session("u", session_id="s", ttl=600, turns=True)
            await manager.add_message("s", {"id": "m", "from": "user", "text": "x"})
            if waits:
                await Desk(manager).request_human("s", team="t")
            with backend.server.client() as client:
                for key, write in damage_done:
                    damage(client, backend.keys, key, write)
        await make_every_call(backend.url, store_timeout=5.0)

    try:
        asyncio.run(run())
    finally:
        backend.clear()


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: repr(number[:20]))
@pytest.mark.parametrize("field", ["ttl", "agentEpoch", "messageCount"])
async def test_scripts_and_python_agree_on_what_is_a_number(
    redis_backend: ServerBackend, field: str, number: bytes
) -> None:
    """A number is digits and nothing else. What one of them reads or refuses, the other reads or refuses, too."""
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with redis_backend.server.client() as client:
            client.hset("session:s:meta", field, number)
        read = await outcome(manager.get_session("s"))
        written = await outcome(manager.extend_session("s"))
        assert read == written
        if number != b"9007199254740991":  # which leaves no room for one more
            assert await outcome(manager.add_message("s", {"from": "user", "text": "x"})) == written
        if field != "ttl":
            assert await outcome(manager.stop_turn("s")) == written
        if field == "messageCount":
            assert await outcome(manager.get_history("s")) == read
            assert await outcome(manager.get_history("s", after=0)) == read


async def outcome(call: Any) -> str:
    try:
        await call
    except Exception as error:  # its class is compared
        return type(error).__name__
    return "read"
