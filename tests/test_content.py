"""Contents: any JSON comes out byte for byte, what is no JSON is refused, and neither takes long."""

import copy
import json
import pickle
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_session import InvalidInput, Message, MessageTooLarge
from chat_session.content import MAX_DEPTH, check_content
from chat_session.message import UNLIMITED, check_message
from chat_session.rawjson import split_array, split_object
from chat_session.storage.codec import decode_message, encode_message

ANY_SIZE = 2**40
MIB = 1024 * 1024
SLOW = 0.5  # seconds; 0.05 on an idle machine

_CHARACTERS = st.characters()  # with halves of surrogate pairs
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(_CHARACTERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(_CHARACTERS, max_size=5), inner, max_size=4),
    max_leaves=15,
)
_SPACE = st.text(" \t\r\n", max_size=3)
_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][-+]?[0-9]{1,4})?", fullmatch=True)
_STRINGS = st.lists(
    st.one_of(
        st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cs", "Cc"]), max_size=3),
        st.sampled_from(['\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\ud83d\\ude00"]),
        st.from_regex(r"\\u[0-9a-fA-F]{4}", fullmatch=True),
    ),
    max_size=4,
).map(lambda parts: '"' + "".join(parts) + '"')


def _in_brackets(space: str, items: list[str], brackets: str) -> str:
    return brackets[0] + space + f"{space},{space}".join(items) + space + brackets[1]


_DOCUMENTS = st.recursive(
    st.one_of(st.sampled_from(["null", "true", "false"]), _NUMBERS, _STRINGS),
    lambda inner: st.one_of(
        st.builds(_in_brackets, _SPACE, st.lists(inner, max_size=4), st.just("[]")),
        st.builds(
            _in_brackets,
            _SPACE,
            st.lists(st.builds("{}:{}".format, _STRINGS, inner), max_size=4),
            st.just("{}"),
        ),
    ),
    max_leaves=12,
)


def is_json(raw: bytes) -> bool:
    """By the standard library, which is strict except for three words that are no JSON."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(raw.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def check(raw: bytes) -> bytes:
    return bytes(check_content("content", msgspec.Raw(raw), ANY_SIZE))


def find_refusal(raw: bytes) -> str | None:
    try:
        check(raw)
    except InvalidInput as refused:
        return str(refused)
    return None


@settings(max_examples=200)
@given(document=_DOCUMENTS, before=_SPACE, after=_SPACE, extra=st.sampled_from([{}, {"more": 1}]))
def test_any_json_comes_out_byte_for_byte(document: str, before: str, after: str, extra: dict[str, Any]) -> None:
    message = Message(
        sender="tool", text="", content=msgspec.Raw(f"{before}{document}{after}".encode()), extra=extra, calls=("a",)
    )
    draft = check_message(message, UNLIMITED)
    stored = decode_message(encode_message(draft).json, 1)
    assert stored.content_json == (None if document == "null" else document.encode())
    assert stored == msgspec.structs.replace(draft.message, seq=1)
    assert stored.content == json.loads(document)
    assert encode_message(check_message(stored, UNLIMITED)).json == encode_message(draft).json


@given(parts=st.lists(_DOCUMENTS, max_size=4), space=_SPACE)
def test_a_document_is_cut_into_its_parts_as_they_are_written(parts: list[str], space: str) -> None:
    written = (space + _in_brackets(space, parts, "[]") + space).encode()
    assert split_array(written) == [part.encode() for part in parts]
    named = [f'"{i}\\ud800"{space}:{space}{part}' for i, part in enumerate(parts)]
    fields = {f"{i}\ud800": part.encode() for i, part in enumerate(parts)}
    assert split_object((space + _in_brackets(space, named, "{}") + space).encode()) == fields
    for split in (split_array, split_object):
        for other in (b"1", b'"a"', b"[1", b'{"a":1', b"", b"[NaN]", b'{"\\ud800":NaN}', b'["\\ud800",]', b"\xff"):
            with pytest.raises(ValueError):
                split(other)


@settings(max_examples=200)
@given(value=_VALUES)
def test_any_value_that_json_can_hold_comes_out_equal(value: object) -> None:
    draft = check_message({"from": "tool", "text": "", "content": value}, UNLIMITED)
    stored = decode_message(encode_message(draft).json, 1)
    assert stored.content == value
    assert json.dumps(stored.content) == json.dumps(value)  # 1 is not 1.0


@settings(max_examples=300)
@given(
    raw=st.one_of(
        st.binary(max_size=12),
        st.builds(lambda text, at, cut: text[:at] + text[at + cut :], _DOCUMENTS, st.integers(0, 9), st.integers(1, 2)),
        st.builds(
            lambda one, between, other: one + between + other,
            _DOCUMENTS,
            st.sampled_from(["", ",", " ", "\x00"]),
            _DOCUMENTS,
        ),
        st.text('{}[]:,"\\01e-.+ntrue\x00\ufeff\x0b', max_size=8),
    )
)
def test_what_is_no_json_is_refused_and_nothing_else(raw: bytes | str) -> None:
    written = raw if isinstance(raw, bytes) else raw.encode(errors="surrogatepass")
    inner = written.strip(b" \t\r\n")
    refusal = find_refusal(written)
    assert (refusal is None) == is_json(inner), refusal
    assert refusal is not None or check(written) == inner
    assert len(refusal or "") < 200


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("document", ["1", '"a"', "[]", '{"a":"\\ud800"}'])
def test_json_in_another_encoding_is_refused(codec: str, document: str) -> None:
    with pytest.raises(InvalidInput):
        check(document.encode(codec))


@pytest.mark.parametrize(
    ("opened", "closed"), [(b"[", b"]"), (b'{"[[":', b"}"), (b'[1,"]\\"}",', b"]"), (b'[{"a":', b"}]")]
)
def test_a_content_is_nested_256_levels_and_no_more(opened: bytes, closed: bytes) -> None:
    levels = MAX_DEPTH // len(closed)
    check(opened * levels + b"1" + closed * levels)
    with pytest.raises(InvalidInput, match="nested at most 256 deep"):
        check(opened * (levels + 1) + b"1" + closed * (levels + 1))
    check(b'["' + opened.replace(b"\\", b"").replace(b'"', b"") * 1000 + b'"]')


@pytest.mark.parametrize(
    "raw",
    [
        *(b"[" * MIB, b"[" * (MIB // 2) + b"]" * (MIB // 2), b"{" * MIB, b'["' * (MIB // 2), b'"\\' * (MIB // 2)),
        *(
            b'"' + b"[" * MIB + b'"',
            b"[" + b'"[[",' * (MIB // 5) + b"1]",
            b'"' + b"\\\\" * (MIB // 2) + b"[" * 300 + b'"',
        ),
        b"[" * 255 + b"[]," * (MIB // 3) + b"1" + b"]" * 255,
        b"[" + b",".join([b"[" * 254 + b"]" * 254] * 2000) + b"]",
        b'["\\ud800"' + b",1" * (MIB // 2) + b"]",
        *(b"9" * MIB, b"1." + b"0" * MIB, b" " * MIB, b"\xff" * MIB),
    ],
    ids=range(15),
)
def test_no_content_takes_long_to_check(raw: bytes) -> None:
    started = time.perf_counter()
    refusal = find_refusal(raw)
    assert time.perf_counter() - started < SLOW
    assert len(refusal or "") < 200


def test_a_content_over_the_limit_is_refused_with_both_numbers() -> None:
    for value in ("x" * 99, msgspec.Raw(b'"' + b"x" * 99 + b'"')):
        assert len(bytes(check_content("content", value, 101))) == 101
        with pytest.raises(MessageTooLarge, match="at most 100 bytes as JSON; got 101 bytes"):
            check_content("content", value, 100)


def test_a_message_with_a_content_can_be_copied_and_pickled() -> None:
    message = Message(sender="tool", text="", content=msgspec.Raw(b'{"a": 1}'), calls=("a",))
    for other in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert other == message
        assert other.content_json == b'{"a": 1}'
    assert message != msgspec.structs.replace(message, content=msgspec.Raw(b'{"a":1}'))


def test_a_damaged_content_says_so_when_it_is_decoded_and_not_before() -> None:
    message = Message(sender="tool", text="", content=msgspec.Raw(b"{"))
    assert message.content_json == b"{"
    with pytest.raises(ValueError, match="Expecting"):
        _ = message.content
