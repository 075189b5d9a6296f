"""The content of a message: a framework's own item as raw JSON, which is kept byte for byte.

Nothing here limits its numbers. It is nested 256 levels at most, so that every reader can decode it.
"""

import json
import re
from array import array
from itertools import accumulate
from typing import Any

import msgspec

from chat_session.checks import kind_of
from chat_session.errors import InvalidInput, MessageTooLarge
from chat_session.rawjson import decode

MAX_DEPTH = 256

_ALLOWED = "a value that JSON can hold, or a msgspec.Raw with one"
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: one level deeper, one level up

_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


def check_content(argument: str, value: object, max_bytes: int) -> msgspec.Raw:
    """The value as JSON; a Raw as it is, without white space around it. Raises InvalidInput, MessageTooLarge."""
    written = bytes(value).strip(b" \t\r\n") if isinstance(value, msgspec.Raw) else _encode(argument, value)
    if len(written) > max_bytes:
        allowed = f"at most {max_bytes:,} bytes as JSON"
        raise MessageTooLarge(argument, allowed, f"{len(written):,} bytes")
    if isinstance(value, msgspec.Raw):
        _check_json(argument, written)
    _check_depth(argument, written)
    return msgspec.Raw(written)


def encode_content(value: object) -> bytes:
    """The bytes of a content as a message holds it, also before it was checked. Raises InvalidInput for no JSON."""
    return bytes(value) if isinstance(value, msgspec.Raw) else _encode("content", value)


def decode_content(written: bytes) -> Any:
    """The value. Raises ValueError for bytes that are no JSON, as a store that is damaged may have them."""
    try:
        return msgspec.json.decode(written)
    except (msgspec.MsgspecError, RecursionError):  # it refuses half a surrogate pair in an escape
        return decode(written)


def _encode(argument: str, value: object) -> bytes:
    """Refuses what would be read back as another value, such as a tuple, a date, NaN, or a key that is no string."""
    try:
        written = msgspec.json.encode(value)
        same = msgspec.json.decode(written) == value
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return _encode_rare(argument, value)
    if not same:
        raise InvalidInput(argument, _ALLOWED, f"{kind_of(value)} that would be read back as another")
    return written


def _encode_rare(argument: str, value: object) -> bytes:
    """What msgspec does not write: integers of more than 64 bits, half a surrogate pair."""
    problem = kind_of(value)
    try:
        written = json.dumps(value, allow_nan=False, separators=(",", ":"))
        if json.loads(written) == value:
            return written.encode()
    except RecursionError:
        problem = "a value that is nested too deeply, or a cycle"
    except (TypeError, ValueError):
        pass
    raise InvalidInput(argument, _ALLOWED, problem)


def _check_json(argument: str, written: bytes) -> None:
    """Exactly one JSON value in UTF-8."""
    problem = "no JSON"
    try:
        written.decode()
        _decode_raw(written)
    except UnicodeDecodeError:
        problem = "bytes that are not UTF-8"
    except msgspec.MsgspecError:
        try:
            decode_content(written)
        except (ValueError, RecursionError):
            pass
        else:
            return
    except RecursionError:
        problem = "JSON that is nested too deeply"
    else:
        return
    raise InvalidInput(argument, _ALLOWED, problem)


def _check_depth(argument: str, written: bytes) -> None:
    if written.count(b"[") + written.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRINGS.sub(b"", written).translate(_STEPS, _NOT_BRACKETS)
    if max(accumulate(array("b", brackets)), default=0) > MAX_DEPTH:  # 25 ms for 1 MiB of brackets
        raise InvalidInput(argument, f"nested at most {MAX_DEPTH} deep", "a value that is deeper")
