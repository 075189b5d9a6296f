"""What a message is for readers that do not know its format: a role, and names and texts that a store accepts."""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Literal

import msgspec

from chat_session.checks import has_control_characters
from chat_session.message import Message

Role = Literal["user", "assistant", "system"]

LONGEST_CALL_ID = 256
MOST_CALLS = 256  # that one message may name
LONGEST_MESSAGE_ID = 128
LONGEST_AUTHOR = 256
_CUT = "…"


def role_of(message: Message) -> Role:
    """The role for a model. An operator speaks for the assistant; a note of an operator is an instruction."""
    if message.sender in ("user", "system"):
        return "user" if message.sender == "user" else "system"
    return "system" if message.sender == "operator" and message.internal else "assistant"


def fit_text(text: str, max_bytes: int) -> str:
    """The text cut to ``max_bytes`` of UTF-8, with a mark at the end if it was cut. The content keeps the whole.

    Halves of surrogate pairs become question marks.
    """
    written = text.encode(errors="replace")
    if len(written) <= max_bytes:
        return written.decode()
    mark = _CUT if max_bytes >= len(_CUT.encode()) else ""
    return written[: max_bytes - len(mark.encode())].decode(errors="ignore") + mark


def describe_call(name: object, arguments: object) -> str:
    """``name(arguments)``, as a person reads a tool call. Raises TypeError or ValueError for what is no JSON."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f"{name}({'' if arguments is None else written})"


def fit_call_id(call_id: str) -> str:
    """As it is, or, where a message cannot hold it, a hash of it. Some gateways write kilobytes there."""
    return _fit(call_id, LONGEST_CALL_ID)


def fit_call_ids(call_ids: Iterable[object]) -> tuple[str, ...]:
    """Each once, as many as a message can name. What is no id is left out."""
    found = (fit_call_id(each) for each in call_ids if isinstance(each, str) and each)
    return tuple(dict.fromkeys(found))[:MOST_CALLS]


def fit_message_id(message_id: str) -> str:
    """As it is, or, where a message cannot have it, a hash of it."""
    return _fit(message_id, LONGEST_MESSAGE_ID)


def fit_author(name: object) -> str | None:
    """The name of who spoke, or None if it is none that a message can hold."""
    return name if isinstance(name, str) and _is_plain(name, LONGEST_AUTHOR) else None


def encode(item: object) -> msgspec.Raw:
    """The JSON of a framework's item, as the standard library writes it. Raises TypeError for what it cannot hold.

    One with a number that JSON has not, NaN or an infinity, is written as a text that holds what Python writes.
    """
    try:
        return _encode(item)
    except ValueError:
        return _encode(json.dumps(item))


def decode(message: Message) -> Any:
    """What was encoded. Raises ValueError if the content is damaged."""
    item = message.content
    return json.loads(item) if isinstance(item, str) else item


def _encode(item: object) -> msgspec.Raw:
    written = json.dumps(item, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return msgspec.Raw(written.encode())
    except UnicodeEncodeError:  # half a surrogate pair stays an escape
        return msgspec.Raw(json.dumps(item, separators=(",", ":")).encode())


def _fit(name: str, longest: int) -> str:
    return name if _is_plain(name, longest) else f"~{sha256(name.encode(errors='surrogatepass')).hexdigest()}"


def _is_plain(name: str, longest: int) -> bool:
    """Whether it is short enough, without control characters and without half of a surrogate pair."""
    if not 1 <= len(name) <= longest or has_control_characters(name):
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
