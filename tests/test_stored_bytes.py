"""The stored bytes are a public interface: golden values, to be changed only with a new major release."""

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, structs

from chat_session import DeskStatus, Message, Session, TurnLost
from chat_session.clock import from_iso
from chat_session.message import UNLIMITED, check_message
from chat_session.storage.codec import decode_message, encode_message, encode_tombstone, make_tombstone
from chat_session.storage.redis.codec import decode_meta, encode_meta
from chat_session.storage.redis.keys import BUCKETS, Keys, due_member, parse_due_member
from testkit.backends import ServerBackend
from testkit.present import present

MOMENT = from_iso("2026-01-31T08:00:00.123Z")


def test_the_keys_of_both_layouts() -> None:
    assert Keys().session("a1") == (b"session:a1:meta", b"session:a1:agent", b"session:a1:history", b"session:a1:ids")
    tagged = Keys("app:", "tagged")
    assert tagged.session("a1").meta == b"app:session:{a1}:meta"
    assert Keys().user("客服:1") == "user:客服:1:sessions".encode()
    assert Keys().due("a1") == b"sessions:due:3"
    assert len({Keys().due(str(i)) for i in range(1000)}) == BUCKETS["plain"] == 16
    assert len({tagged.due(str(i)) for i in range(10_000)}) == BUCKETS["tagged"] == 256
    assert due_member("a1", "x:y/z") == b"a1/x:y/z"
    assert parse_due_member(b"a1/x:y/z") == ("a1", "x:y/z")
    for stray in (b"a1", b"/u", b"a1\xff/u", b"a*/u"):
        assert parse_due_member(stray) is None
    for keys, key in itertools.product((Keys(), tagged), ("meta", "agent", "history", "ids")):
        assert keys.parse_session_id(getattr(keys.session("a1"), key)) == "a1"
    assert (Keys().draft("a1"), tagged.draft("a1")) == (b"session:a1:draft", b"app:session:{a1}:draft")
    for keys in (Keys(), tagged):
        assert keys.parse_session_id(keys.draft("a1")) == "a1"
    for stranger in (b"session:a1:other", b"session:", b"session", b"x"):
        assert Keys().parse_session_id(stranger) is None


def test_a_message_element() -> None:
    full = Message(
        id='m"1', sender="user", text="你好 \u2028 \x00", timestamp=MOMENT, type="text", extra={"n": [1.0, None]}
    )
    element = encode_message(check_message(full, UNLIMITED))
    expected = '{"id":"m\\"1","from":"user","text":"你好 \u2028 \\u0000","timestamp":"2026-01-31T08:00:00.123Z",'
    assert element.json.decode() == expected + '"type":"text","n":[1.0,null]}'
    assert element.id == b'm\\"1'
    assert element.fingerprint == b"006a8f61b21d82948e0aaef8"
    stamped = encode_message(check_message({"id": "m", "from": "user", "text": "x"}, UNLIMITED))
    assert re.fullmatch(rb'\{"id":"m","from":"user","text":"x","timestamp":"[-0-9T:.]+Z"\}', stamped.json)
    assert stamped.fingerprint == b"5c8c089558f9b256"
    assert decode_message(element.json, 1) == structs.replace(full, seq=1)


@pytest.mark.parametrize(
    ("fields", "fingerprint"),
    [  # as versions without these fields wrote them: a webhook that they stored stays a duplicate
        ({"id": "m", "from": "user", "text": "x"}, b"5c8c089558f9b256"),
        ({"id": "m", "from": "user", "text": "x", "timestamp": MOMENT}, b"5c8c089558f9b2568e0aaef8"),
        (
            {"id": "m", "from": "tool", "text": '漢 \u2028 "\\ \x00', "type": "text", "timestamp": MOMENT},
            b"545f2616755e0c638e0aaef8",
        ),
        (
            {"id": '漢"', "from": "operator", "text": "", "type": "漢", "b": 1, "a": [1.0, None, {"z": 1, "y": "é"}]},
            b"c82c4218c440ac00",
        ),
        (
            {"id": "m", "from": "assistant", "text": "x", "Internal": True, "from2": "y", "timestamp": MOMENT},
            b"b613b2d4566832688e0aaef8",
        ),
        ({"id": "m", "from": "system", "text": "x" * 1000, "zz": {"": 0}}, b"fd28c067bf126db4"),
    ],
)
def test_a_message_without_the_fields_for_agents_has_the_fingerprint_that_it_always_had(
    fields: dict[str, Any], fingerprint: bytes
) -> None:
    assert encode_message(check_message(fields, UNLIMITED)).fingerprint == fingerprint


