"""The contract of the fields that agents need: content byte for byte, internal messages, calls and answers."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from chat_session.errors import AgentConflict, InvalidInput, MessageConflict, MessageTooLarge
from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.testing.backend import Backend

MIB = 1024 * 1024
CONTENTS = {
    "null is no content but JSON": b'{"null":null}',
    "integers beyond 2^53": b"[9007199254740993,-18446744073709551617,123456789012345678901234567890]",
    "200 levels": b'{"a":[' * 100 + b"1" + b"]}" * 100,
    "900 KiB of base64": b'"' + b"iVBORw0KGgo=" * (900 * 1024 // 12) + b'"',
    "lone surrogates": b'["\\ud800","\\udfff x","\\ud83d\\ude00"]',
    "a lone surrogate in a name": b'{"\\udead":1}',
    "numbers no double can hold": b"[1e400,-1e-400,0.1000000000000000055511151231257827,-0.0,1E+2]",
    "names given twice": b'{"a":1,"a":2,"":3,"":4}',
    "white space inside": b'{ "a" :\t[ 1 ,\r\n 2 ] }',
    "escapes": b'"\\u0041\\/\\b\\f\\n\\r\\t\\\\\\"\\u0000\\u2028"',
    "any script": '"漢😀\u2028é\x7f"'.encode(),
    "what looks like our own elements": b'{"id":"x","from":"user","text":"","type":"retracted"}',
    "what looks internal": b'{"x":1,"internal":true}',
    "a text": b'"}"',
    "a number": b"7",
    "false": b"false",
    "empty": b"{}",
}
ALL_FIELDS: dict[str, Any] = {
    "format": "openai.item/1",
    "author": "Anna 漢",
    "calls": ("call_1", "漢"),
    "answers": ("call_0",),
    "tokens": 17,
    "content": msgspec.Raw(b'{"n": 1e400}'),
    "internal": True,
}


class AgentMessageContract:
    """Fields for agents."""

    @pytest.mark.parametrize("name", CONTENTS)
    @pytest.mark.parametrize("extra", [{}, {"more": [1]}], ids=["alone", "beside extra fields"])
    async def test_content_is_kept_byte_for_byte(
        self, manager: SessionManager, name: str, extra: dict[str, Any]
    ) -> None:
        raw = CONTENTS[name]
        session_id = (await manager.create_session("u")).session_id
        message = Message(sender="tool", text="t", content=msgspec.Raw(b" \r\n" + raw + b"\t "), extra=extra)
        result = await manager.add_message(session_id, message)
        [stored] = await manager.get_history(session_id)
        assert stored.content_json == raw == result.message.content_json
        assert stored == result.message
        assert (stored.text, stored.extra, stored.type) == ("t", extra, None)
        assert (await manager.add_message(session_id, stored)).duplicate
        assert (await manager.get_window(session_id))[0].content_json == raw
        assert stored.content == json.loads(raw.decode())

    async def test_any_value_that_json_can_hold_is_a_content(self, manager: SessionManager) -> None:
        values: list[Any] = [
            {"type": "message", "n": [1, 1.5, True, None, "漢", {}]},
            [],
            "",
            0,
            False,
            2**70,
            "half a pair \ud800",
            {"\udfff": [2**64]},
            {"a": {"b": {"c": -(2**63)}}},
        ]
        session_id = (await manager.create_session("u")).session_id
        await manager.add_messages(session_id, [{"from": "tool", "text": "", "content": value} for value in values])
        stored = await manager.get_history(session_id)
        assert [message.content for message in stored] == values
        assert [type(message.content) for message in stored] == [type(value) for value in values]
        assert [message.to_dict()["content"] for message in stored] == values

    async def test_every_field_comes_out_as_it_went_in(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        moment = datetime(2026, 1, 31, 8, tzinfo=UTC)
        plain: dict[str, Any] = {"sender": "assistant", "text": "x", "timestamp": moment}
        one_each = [Message(**plain, id=f"{name}", **{name: value}) for name, value in ALL_FIELDS.items()]
        whole = Message(**plain, id="all", type="event", extra={"format2": 1, "a": None}, **ALL_FIELDS)
        sent = [Message(**plain, id="none"), *one_each, whole]
        await manager.add_messages(session_id, sent)
        stored = await manager.get_history(session_id, include_internal=True)
        assert stored == [msgspec.structs.replace(message, seq=seq) for seq, message in enumerate(sent, 1)]
        for message in stored:
            assert Message.from_dict(message.to_raw_dict()) == message
        assert whole.to_dict() == {
            "id": "all",
            "from": "assistant",
            "text": "x",
            "timestamp": "2026-01-31T08:00:00.000Z",
            "type": "event",
            "format2": 1,
            "a": None,
            "format": "openai.item/1",
            "author": "Anna 漢",
            "calls": ("call_1", "漢"),
            "answers": ("call_0",),
            "tokens": 17,
            "content": {"n": float("inf")},
            "internal": True,
        }

    async def test_a_field_that_is_none_or_false_is_as_left_out(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        plain = {"id": "m", "from": "user", "text": "x"}
        unset: dict[str, Any] = {
            "format": None,
            "author": None,
            "calls": [],
            "answers": (),
            "tokens": None,
            "content": None,
        }
        await manager.add_message(session_id, {**plain, **unset, "internal": False})
        [stored] = await manager.get_history(session_id)
        assert stored.to_dict().keys() == {"id", "from", "text", "timestamp", "seq"}
        null = msgspec.Raw(b" null ")
        for again in (plain, {**plain, "content": null}, Message(sender="user", text="x", id="m", content=null)):
            assert (await manager.add_message(session_id, again)).duplicate

    @pytest.mark.parametrize("name", ALL_FIELDS)
    async def test_the_same_id_with_another_field_is_refused(self, manager: SessionManager, name: str) -> None:
        session_id = (await manager.create_session("u")).session_id
        given = {"id": "m", "from": "assistant", "text": "x", **ALL_FIELDS}
        others: dict[str, Any] = {
            "format": "f",
            "author": "b",
            "calls": ["call_1"],
            "answers": ["c"],
            "tokens": 0,
            "content": msgspec.Raw(b'{"n":1e400}'),
            "internal": False,
        }
        await manager.add_message(session_id, given)
        assert (await manager.add_message(session_id, given)).duplicate
        with pytest.raises(MessageConflict):
            await manager.add_message(session_id, {**given, name: others[name]})
        with pytest.raises(MessageConflict):
            await manager.add_message(session_id, {k: v for k, v in given.items() if k != name})

    async def test_internal_messages_are_read_only_by_who_asks_for_them(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        messages = [{"from": "assistant", "text": str(i), "internal": i % 3 > 0} for i in range(1, 31)]
        await manager.add_messages(session_id, messages)
        public = list(range(3, 31, 3))

        async def seqs(limit: int = 100, **options: Any) -> list[int | None]:
            return [message.seq for message in await manager.get_history(session_id, limit, **options)]

        assert await seqs() == public
        assert await seqs(include_internal=True) == list(range(1, 31))
        assert [m.seq for m in await manager.get_window(session_id)] == list(range(1, 31))
        assert [m.seq for m in await manager.get_window(session_id, include_internal=False)] == public
        assert [m.seq async for m in manager.iter_history(session_id, page=4)] == public
        found = [m.seq async for m in manager.iter_history(session_id, page=4, include_internal=True)]
        assert found == list(range(1, 31))

    async def test_a_page_is_full_as_long_as_there_are_messages_to_fill_it(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        messages = [{"id": f"m{i}", "from": "user", "text": "x", "internal": i % 10 > 0} for i in range(1, 101)]
        await manager.add_messages(session_id, messages)
        await manager.retract_message(session_id, "m50")

        async def seqs(limit: int, **bounds: Any) -> list[int | None]:
            return [message.seq for message in await manager.get_history(session_id, limit, **bounds)]

        assert await seqs(3) == [80, 90, 100]
        assert await seqs(3, before=80) == [40, 60, 70]
        assert await seqs(3, after=30) == [40, 60, 70]
        assert await seqs(3, after=0) == [10, 20, 30]
        assert await seqs(3, before=71, after=20) == [40, 60, 70]
        assert await seqs(9) == [10, 20, 30, 40, 60, 70, 80, 90, 100]
        assert await seqs(50) == [10, 20, 30, 40, 60, 70, 80, 90, 100]
        assert await seqs(5, after=95) == [100]
        assert await seqs(1, before=10) == []
        assert [m.seq for m in await manager.get_window(session_id, messages=3, include_internal=False)] == [
            80,
            90,
            100,
        ]

    async def test_a_window_keeps_calls_and_answers_together(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        told: list[dict[str, Any]] = [
            {"from": "user", "text": "1", "tokens": 5},
            {"from": "assistant", "text": "", "calls": ["a", "b"], "internal": True, "tokens": 5},
            {"from": "tool", "text": "", "answers": ["a"], "internal": True, "tokens": 5},
            {"from": "operator", "text": "a person", "tokens": 5},
            {"from": "tool", "text": "", "answers": ["b"], "internal": True, "tokens": 5},
            {"from": "user", "text": "2", "tokens": 5},
        ]
        await manager.add_messages(session_id, told)

        async def seqs(**budget: Any) -> list[int | None]:
            return [message.seq for message in await manager.get_window(session_id, **budget)]

        assert await seqs() == [1, 2, 3, 5, 4, 6]
        assert await seqs(messages=5) == [2, 3, 5, 4, 6]
        assert await seqs(messages=4) == [4, 6]
        assert await seqs(tokens=25) == [2, 3, 5, 4, 6]
        assert await seqs(tokens=24) == [4, 6]
        assert await seqs(messages=1, tokens=100) == [6]
        assert await manager.get_window("missing") == []

    async def test_of_a_run_that_a_takeover_refused_what_does_not_speak_for_the_ai_can_be_stored(
        self, manager: SessionManager
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        run: list[dict[str, Any]] = [
            {"id": "ask", "from": "user", "text": "Cancel my order."},
            {"id": "plan", "from": "assistant", "text": "I will cancel it."},
            {"id": "call", "from": "assistant", "text": "", "calls": ["c"], "content": {"name": "cancel"}},
            {"id": "result", "from": "tool", "text": "cancelled", "answers": ["c"]},
            {"id": "open call", "from": "assistant", "text": "", "calls": ["never answered"]},
            {"id": "tell", "from": "assistant", "text": "It is cancelled."},
        ]
        await manager.switch_agent(session_id, "human")
        with pytest.raises(AgentConflict) as refused:
            await manager.add_messages(session_id, run, epoch=0)
        assert [message.id for message in refused.value.messages] == [message["id"] for message in run]
        assert await manager.get_history(session_id, include_internal=True) == []
        for is_again in (False, True):
            results = await manager.add_unanswered(refused.value)
            assert [(result.message_id, result.duplicate) for result in results] == [
                ("ask", is_again),
                ("call", is_again),
                ("result", is_again),
            ]
        stored = await manager.get_history(session_id, include_internal=True)
        assert [(message.id, message.internal) for message in stored] == [
            ("ask", False),
            ("call", True),
            ("result", True),
        ]
        assert stored[1].content == {"name": "cancel"}

    async def test_a_content_of_just_the_largest_size_is_stored(
        self, open_manager: Callable[..., SessionManager], backend: Backend
    ) -> None:
        manager = open_manager(max_content_bytes=3000)
        session_id = (await manager.create_session("u")).session_id
        await manager.add_message(session_id, {"id": "m", "from": "tool", "text": "", "content": "x" * 2998})
        before = await backend.digest(manager)
        for content in ("x" * 2999, msgspec.Raw(b'"' + b"x" * 2999 + b'"'), "漢" * 1000):
            size = len(msgspec.json.encode(content))
            message = {"id": "m", "from": "tool", "text": "", "content": content}
            for call in (
                lambda message=message: manager.add_message(session_id, message),
                lambda message=message: manager.replace_message(session_id, message),
                lambda message=message: manager.replace_history(session_id, [message]),
                lambda message=message: manager.create_session("u", messages=[message]),
            ):
                with pytest.raises(MessageTooLarge, match=rf"3,000 bytes.*got {size:,} bytes"):
                    await call()
        assert await backend.digest(manager) == before

    async def test_one_call_carries_at_most_eight_mib_of_contents(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        messages: list[dict[str, Any]] = [
            {"id": f"m{i}", "from": "tool", "text": "", "content": "x" * (MIB - 2)} for i in range(8)
        ]
        await manager.add_messages(session_id, messages)
        assert len(await manager.get_history(session_id)) == 8
        more = [*messages, {"id": "one more", "from": "tool", "text": "", "content": 1}]
        before = await backend.digest(manager)
        for call in (
            lambda: manager.add_messages(session_id, more),
            lambda: manager.replace_history(session_id, more),
            lambda: manager.create_session("u", messages=more),
        ):
            with pytest.raises(MessageTooLarge, match=r"8,388,608 bytes.*got 8,388,609 bytes"):
                await call()
        assert await backend.digest(manager) == before

    @pytest.mark.parametrize(
        "fields",
        [
            {"format": ""},
            {"format": 1},
            {"format": "x" * 65},
            {"author": ""},
            {"author": "x" * 257},
            {"author": "a\nb"},
            {"calls": "call"},
            {"calls": [1]},
            {"calls": [""]},
            {"calls": ["x" * 257]},
            {"calls": ["x"] * 257},
            {"answers": ["a\x00"]},
            {"answers": {"a": 1}},
            {"tokens": -1},
            {"tokens": 1.0},
            {"tokens": True},
            {"tokens": 2**53},
            {"internal": 1},
            {"internal": "true"},
            {"content": float("nan")},
            {"content": float("inf")},
            {"content": (1, 2)},
            {"content": {1: 2}},
            {"content": {"a": {1}}},
            {"content": b"bytes"},
            {"content": msgspec.Raw(b'null,"type":"retracted"')},
            {"content": msgspec.Raw(b"1 2")},
            {"content": msgspec.Raw(b"")},
            {"content": msgspec.Raw(b"NaN")},
            {"content": msgspec.Raw(b'"\xed\xa0\x80"')},
            {"content": msgspec.Raw(b"1\x00")},
            {"content": msgspec.Raw(b"\xef\xbb\xbf1")},
            {"content": msgspec.Raw(b"[" * 257 + b"]" * 257)},
        ],
        ids=lambda fields: next(iter(fields)),
    )
    async def test_a_field_that_no_message_can_have_is_refused_by_its_name(
        self, manager: SessionManager, backend: Backend, fields: dict[str, Any]
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        before = await backend.digest(manager)
        [name] = fields
        for form in ({"from": "user", "text": "x", **fields}, Message(sender="user", text="x", **fields)):
            with pytest.raises(InvalidInput, match=name):
                await manager.add_message(session_id, form)
        assert await backend.digest(manager) == before
