"""How a message is written: one JSON object, the same bytes in every store."""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from chat_session.agent_fields import AGENT_NAMES
from chat_session.clock import EPOCH, from_iso, to_iso
from chat_session.message import RETRACTED, SENDERS, UNREADABLE, Draft, Message, Sender
from chat_session.rawjson import split_object


class EncodedMessage(NamedTuple):
    """A message ready to be stored. ``id`` is written as between the quotes of the JSON."""

    id: bytes
    fingerprint: bytes
    json: bytes


NO_CONTENT = msgspec.Raw()  # a union of Raw and None would be read as None alone


class _Known(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """All fields but the extra ones: read three times as fast as any mapping."""

    id: str
    text: str
    sender: Sender = msgspec.field(name="from")
    timestamp: datetime | None = None
    type: str | None = None
    format: str | None = None
    author: str | None = None
    calls: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    tokens: int | None = None
    content: msgspec.Raw = NO_CONTENT
    internal: bool = False


_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
_decode_known = msgspec.json.Decoder(_Known).decode
_decode_value = msgspec.json.Decoder().decode
_AGENT_TYPES: dict[str, Any] = {name: _Known.__annotations__[name] for name in AGENT_NAMES if name != "content"}


def encode_message(draft: Draft) -> EncodedMessage:
    """The element begins ``{"id":…,"from":…``: scripts find the id there without decoding. An internal one ends with
    ``,"internal":true}``.

    The fingerprint is 16 characters for what the caller gave and 8 more for a timestamp that the caller gave.
    """
    message = draft.message
    message_id, sender, text = _encode(message.id), message.sender.encode(), _encode(message.text)
    kind = b"" if message.type is None else b',"type":' + _encode(message.type)
    timestamp = b"" if message.timestamp is None else to_iso(message.timestamp).encode()
    stamp = timestamp and b',"timestamp":"%b"' % timestamp
    fields = message.agent_fields()
    agent = (
        b"".join([b',"%b":%b' % (name.encode(), _encode(value)) for name, value in fields.items()]) if fields else b""
    )
    if message.extra:
        known = {"id": message.id, "from": message.sender, "text": message.text, "type": message.type}
        if message.type is None:
            del known["type"]
        given = _encode_sorted({**known, **message.extra})
        internal = b',"internal":true' if message.internal else b""
        more = agent.removesuffix(internal) + b"," + _encode(message.extra)[1:-1] + internal
    else:
        given = b'{"from":"%b","id":%b,"text":%b%b}' % (sender, message_id, text, kind)
        more = agent
    fingerprint = blake2b(given + agent, digest_size=8).hexdigest()
    if timestamp and not draft.timestamp_generated:
        fingerprint += blake2b(timestamp, digest_size=4).hexdigest()
    element = b'{"id":%b,"from":"%b","text":%b%b%b%b}' % (message_id, sender, text, stamp, kind, more)
    if message.type == RETRACTED:  # of a history that is stored again
        element = encode_tombstone(message)
    return EncodedMessage(message_id[1:-1], fingerprint.encode(), element)


def is_from_customer(encoded: EncodedMessage) -> bool:
    return encoded.json[len(encoded.id) + 17 :].startswith(b'user"')  # behind {"id":"…","from":"


def is_answer(encoded: EncodedMessage) -> bool:
    """Whether it is the AI's or an operator's, and the customer can see it."""
    is_theirs = encoded.json[len(encoded.id) + 17 :].startswith((b'assistant"', b'operator"'))
    return is_theirs and not encoded.json.endswith(b',"internal":true}')


def make_tombstone(message: Message) -> Message:
    """What a retracted message leaves in its place. Scripts know its element by its last bytes."""
    return Message(
        id=message.id,
        sender=message.sender,
        text="",
        timestamp=message.timestamp,
        type=RETRACTED,
        seq=message.seq,
        internal=message.internal,
    )


def encode_tombstone(message: Message) -> bytes:
    """``{"id":…,"from":…,"text":"","timestamp":…[,"internal":true],"type":"retracted"}``."""
    stamp = b"" if message.timestamp is None else b',"timestamp":"%b"' % to_iso(message.timestamp).encode()
    internal = b',"internal":true' if message.internal else b""
    begin = b'{"id":%b,"from":"%b","text":""' % (_encode(message.id), message.sender.encode())
    return begin + stamp + internal + b',"type":"retracted"}'


def make_replacement(draft: Draft, stored: Message) -> Message:
    """The message that takes the place of ``stored``, with its seq and ``internal``, and its time if none is given."""
    timestamp = stored.timestamp if draft.timestamp_generated else draft.message.timestamp
    return msgspec.structs.replace(draft.message, seq=stored.seq, internal=stored.internal, timestamp=timestamp)


def is_same_content(one: bytes, other: bytes) -> bool:
    """Whether two fingerprints are of one message: timestamps count where both callers gave one."""
    return one[:16] == other[:16] and (not one[16:] or not other[16:] or one[16:] == other[16:])


def decode_message(stored: bytes, seq: int) -> Message:
    """Read an element. One that cannot be read is given as a message of type "unreadable"."""
    try:
        known = _decode_known(stored)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _decode_any(stored, seq)
    if known.timestamp is not None and known.timestamp.tzinfo is not UTC:
        return _decode_any(stored, seq)
    return Message(
        id=known.id,
        sender=known.sender,
        text=known.text,
        timestamp=known.timestamp,
        type=known.type,
        seq=seq,
        format=known.format,
        author=known.author,
        calls=known.calls,
        answers=known.answers,
        tokens=known.tokens,
        content=None if known.content is NO_CONTENT or _is_null(known.content) else known.content,
        internal=known.internal,
    )


def _is_null(content: msgspec.Raw) -> bool:
    written = memoryview(content)
    return written.nbytes == len(b"null") and bytes(written) == b"null"


def _decode_any(stored: bytes, seq: int) -> Message:
    """One with extra fields, of another program, or damaged."""
    try:
        raw = split_object(stored)
        "".join(raw).encode()  # a name that UTF-8 cannot hold
        content = raw.pop("content", None)
        fields = {name: _decode_value(value) for name, value in raw.items()}
        timestamp = fields.pop("timestamp", None)
        fields.pop("seq", None)  # another program's; ours follows from the place
        return Message(
            id=_text(fields.pop("id")),
            sender=_sender(fields.pop("from")),
            text=_text(fields.pop("text")),
            timestamp=None if timestamp is None else from_iso(timestamp),
            type=None if (kind := fields.pop("type", None)) is None else _text(kind),
            seq=seq,
            content=None if content in (None, b"null") else msgspec.Raw(content),
            **_pop_agent_fields(fields),
            extra=fields,
        )
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError):
        return Message(
            id=f"{UNREADABLE}-{seq}",
            sender="system",
            text="",
            timestamp=EPOCH,
            type=UNREADABLE,
            seq=seq,
            extra={"raw": stored.decode(errors="backslashreplace")},
        )


def _pop_agent_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Those that have the right type; another program may use the same names for other things."""
    found = {}
    for name, kind in _AGENT_TYPES.items():
        if name in fields:
            try:
                found[name] = msgspec.convert(fields[name], kind)
            except msgspec.ValidationError:
                continue
            del fields[name]
    return found


def encode_id(message_id: str) -> bytes:
    """A message's id as it stands in its element, which is ``EncodedMessage.id``."""
    return _encode(message_id)[1:-1]


def decode_id(written: bytes) -> str:
    """A message's id from the form it has in ``EncodedMessage.id``. For an error: other bytes are shown as they are."""
    try:
        return msgspec.json.decode(b'"%b"' % written, type=str)
    except msgspec.MsgspecError:
        return written.decode(errors="backslashreplace")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sender(value: object) -> Any:
    if value not in SENDERS:
        raise ValueError
    return value
