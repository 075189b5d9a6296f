"""A message as a value, and what is valid of it."""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast, get_args

import msgspec

from chat_session.checks import (
    JsonCopy,
    ValueBudget,
    brief,
    check_integer,
    check_json_size,
    check_text,
    has_control_characters,
    kind_of,
)
from chat_session.clock import now, to_iso
from chat_session.errors import InvalidInput, MessageTooLarge
from chat_session.session import check_moment

Sender = Literal["user", "assistant", "system", "tool", "operator"]
SENDERS: tuple[str, ...] = get_args(Sender)
UNREADABLE = "unreadable"  # the type of a message whose stored form is damaged

MAX_LIMIT = 10_000
_MAX_MESSAGE_ID = 128
_MAX_TYPE = 64
_MAX_CURSOR = 2048
_MAX_SHOWN_SENDER = 16  # a longer one may be a text in the wrong place
_ALLOWED = "a Message or a mapping with 'from' (or 'sender') and 'text'"
_OWN_NAMES = frozenset(("id", "from", "text", "timestamp", "type", "seq"))


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. ``seq`` counts a session's messages from 1; None until it is stored.

    ``id`` and ``timestamp`` may be left out when a message is sent: they are filled in. Fields that
    this class does not know are kept in ``extra``.
    """

    sender: Sender
    text: str
    id: str | None = None
    timestamp: datetime | None = None
    type: str | None = None
    seq: int | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The specification's shape: ``id from text timestamp type?`` and the extra fields beside them.

        ``seq`` is in it when it is known; ``add_message`` ignores it.
        """
        fields: dict[str, Any] = {"id": self.id, "from": self.sender, "text": self.text}
        if self.timestamp is not None:
            fields["timestamp"] = to_iso(self.timestamp)
        if self.type is not None:
            fields["type"] = self.type
        if self.seq is not None:
            fields["seq"] = self.seq
        return {**self.extra, **fields}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Message":
        """Read the shape ``to_dict`` gives; what it lacks stays None. Raises InvalidInput."""
        if not isinstance(fields, Mapping):
            raise InvalidInput("message", "a mapping with 'from' (or 'sender') and 'text'", kind_of(fields))
        read = check_message(fields, sys.maxsize).message
        seq = fields.get("seq")
        return msgspec.structs.replace(
            read,
            id=None if fields.get("id") is None else read.id,
            timestamp=None if fields.get("timestamp") is None else read.timestamp,
            seq=None if seq is None else check_integer("message.seq", seq, 1, 2**53 - 1, "a whole number from 1"),
        )


class Draft(msgspec.Struct, frozen=True):
    """A message that was checked and completed. ``timestamp_generated``: the caller gave no timestamp, we did."""

    message: Message
    timestamp_generated: bool

    def is_same(self, other: "Draft") -> bool:
        """Equal as the callers gave them: a timestamp that was filled in does not count."""
        if self.timestamp_generated and other.timestamp_generated:
            return msgspec.structs.replace(self.message, timestamp=other.message.timestamp) == other.message
        return self == other


def check_message(value: object, max_bytes: int, argument: str = "message", budget: ValueBudget | None = None) -> Draft:
    """Check one message and fill in its id and timestamp. Raises InvalidInput, MessageTooLarge."""
    if isinstance(value, Message):
        given: tuple[object, ...] = (value.id, value.sender, value.text, value.timestamp, value.type)
        extra: object = value.extra
    elif isinstance(value, (dict, Mapping)):  # dict first: the abstract class takes its time
        sender_name = "sender" if "from" not in value and "sender" in value else "from"
        if ("role" in value and sender_name not in value) or ("content" in value and "text" not in value):
            named = " and ".join(repr(name) for name in ("role", "content") if name in value)
            advice = "Rename 'role' to 'from', and 'content' to 'text'."
            raise InvalidInput(argument, _ALLOWED, f"a mapping with {named}", advice)
        get = value.get
        given = (get("id"), get(sender_name), get("text"), get("timestamp"), get("type"))
        extra = {name: entry for name, entry in value.items() if name not in _OWN_NAMES and name != sender_name}
    else:
        raise InvalidInput(argument, _ALLOWED, kind_of(value))
    message_id, sender, text, moment, kind = given
    message = Message(
        id=os.urandom(16).hex() if message_id is None else check_message_id(f"{argument}.id", message_id),
        sender=check_sender(argument, sender),
        text=_check_message_text(argument, text, max_bytes),
        timestamp=now() if moment is None else check_moment(f"{argument}.timestamp", moment),
        type=None if kind is None else _check_type(f"{argument}.type", kind),
        extra=_check_extra(f"{argument}.extra", extra, budget) if extra != {} else {},
    )
    return Draft(message, moment is None)


