"""What every check of an argument shares: text without surrogates, JSON that comes out as it went in."""

import math
import re
import reprlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec

from chat_session.errors import InvalidInput

MAX_JSON_DEPTH = 32
MAX_JSON_BYTES = 64 * 1024
MAX_METADATA_ENTRIES = 64
MAX_VALUES = 500_000  # at most 0.3 s of the event loop; a hundred messages could have six times as many
MAX_SAFE_INTEGER = 2**53 - 1  # beyond it JavaScript, and so the other readers of our keys, would round

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 60


def brief(value: object) -> str:
    """Show a refused value, shortened; never slow, whatever it is. Of what may hold a message only the kind."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:  # noqa: PLR2004
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (bytes, bytearray)):
        value = value[:60]
    elif value is not None and not isinstance(value, (str, int, float, datetime)):
        return kind_of(value)
    try:
        return _brief.repr(value)
    except Exception:
        return kind_of(value)


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
            refused = InvalidInput(argument, allowed + ", without lone surrogates", f"one at position {error.start}")
        else:
            return text
        raise refused  # not while the error is handled: it holds the whole text
    return text


def check_name(argument: str, value: object, longest: int) -> str:
    """Text of 1 to ``longest`` characters without control characters."""
    allowed = f"1 to {longest} characters without control characters"
    if isinstance(value, str) and not 1 <= len(value) <= longest:
        raise InvalidInput(argument, allowed, f"{len(value):,} characters")
    text = check_text(argument, value, allowed)
    if has_control_characters(text):
        raise InvalidInput(argument, allowed, brief(text))
    return text


def check_integer(argument: str, value: object, lowest: int, highest: int, allowed: str) -> int:
    """Give ``value`` if it is a whole number in the range; a boolean is not a number here."""
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InvalidInput(argument, allowed, brief(value))
    return int(value)


_MAX_COPIED = 4 * MAX_JSON_BYTES
_MAX_PATH = 80  # characters of the way to a refused value that are shown

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def has_control_characters(text: str) -> bool:
    """Whether the text has C0, DEL or C1 controls, or a line or paragraph separator."""
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


def refuse_large_metadata(entries: int, size: int, argument: str = "metadata") -> None:
    """The one place that knows the limits of metadata, for what was measured here or in a script."""
    if entries > MAX_METADATA_ENTRIES:
        raise InvalidInput(argument, f"at most {MAX_METADATA_ENTRIES} entries", f"{entries:,} entries")
    if size > MAX_JSON_BYTES:
        allowed = f"at most {MAX_JSON_BYTES:,} bytes, all names and stored values together"
        raise InvalidInput(argument, allowed, f"{size:,} bytes")


def refuse_no_integer(name: str, value: object) -> None:
    """A metadata entry that is counted must be, and stay, a whole number. Raises InvalidInput."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_SAFE_INTEGER:
        raise InvalidInput(f"metadata[{name!r}]", "a whole number within ±(2^53 - 1)", brief(value))


def check_json_size(argument: str, value: object) -> None:
    """At most 64 KiB as JSON. Raises InvalidInput that says how large it is."""
    size = len(msgspec.json.encode(value))
    if size > MAX_JSON_BYTES:
        raise InvalidInput(argument, f"at most {MAX_JSON_BYTES:,} bytes as JSON", f"{size:,} bytes")


class ValueBudget:
    """How many values of lists and mappings a call may still check: each takes a part of a microsecond."""

    def __init__(self) -> None:
        self.left = MAX_VALUES