def test_an_element_with_the_fields_for_agents() -> None:
    full = Message(
        id="m",
        sender="tool",
        text="x",
        timestamp=MOMENT,
        type="t",
        format="openai.item/1",
        author="Anna",
        calls=("a", "漢"),
        answers=("b",),
        tokens=7,
        content=Raw(b'{"n": 1e400}'),
        internal=True,
        extra={"more": [1]},
    )
    element = encode_message(check_message(full, UNLIMITED))
    begin = '{"id":"m","from":"tool","text":"x","timestamp":"2026-01-31T08:00:00.123Z","type":"t"'
    agent = ',"format":"openai.item/1","author":"Anna","calls":["a","漢"],"answers":["b"],"tokens":7'
    assert element.json.decode() == begin + agent + ',"content":{"n": 1e400},"more":[1],"internal":true}'
    assert element.fingerprint == b"86c25d6586a60b208e0aaef8"
    assert decode_message(element.json, 1) == structs.replace(full, seq=1)
    plain = encode_message(check_message(structs.replace(full, extra={}), UNLIMITED))
    assert plain.json.decode() == begin + agent + ',"content":{"n": 1e400},"internal":true}'
    assert plain.fingerprint == b"d8c5d53c861d45fc8e0aaef8"


def test_a_tombstone() -> None:
    message = Message(id='m"', sender="user", text="secret", timestamp=MOMENT, content=[1], seq=7, extra={"a": 1})
    begin = b'{"id":"m\\"","from":"user","text":"","timestamp":"2026-01-31T08:00:00.123Z"'
    assert encode_tombstone(message) == begin + b',"type":"retracted"}'
    internal = encode_tombstone(structs.replace(message, internal=True))
    assert internal == begin + b',"internal":true,"type":"retracted"}'
    for element in (encode_tombstone(message), internal):
        left = decode_message(element, 7)
        assert encode_tombstone(left) == encode_message(check_message(left, UNLIMITED)).json == element
        assert left == make_tombstone(structs.replace(message, internal=left.internal))


SESSION = Session(
    session_id="a1",
    user_id="user:1",
    created_at=MOMENT,
    last_active_at=MOMENT,
    current_agent="human",
    agent_switched_at=MOMENT,
    agent_epoch=3,
    message_count=7,
    ttl=None,
    desk=DeskStatus(state="assigned", since=MOMENT, waiting_since=MOMENT),  # by an operator who is not known
    metadata={"name": "客服", "digits": "12", "count": 12, "ratio": 1.0, "flag": True, "none": None, "list": ["a"]},
)
META = {
    "userId": "user:1",
    "sessionId": "a1",
    "createdAt": "2026-01-31T08:00:00.123Z",
    "lastActiveAt": "2026-01-31T08:00:00.123Z",
    "currentAgent": "human",
    "ttl": "-1",
    "agentEpoch": "3",
    "messageCount": "7",
    "agentSwitchedAt": "2026-01-31T08:00:00.123Z",
    "name": "客服",
    "digits": '"12"',
    "count": "12",
    "ratio": "1.0",
    "flag": "true",
    "none": "null",
    "list": '["a"]',
}


def test_the_meta_hash() -> None:
    encoded = encode_meta(SESSION)
    assert {name: value.decode() for name, value in encoded.items()} == META
    assert decode_meta(b"k", {name.encode(): value for name, value in encoded.items()}, 60) == SESSION


def test_the_facts_of_the_desk() -> None:
    reason = 'Geld\n"'
    waiting = DeskStatus(state="waiting", since=MOMENT, waiting_since=MOMENT, reason=reason, priority=3, team="账单")
    encoded = encode_meta(structs.replace(SESSION, desk=waiting))
    assert encoded["cs:desk"].decode() == (
        '{"stamp":34156800123000,"epoch":3,"state":"waiting","since":34156800123000,"waitingSince":34156800123000,'
        '"asked":true,"reason":"Geld\\n\\"","priority":3,"team":"账单"}'
    )
    decoded = decode_meta(b"k", {name.encode(): value for name, value in encoded.items()}, 60)
    assert decoded is not None
    assert decoded.desk == waiting


def test_a_session_of_another_program_may_lack_our_fields() -> None:
    fields = {b"userId": b"u", b"sessionId": b"s", b"createdAt": b"2025-06-09T08:00:00.000Z", b"name": b"x"}
    session = decode_meta(b"k", fields, 60)
    assert session is not None
    assert (session.ttl, session.agent_epoch, session.message_count, session.current_agent) == (60, 0, 0, "ai")
    assert session.last_active_at == session.created_at
    assert session.metadata == {"name": "x"}
    foreign = b'{"id":"m","from":"user","text":"x","timestamp":"2026-01-01T00:00:00Z","seq":7,"more":1}'
    assert (decode_message(foreign, 3).seq, decode_message(foreign, 3).extra) == (3, {"more": 1})