def check_messages(values: object, max_bytes: int) -> list[Draft]:
    """Check a batch of 1 to 10,000. Two of one id must be equal."""
    return _check_batch(values, max_bytes, ValueBudget())


def check_history(values: object, max_bytes: int) -> list[Draft]:
    """As ``check_messages``, and whatever several calls may have stored: it may take seconds of the event loop."""
    return _check_batch(values, max_bytes, None)


def _check_batch(values: object, max_bytes: int, budget: ValueBudget | None) -> list[Draft]:
    allowed = f"a sequence of 1 to {MAX_LIMIT:,} messages"
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        raise InvalidInput("messages", allowed, kind_of(values))
    if not 1 <= len(values) <= MAX_LIMIT:
        raise InvalidInput("messages", allowed, f"{len(values):,}")
    drafts = [check_message(value, max_bytes, f"messages[{i}]", budget) for i, value in enumerate(values)]
    first_of_id: dict[str | None, Draft] = {}
    for i, draft in enumerate(drafts):
        if not draft.is_same(first_of_id.setdefault(draft.message.id, draft)):
            raise InvalidInput(f"messages[{i}].id", "the id of one message, or of equal ones", brief(draft.message.id))
    return drafts


def check_note(value: object, max_bytes: int) -> Draft | None:
    """The message that goes with a switch of the agent: a message, or the text of a system message."""
    if value is None:
        return None
    if isinstance(value, str):
        value = Message(sender="system", text=value)
    return check_message(value, max_bytes, "note")


def check_message_id(argument: str, value: object) -> str:
    allowed = f"1 to {_MAX_MESSAGE_ID} characters without control characters"
    if isinstance(value, str) and not 1 <= len(value) <= _MAX_MESSAGE_ID:
        raise InvalidInput(argument, allowed, f"{len(value):,} characters")
    text = check_text(argument, value, allowed)
    if has_control_characters(text):
        raise InvalidInput(argument, allowed, brief(text))
    return text


def check_sender(argument: str, value: object) -> Sender:
    if not isinstance(value, str) or value not in SENDERS:
        is_long = isinstance(value, str) and len(value) > _MAX_SHOWN_SENDER
        got = f"{len(value):,} characters" if is_long else brief(value)  # type: ignore[arg-type]
        raise InvalidInput(f"{argument}.from", "one of " + ", ".join(SENDERS), got)
    return cast(Sender, str.__str__(value))


def check_limit(value: object) -> int:
    return check_integer("limit", value, 1, MAX_LIMIT, f"a whole number from 1 to {MAX_LIMIT:,}")


def check_cursor(value: object) -> str | None:
    """A cursor as a page gave it. What it says is the store's to check."""
    allowed = "a cursor that a page gave, or None"
    if value is None:
        return None
    if isinstance(value, str) and len(value) > _MAX_CURSOR:
        raise InvalidInput("cursor", allowed, f"{len(value):,} characters")
    return check_text("cursor", value, allowed)


def check_window(before: object, after: object) -> tuple[int | None, int | None]:
    """Two sequence numbers, exclusive, with room between them; None is open."""
    allowed = "a sequence number, or None"
    low = None if after is None else check_integer("after", after, 0, 2**53 - 1, allowed)
    high = None if before is None else check_integer("before", before, 0, 2**53 - 1, allowed)
    if low is not None and high is not None and low >= high:
        raise InvalidInput("after", f"lower than 'before', which is {high}", str(low))
    return high, low


def _check_message_text(argument: str, value: object, max_bytes: int) -> str:
    if isinstance(value, str):
        text = str.__str__(value)
        if len(text) <= max_bytes and text.isascii():  # the common case: every character is one byte
            return text
        if len(text) <= max_bytes:
            size = len(check_text(f"{argument}.text", text, "text").encode())
            if size <= max_bytes:
                return text
            got = f"{size:,} bytes"
        else:
            got = f"{len(text):,} characters"
        raise MessageTooLarge(f"{argument}.text", f"text of at most {max_bytes:,} bytes as UTF-8", got)
    raise InvalidInput(f"{argument}.text", "text", f"a {type(value).__name__}")


def _check_type(argument: str, value: object) -> str:
    allowed = f"1 to {_MAX_TYPE} characters without control characters"
    text = check_text(argument, value, allowed)
    if not 1 <= len(text) <= _MAX_TYPE or has_control_characters(text):
        raise InvalidInput(argument, allowed, brief(text))
    return text


def _check_extra(argument: str, value: object, budget: ValueBudget | None) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(argument, "a mapping", kind_of(value))
    if taken := _OWN_NAMES.intersection(value):
        allowed = "a mapping without the names of a message's own fields"
        raise InvalidInput(argument, allowed, repr(min(taken)))
    copied: dict[str, Any] = JsonCopy(argument, budget).copy(value, argument)
    check_json_size(argument, copied)
    return copied