class JsonCopy:
    """Copies a value that JSON can hold, so that nothing the caller does later changes it.

    Refuses what would not come back the same, type and all: NaN and infinities, integers that a
    double cannot hold, tuples, sets, bytes, keys that are not strings, cycles, nesting over 32. One
    object copies one whole argument, and stops at four times the 64 KiB that it may hold: up to there
    a refusal can say how large it is.

    ``budget`` is shared by all arguments of one call, for a call runs on the event loop.
    """

    def __init__(self, argument: str, budget: ValueBudget | None = None) -> None:
        self._argument = argument
        self._room = _MAX_COPIED
        self._budget = budget or ValueBudget()

    def copy(self, value: object, path: str) -> Any:
        try:
            return self._copy(value, 0)
        except _Refused as error:
            refused = error
        inner = "".join(reversed(refused.steps))
        path = self._argument if refused.whole else f"{path}{inner}"[:_MAX_PATH]
        raise InvalidInput(path, refused.allowed, refused.got, refused.advice)

    def _copy(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            self._spend(1 + len(value))
            return _check_characters(value)
        self._spend(1)
        if value is None or value is True or value is False:
            return value
        if isinstance(value, int):
            if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
                raise _Refused("an integer within ±(2^53 - 1)", brief(value))
            return int(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise _Refused("a finite number", str(float(value)))
            return float(value)
        if isinstance(value, list):
            return self._copy_list(value, depth + 1)
        if isinstance(value, Mapping):
            return self._copy_mapping(value, depth + 1)
        raise _Refused("a value JSON can hold", f"a {type(value).__name__}")

    def _copy_list(self, values: list[Any], depth: int) -> list[Any]:
        self._enter(len(values), depth)
        return self._copy_entries(values, depth, None)

    def _copy_mapping(self, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        self._enter(len(values), depth)
        names = [
            name if type(name) is str and name.isascii() else _check_characters(name, "a mapping with string keys")
            for name in values
        ]
        self._spend(sum(map(len, names)))
        return dict(zip(names, self._copy_entries(values.values(), depth, names), strict=True))

    def _copy_entries(self, entries: Collection[Any], depth: int, names: list[str] | None) -> list[Any]:
        copied: list[Any] = []
        try:
            for entry in entries:  # the common types here, without a call for each
                kind = type(entry)
                if (kind is int and -MAX_SAFE_INTEGER <= entry <= MAX_SAFE_INTEGER) or kind is bool or entry is None:
                    copied.append(entry)
                elif kind is str and entry.isascii() and len(entry) <= self._room:
                    self._room -= len(entry)
                    copied.append(entry)
                elif kind is list:
                    copied.append(self._copy_list(entry, depth + 1))
                elif kind is dict:
                    copied.append(self._copy_mapping(entry, depth + 1))
                else:
                    copied.append(self._copy(entry, depth))
        except _Refused as refused:
            at = len(copied)
            refused.steps.append(f"[{at}]" if names is None else f".{names[at]}")
            raise
        return copied

    def _enter(self, entries: int, depth: int) -> None:
        if depth > MAX_JSON_DEPTH:
            raise _Refused(f"nested at most {MAX_JSON_DEPTH} deep", f"{depth} levels, or a cycle")
        self._budget.left -= 1 + entries
        if self._budget.left < 0:
            allowed = f"at most {MAX_VALUES:,} values, with the extra fields of the messages before it"
            got = f"at least {MAX_VALUES - self._budget.left:,} values"
            raise _Refused(allowed, got, "Send the messages in several calls.", whole=True)
        self._spend(1 + 2 * entries)  # an entry takes a character at least, and a comma or a bracket

    def _spend(self, characters: int) -> None:
        self._room -= characters
        if self._room < 0:
            allowed = f"at most {MAX_JSON_BYTES:,} bytes as JSON"
            raise _Refused(allowed, f"at least {_MAX_COPIED - self._room:,} bytes", whole=True)


class _Refused(Exception):  # it never leaves this module
    """A part of a value is not acceptable. ``steps`` lead to it, the last first; ``whole``: not that part alone."""

    def __init__(self, allowed: str, got: str, advice: str = "", *, whole: bool = False) -> None:
        super().__init__(allowed, got)
        self.allowed = allowed
        self.got = got
        self.advice = advice
        self.whole = whole
        self.steps: list[str] = []


def _check_characters(value: object, allowed: str = "text") -> str:
    try:
        return check_text("", value, allowed)
    except InvalidInput as error:
        refused = _Refused(error.allowed, error.got)
    raise refused
