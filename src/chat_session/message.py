"""A message as a value, and what is valid of it."""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, cast, get_args

import msgspec

from chat_session.agent_fields import AGENT_NAMES, check_agent_fields, check_label
from chat_session.checks import (
    JsonCopy,
    ValueBudget,
    brief,
    check_integer,
    check_json_size,
    check_name,
    check_text,
    kind_of,
)
from chat_session.clock import now, to_iso
from chat_session.content import decode_content, encode_content
from chat_session.errors import InvalidInput, MessageTooLarge
from chat_session.paging import MAX_LIMIT
from chat_session.session import check_moment

Sender = Literal["user", "assistant", "system", "tool", "operator"]
SENDERS: tuple[str, ...] = get_args(Sender)
UNREADABLE = "unreadable"  # the type of a message whose stored form is damaged
RETRACTED = "retracted"  # the type of what a retracted message leaves in its place

MAX_WRITE_BYTES = 8 * 1024 * 1024  # of the contents of one call
_MAX_MESSAGE_ID = 128
_MAX_SHOWN_SENDER = 16  # a longer one may be a text in the wrong place
_ALLOWED = "a Message or a mapping with 'from' (or 'sender') and 'text'"
_OWN_NAMES = frozenset(("id", "from", "text", "timestamp", "type", "seq", *AGENT_NAMES))


_NOTHING: dict[str, Any] = {}
_COMMON_NAMES = frozenset(("id", "from", "text", "timestamp", "type"))


