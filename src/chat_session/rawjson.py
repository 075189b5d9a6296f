"""JSON that is cut into its parts, each as the bytes that it was written in."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_scan = json.JSONDecoder().raw_decode
_skip_space = json.decoder.WHITESPACE.match  # type: ignore[attr-defined]


def split_object(written: bytes) -> dict[str, bytes]:
    """The fields of a JSON object by their names; of two of one name the last. Raises ValueError."""
    try:
        return {name: bytes(value) for name, value in _decode_object(written).items()}
    except (msgspec.MsgspecError, RecursionError):  # msgspec refuses half a surrogate pair in an escape
        return dict(_scan_parts(written.decode(), "{"))


def split_array(written: bytes) -> list[bytes]:
    """The entries of a JSON array. Raises ValueError."""
    try:
        return [bytes(value) for value in _decode_array(written)]
    except (msgspec.MsgspecError, RecursionError):
        return [entry for _, entry in _scan_parts(written.decode(), "[")]


def decode(written: bytes) -> Any:
    """The value. Raises ValueError for what is no JSON: NaN, UTF-16, a byte order mark."""
    return json.loads(written.decode(), parse_constant=_refuse_constant)


def _scan_parts(text: str, opening: str) -> Iterator[tuple[str, bytes]]:
    """The entries, those of an object with their names."""
    decode(text.encode())  # so that what follows may rely on it
    at = _skip_space(text, 0).end()
    if text[at] != opening:
        raise ValueError("it is another kind of value")
    at = _skip_space(text, at + 1).end()
    while text[at] not in "]}":
        name = ""
        if opening == "{":
            name, at = _scan(text, at)
            at = _skip_space(text, at).end() + 1  # behind the colon
        begin = _skip_space(text, at).end()
        _, end = _scan(text, begin)
        yield name, text[begin:end].encode()
        at = _skip_space(text, end).end()
        if text[at] == ",":
            at = _skip_space(text, at + 1).end()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