async def test_the_bytes_in_redis(redis_backend: ServerBackend) -> None:
    async with redis_backend.open(max_message_history=2) as manager:
        await manager.create_session("u", {"a": 1}, session_id="s", ttl=600)
        for i in range(3):
            message = {"id": f"m{i}", "from": "user", "text": str(i), "timestamp": "2026-01-31T08:00:00Z"}
            await manager.add_message("s", message)
        await manager.switch_agent("s", "human")
        with redis_backend.server.client() as client:
            keys = {"session:s:meta", "session:s:agent", "session:s:history", "session:s:ids", "user:u:sessions"}
            assert {key.decode() for key in client.scan_iter()} == keys | {Keys().due("s").decode()}
            assert client.get("session:s:agent") == b"human"
            elements = [
                b'{"id":"m%d","from":"user","text":"%d","timestamp":"2026-01-31T08:00:00.000Z"}' % (i, i)
                for i in (1, 2)
            ]
            assert client.lrange("session:s:history", 0, -1) == elements
            ids = client.hgetall("session:s:ids")
            assert sorted(ids) == [b"m1", b"m2"]
            assert re.fullmatch(rb"2:[0-9a-f]{24}", ids[b"m1"])
            meta = client.hgetall("session:s:meta")
            assert re.fullmatch(rb"[A-Za-z0-9_-]{8}", meta[b"cs:created"])
            assert re.fullmatch(rb"[A-Za-z0-9_-]{8}\.1 \d{13} 1 0;", meta[b"cs:done"])
            assert (meta[b"messageCount"], meta[b"agentEpoch"], meta[b"a"]) == (b"3", b"1", b"1")
            deadlines = {client.execute_command("PEXPIRETIME", key) for key in keys - {"user:u:sessions"}}
            assert len(deadlines) == 1
            [(member, due)] = client.zrange(Keys().due("s"), 0, -1, withscores=True)
            assert member == b"s/u"
            assert due <= deadlines.pop()
            created = present(await manager.get_session("s")).created_at.timestamp() * 1_000_000
            [(listed, position)] = client.zrange("user:u:sessions", 0, -1, withscores=True)
            assert (listed, position) == (b"s", pytest.approx(created, abs=1000))


async def test_the_bytes_of_a_turn_in_redis(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600, turns=True)
        await manager.switch_agent("s", "human")
        await manager.switch_agent("s", "ai")
        await manager.add_message("s", {"from": "user", "text": "x"})
        with redis_backend.server.client() as client:

            def marks() -> list[bytes | None]:
                return [client.hget("session:s:meta", name) for name in ("cs:turns", "cs:customer", "cs:answered")]

            async with manager.turn("s", lease=60) as turn:
                assert marks() == [b"1", b"1", None]
                assert re.fullmatch(rb"[A-Za-z0-9_-]{12} \d{13} 2", client.hget("session:s:meta", "cs:turn"))
                assert await manager.pending_turns() == []
                [(member, due)] = client.zrange(Keys().turns("s"), 0, -1, withscores=True)
                seconds, _ = client.time()
                assert (member, due) == (b"s", pytest.approx(seconds * 1000 + 5_000, abs=2_000))
                await turn.reply("y")
                assert marks() == [b"1", b"1", b"2"]
            assert re.fullmatch(rb"[A-Za-z0-9_-]{12} 0 released", client.hget("session:s:meta", "cs:turn"))
            with pytest.raises(TurnLost):
                async with manager.turn("s"):
                    await manager.stop_turn("s")
            assert re.fullmatch(rb"[A-Za-z0-9_-]{12} 0 stopped", client.hget("session:s:meta", "cs:turn"))


async def test_the_remembered_calls_are_dropped_after_a_minute_and_only_then(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with redis_backend.server.client() as client:
            seconds, microseconds = client.time()
            now = seconds * 1000 + microseconds // 1000
            aged = [f"anothers.{i} {now - 60_001} {i} 0;" for i in range(59)]
            client.hset("session:s:meta", "cs:done", "".join([*aged, f"anothers.59 {now} 59 0;"]))
            await manager.switch_agent("s", "human")
            kept = client.hget("session:s:meta", "cs:done").decode().split(";")
            assert kept[0] == f"anothers.59 {now} 59 0"
            assert len(kept) == 3


_ODD_VALUES = st.sampled_from(
    [
        *(b"null", b"true", b"0", b"-1", b"1e999", b"1" * 5000, b"[]", b"{}"),
        *(b'""', b'"\\ud800"', b'"\xff"', b'"user"'),
        *(b'"0001-01-01T00:00:00+05:00"', b'"9999-12-31T23:59:59-05:00"', b'"2026-01-31T08:00:00+24:00"', b'"x"'),
        *(b'"2026-01-31T08:00:00"', b'"2026-01-31"', b'"2026-W05-6"', b'"0000-00-00T00:00:00Z"', b"[" * 2000),
    ]
)
_NAMES = st.sampled_from([b'"id"', b'"from"', b'"text"', b'"timestamp"', b'"type"', b'"seq"', b'"more"', b'"\xff"'])
_ELEMENTS = st.one_of(
    st.binary(max_size=60),
    st.lists(st.tuples(_NAMES, _ODD_VALUES), max_size=7).map(
        lambda fields: b'{"id":"m","from":"user","text":"x"' + b"".join(b",%b:%b" % field for field in fields) + b"}"
    ),
)


@given(stored=_ELEMENTS)
@settings(max_examples=500, deadline=None)
def test_an_element_of_any_bytes_is_a_message_or_an_unreadable_one(stored: bytes) -> None:
    message = decode_message(stored, 7)
    assert message.seq == 7
    json.dumps(message.to_dict())
    assert decode_message(stored, 7) == message