class _Fields(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The fields of a message as they are given and kept. ``content`` is a Raw once it was checked."""

    sender: Sender
    text: str
    id: str | None = None
    timestamp: datetime | None = None
    type: str | None = None
    seq: int | None = None
    format: str | None = None
    author: str | None = None
    calls: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    tokens: int | None = None
    content: Any = None
    internal: bool = False
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


_stored_content = _Fields.content.__get__  # the field, which Message hides
_NO_AGENT_FIELDS = (None, None, (), (), None, None, False)


class Message(_Fields, frozen=True, kw_only=True, repr_omit_defaults=True):
    """One message. ``seq`` counts a session's messages from 1; None until it is stored.

    ``id`` and ``timestamp`` may be left out when a message is sent: they are filled in. Fields that
    this class does not know are kept in ``extra``.

    ``content`` is a framework's own item, any JSON value; give a ``msgspec.Raw`` for bytes that must not change.
    ``format`` names its format, such as "openai.item/1". ``internal``: a customer must not read it. ``author``: which
    operator or agent spoke. ``calls`` and ``answers``: the ids of the tool calls that it makes and answers.
    ``tokens``: its size for a model.
    """

    @property  # type: ignore[misc]  # it decodes the field of this name
    def content(self) -> Any:
        """The value, decoded at each access. None if there is none. Raises ValueError if the bytes are damaged."""
        stored = _stored_content(self)
        return decode_content(bytes(stored)) if isinstance(stored, msgspec.Raw) else stored

    @property
    def content_json(self) -> bytes | None:
        """The content as it is stored, byte for byte."""
        stored = _stored_content(self)
        return None if stored is None else encode_content(stored)

    def to_dict(self) -> dict[str, Any]:
        """The specification's shape: ``id from text timestamp type?`` and all other fields beside them.

        ``seq`` is in it when it is known; ``add_message`` ignores it.
        """
        fields = self.to_raw_dict()
        if "content" in fields:
            fields["content"] = self.content
        return fields

    def to_raw_dict(self) -> dict[str, Any]:
        """As ``to_dict``, with the content as a ``msgspec.Raw``, so that ``msgspec.json`` keeps its bytes."""
        fields: dict[str, Any] = {"id": self.id, "from": self.sender, "text": self.text}
        if self.timestamp is not None:
            fields["timestamp"] = to_iso(self.timestamp)
        if self.type is not None:
            fields["type"] = self.type
        if self.seq is not None:
            fields["seq"] = self.seq
        return {**self.extra, **fields, **self.agent_fields()}

    def agent_fields(self) -> dict[str, Any]:
        """Those of ``AGENT_NAMES`` that are set, in their order in a stored element; ``content`` as a Raw."""
        fields = _find_agent_fields(self)
        if "content" in fields:
            fields["content"] = msgspec.Raw(encode_content(fields["content"]))
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Message":
        """Read the shape ``to_dict`` gives; what it lacks stays None. Raises InvalidInput."""
        if not isinstance(fields, Mapping):
            raise InvalidInput("message", "a mapping with 'from' (or 'sender') and 'text'", kind_of(fields))
        read = check_message(fields, UNLIMITED).message
        seq = fields.get("seq")
        return msgspec.structs.replace(
            read,
            id=None if fields.get("id") is None else read.id,
            timestamp=None if fields.get("timestamp") is None else read.timestamp,
            seq=None if seq is None else check_integer("message.seq", seq, 1, 2**53 - 1, "a whole number from 1"),
        )


def with_seq(message: Message, seq: int) -> Message:
    """The same with its sequence number. msgspec.structs.replace would take four times as long."""
    return Message(
        sender=message.sender,
        text=message.text,
        id=message.id,
        timestamp=message.timestamp,
        type=message.type,
        seq=seq,
        format=message.format,
        author=message.author,
        calls=message.calls,
        answers=message.answers,
        tokens=message.tokens,
        content=_stored_content(message),
        internal=message.internal,
        extra=message.extra,
    )


def _find_agent_fields(message: Message) -> dict[str, Any]:
    """Those that are set, as they were given."""
    content = _stored_content(message)
    given = (message.format, message.author, message.calls, message.answers, message.tokens, content, message.internal)
    if given == _NO_AGENT_FIELDS and message.internal is False:  # 0 equals False
        return {}
    fields = zip(AGENT_NAMES, given, strict=True)
    return {name: value for name, value in fields if value is not None and value != () and value is not False}


class Limits(msgspec.Struct, frozen=True):
    """How large a message may be, in bytes."""

    text: int
    content: int
    all_contents: int = MAX_WRITE_BYTES  # of one call
    lenient: bool = False  # keep as extra fields what another program wrote in fields for agents, of another type


UNLIMITED = Limits(sys.maxsize, sys.maxsize, sys.maxsize)


class Draft(msgspec.Struct, frozen=True):
    """A message that was checked and completed. ``timestamp_generated``: the caller gave no timestamp, we did."""

    message: Message
    timestamp_generated: bool

    def is_same(self, other: "Draft") -> bool:
        """Equal as the callers gave them: a timestamp that was filled in does not count."""
        if self.timestamp_generated and other.timestamp_generated:
            return msgspec.structs.replace(self.message, timestamp=other.message.timestamp) == other.message
        return self == other


class Generated:
    """What is filled in: ids, and one moment for all messages of a call."""

    def __init__(self, count: int = 1) -> None:
        self.moment = now()
        self._ids = os.urandom(16 * count).hex()
        self._taken = 0

    def take_id(self) -> str:
        begin, self._taken = self._taken, self._taken + 32
        return self._ids[begin : begin + 32]


def check_message(
    value: object,
    limits: Limits,
    argument: str = "message",
    budget: ValueBudget | None = None,
    generated: Generated | None = None,
) -> Draft:
    """Check one message and fill in its id and timestamp. Raises InvalidInput, MessageTooLarge."""
    generated = generated or Generated()
    return _check_plain(value, limits, generated) or _check_any(value, limits, argument, budget, generated)


def _check_plain(value: object, limits: Limits, generated: Generated) -> Draft | None:
    """``{"from": …, "text": …}``, as most are, in half the time. None if it is another one, or is to be refused."""
    if type(value) is not dict or len(value) != 2:  # noqa: PLR2004
        return None
    sender, text = value.get("from"), value.get("text")
    if type(sender) is not str or sender not in SENDERS or type(text) is not str or len(text) > limits.text:
        return None
    if not text.isascii():
        try:
            if len(text.encode()) > limits.text:
                return None
        except UnicodeEncodeError:
            return None
    known = cast(Sender, sender)
    message = Message(id=generated.take_id(), sender=known, text=text, timestamp=generated.moment)
    return Draft(message, timestamp_generated=True)


def _check_any(value: object, limits: Limits, argument: str, budget: ValueBudget | None, generated: Generated) -> Draft:
    extra: object = _NOTHING
    agent: Mapping[str, object] | None = None
    if isinstance(value, Message):
        message_id, sender, text, moment, kind = value.id, value.sender, value.text, value.timestamp, value.type
        extra, agent = value.extra, _find_agent_fields(value)
    elif isinstance(value, (dict, Mapping)):  # dict first: the abstract class takes its time
        get = value.get
        sender_name = "from"
        if not value.keys() <= _COMMON_NAMES:
            sender_name = "sender" if "from" not in value and "sender" in value else "from"
            _refuse_foreign_names(argument, value, sender_name)
            extra = {name: entry for name, entry in value.items() if name not in _OWN_NAMES and name != sender_name}
            agent = {name: value[name] for name in AGENT_NAMES if get(name) is not None}
        message_id, sender, text = get("id"), get(sender_name), get("text")  # type: ignore[assignment]
        moment, kind = get("timestamp"), get("type")
    else:
        raise InvalidInput(argument, _ALLOWED, kind_of(value))
    checked, foreign = (
        check_agent_fields(argument, agent, limits.content, lenient=limits.lenient) if agent else (_NOTHING, _NOTHING)
    )
    message = Message(
        id=generated.take_id() if message_id is None else check_message_id(f"{argument}.id", message_id),
        sender=check_sender(argument, sender),
        text=_check_message_text(argument, text, limits.text),
        timestamp=generated.moment if moment is None else check_moment(f"{argument}.timestamp", moment),
        type=None if kind is None else check_label(f"{argument}.type", kind),
        extra={}
        if extra == {} and not foreign
        else _check_extra(f"{argument}.extra", extra, budget, foreign, lenient=limits.lenient),
        **checked,
    )
    return Draft(message, moment is None)


def _refuse_foreign_names(argument: str, value: Mapping[str, object], sender_name: str) -> None:
    if ("role" in value and sender_name not in value) or ("content" in value and "text" not in value):
        named = " and ".join(repr(name) for name in ("role", "content") if name in value)
        advice = "Rename 'role' to 'from', and 'content' to 'text'."
        raise InvalidInput(argument, _ALLOWED, f"a mapping with {named}", advice)


def check_messages(values: object, limits: Limits) -> list[Draft]:
    """Check a batch of 1 to 10,000. Two of one id must be equal."""
    return _check_batch(values, limits, ValueBudget())


def check_history(values: object, limits: Limits) -> list[Draft]:
    """As ``check_messages``, and whatever several calls may have stored: it may take seconds of the event loop."""
    return _check_batch(values, msgspec.structs.replace(limits, all_contents=sys.maxsize, lenient=True), None)


def _check_batch(values: object, limits: Limits, budget: ValueBudget | None) -> list[Draft]:
    allowed = f"a sequence of 1 to {MAX_LIMIT:,} messages"
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        raise InvalidInput("messages", allowed, kind_of(values))
    if not 1 <= len(values) <= MAX_LIMIT:
        raise InvalidInput("messages", allowed, f"{len(values):,}")
    generated = Generated(len(values))
    drafts = [
        _check_plain(value, limits, generated) or _check_any(value, limits, f"messages[{i}]", budget, generated)
        for i, value in enumerate(values)
    ]
    first_of_id: dict[str | None, Draft] = {}
    contents = 0
    for i, draft in enumerate(drafts):
        if _stored_content(draft.message) is not None:
            contents += len(draft.message.content_json or b"")
        first = first_of_id.setdefault(draft.message.id, draft)
        if first is not draft and not draft.is_same(first):
            raise InvalidInput(f"messages[{i}].id", "the id of one message, or of equal ones", brief(draft.message.id))
    if contents > limits.all_contents:
        allowed = f"a batch with contents of at most {limits.all_contents:,} bytes in all"
        raise MessageTooLarge("messages", allowed, f"{contents:,} bytes", "Send the messages in several calls.")
    return drafts


def check_note(value: object, limits: Limits) -> Draft | None:
    """The message that goes with a switch of the agent: a message, or the text of a system message."""
    if value is None:
        return None
    if isinstance(value, str):
        value = Message(sender="system", text=value)
    draft = check_message(value, limits, "note")
    refuse_reserved_type("note", draft.message)
    return draft


def check_message_id(argument: str, value: object) -> str:
    return check_name(argument, value, _MAX_MESSAGE_ID)


def check_sender(argument: str, value: object) -> Sender:
    if type(value) is str and value in SENDERS:
        return cast(Sender, value)
    if not isinstance(value, str) or value not in SENDERS:
        is_long = isinstance(value, str) and len(value) > _MAX_SHOWN_SENDER
        got = f"{len(value):,} characters" if is_long else brief(value)  # type: ignore[arg-type]
        raise InvalidInput(f"{argument}.from", "one of " + ", ".join(SENDERS), got)
    return cast(Sender, str.__str__(value))


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


def refuse_reserved_type(argument: str, message: Message) -> None:
    """The types that only a store gives to a message, and only a restored history may have."""
    if message.type in (RETRACTED, UNREADABLE):
        raise InvalidInput(f"{argument}.type", f"another than {RETRACTED!r} and {UNREADABLE!r}", repr(message.type))


def _check_extra(
    argument: str, value: object, budget: ValueBudget | None, foreign: Mapping[str, Any], *, lenient: bool
) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(argument, "a mapping", kind_of(value))
    value = {**value, **foreign}
    if taken := _OWN_NAMES.intersection(value).difference(AGENT_NAMES if lenient else ()):
        allowed = "a mapping without the names of a message's own fields"
        raise InvalidInput(argument, allowed, repr(min(taken)))
    copied: dict[str, Any] = JsonCopy(argument, budget).copy(value, argument)
    check_json_size(argument, copied)
    return copied


def messages_beside_the_ai(messages: Sequence[Message]) -> list[Message]:
    """Those that do not speak for the AI: the customer's, and as internal what tools did, with the calls.

    Internal messages directly before a call, such as the reasoning that led to it, stay with it: a provider may refuse
    a call without them.
    """
    answered = {call for message in messages for call in message.answers}
    kept = []
    leads_to_call = False
    for message in reversed(messages):
        is_call = not answered.isdisjoint(message.calls)
        is_thought = message.internal and message.sender == "assistant" and not message.calls and not message.answers
        leads_to_call = is_call or (leads_to_call and is_thought)
        if message.sender == "user" and not message.answers:
            kept.append(message)
        elif message.sender == "tool" or message.answers or leads_to_call:
            kept.append(msgspec.structs.replace(message, internal=True))
    return kept[::-1]
