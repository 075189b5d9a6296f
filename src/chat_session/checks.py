"""What every check of an argument shares: text without surrogates, JSON that comes out as it went in."""

import math
import re
import reprlib
from collections.abc import Mapping
from typing import Any

import msgspec

from chat_session.errors import InvalidInput

MAX_JSON_DEPTH = 32
MAX_JSON_BYTES = 64 * 1024
MAX_METADATA_ENTRIES = 64
MAX_SAFE_INTEGER = 2**53 - 1  # beyond it JavaScript, and so the other readers of our keys, would round

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 60


def brief(value: object) -> str:
    """Show a refused value, shortened; never slow, whatever it is."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:  # noqa: PLR2004
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (bytes, bytearray)):
        value = value[:60]
    try:
        return _brief.repr(value)
    except Exception:
        return f"a {type(value).__name__}"


def kind_of(value: object) -> str:
    """What a refused value is, where showing the value could show the text of a message."""
    return f"a value of type {type(value).__name__}"


def check_text(argument: str, value: object, allowed: str) -> str:
    """Give ``value`` as a plain string that UTF-8 can hold. A subclass counts by its characters."""
    if not isinstance(value, str):
        raise InvalidInput(argument, allowed, brief(value))
    text = value if type(value) is str else str.__str__(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            refused = InvalidInput(argument, allowed + ", without lone surrogates", f"a surrogate at {error.start}")
        else:
            return text
        raise refused  # not while the error is handled: it holds the whole text
    return text


def check_integer(argument: str, value: object, lowest: int, highest: int, allowed: str) -> int:
    """Give ``value`` if it is a whole number in the range; a boolean is not a number here."""
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InvalidInput(argument, allowed, brief(value))
    return int(value)


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def has_control_characters(text: str) -> bool:
    """Whether C0, DEL or C1 controls, or a line or paragraph separator, stand in the text."""
    return _CONTROL.search(text) is not None


def encode_value(value: Any) -> bytes:
    """A metadata value as it is stored: a string as it is, unless it would read back as JSON; all else as JSON."""
    if isinstance(value, str) and not _reads_as_json(value.encode()):
        return value.encode()
    return msgspec.json.encode(value)


def _reads_as_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def check_metadata_size(metadata: Mapping[str, Any]) -> None:
    """At most 64 entries, and 64 KiB of names and of values as they are stored. Raises InvalidInput."""
    if len(metadata) <= MAX_METADATA_ENTRIES and len(msgspec.json.encode(metadata)) <= MAX_JSON_BYTES:
        return  # as it is stored it has fewer quotes, and never more bytes
    size = sum(len(name.encode()) + len(encode_value(value)) for name, value in metadata.items())
    refuse_large_metadata(len(metadata), size)


def refuse_large_metadata(entries: int, size: int) -> None:
    """The one place that knows the limits of metadata, for what was measured here or in a script."""
    if entries > MAX_METADATA_ENTRIES:
        raise InvalidInput("metadata", f"at most {MAX_METADATA_ENTRIES} entries", f"{entries:,} entries")
    if size > MAX_JSON_BYTES:
        allowed = f"at most {MAX_JSON_BYTES:,} bytes, names and stored values together"
        raise InvalidInput("metadata", allowed, f"{size:,} bytes")


def check_json_size(argument: str, value: object) -> None:
    """At most 64 KiB as JSON. Raises InvalidInput that says how large it is."""
    size = len(msgspec.json.encode(value))
    if size > MAX_JSON_BYTES:
        raise InvalidInput(argument, f"at most {MAX_JSON_BYTES:,} bytes as JSON in all", f"{size:,} bytes")


class JsonCopy:
    """Copies a value that JSON can hold, so that nothing the caller does later changes it.

    Refuses what would not come back the same, type and all: NaN and infinities, integers that a
    double cannot hold, tuples, sets, bytes, keys that are not strings, cycles, nesting over 32. One
    object copies one whole argument: together its values may hold 64 KiB.
    """

    def __init__(self, argument: str) -> None:
        self._argument = argument
        self._room = MAX_JSON_BYTES

    def copy(self, value: object, path: str, depth: int = 0) -> Any:
        self._spend(1)
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            self._spend(len(value))
            return check_text(path, value, "text")
        if isinstance(value, int):
            return check_integer(path, value, -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER, "an integer within ±(2^53 - 1)")
        if isinstance(value, float):
            if not math.isfinite(value):
                raise InvalidInput(path, "a finite number", str(float(value)))
            return float(value)
        if not isinstance(value, (list, Mapping)):
            raise InvalidInput(path, "a value JSON can hold", f"a {type(value).__name__}")
        if depth >= MAX_JSON_DEPTH:
            raise InvalidInput(path[:80], f"nested at most {MAX_JSON_DEPTH} deep", f"{depth + 1} levels, or a cycle")
        if isinstance(value, list):
            return [self.copy(entry, f"{path}[{i}]", depth + 1) for i, entry in enumerate(value)]
        return {
            check_text(path, name, "a mapping with string keys"): self.copy(entry, f"{path}.{name}", depth + 1)
            for name, entry in value.items()
        }

    def _spend(self, characters: int) -> None:
        self._room -= characters
        if self._room < 0:  # every node and every character takes a byte at least
            allowed = f"at most {MAX_JSON_BYTES:,} bytes as JSON in all"
            raise InvalidInput(self._argument, allowed, f"at least {MAX_JSON_BYTES - self._room:,} bytes")
