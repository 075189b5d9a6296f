"""How a message is written: one JSON object, the same bytes in every store."""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from chat_session.clock import EPOCH, from_iso, to_iso
from chat_session.message import SENDERS, UNREADABLE, Draft, Message, Sender


class EncodedMessage(NamedTuple):
    """A message ready to be stored. ``id`` is written as between the quotes of the JSON."""

    id: bytes
    fingerprint: bytes
    json: bytes


class _Known(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields that nearly every message has and no others: read three times as fast as any mapping."""

    id: str
    text: str
    sender: Sender = msgspec.field(name="from")
    timestamp: datetime | None = None
    type: str | None = None


class _Stored(msgspec.Struct, omit_defaults=True, gc=False):
    """A message without extra fields, in the order in which it is written."""

    id: str | None
    sender: str = msgspec.field(name="from")
    text: str
    timestamp: str | None = None
    type: str | None = None


class _Content(msgspec.Struct, omit_defaults=True, gc=False):
    """What of it the caller gave, in the order of its names."""

    sender: str = msgspec.field(name="from")
    id: str | None
    text: str
    type: str | None = None


_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_known = msgspec.json.Decoder(_Known).decode


def encode_message(draft: Draft) -> EncodedMessage:
    """The element begins ``{"id":…,"from":…``: scripts find the id there without decoding.

    The fingerprint is 16 characters for the content and 8 more for a timestamp that the caller gave.
    """
    message = draft.message
    timestamp = None if message.timestamp is None else to_iso(message.timestamp)
    known = _Stored(message.id, message.sender, message.text, timestamp, message.type)
    if message.extra:
        fields = {**msgspec.to_builtins(known), **message.extra}
        json = _encode(fields)
        fields.pop("timestamp", None)
        content = _encode_sorted(fields)
    else:
        json = _encode(known)
        content = _encode(_Content(message.sender, message.id, message.text, message.type))
    fingerprint = blake2b(content, digest_size=8).hexdigest()
    if timestamp is not None and not draft.timestamp_generated:
        fingerprint += blake2b(timestamp.encode(), digest_size=4).hexdigest()
    return EncodedMessage(_encode(message.id)[1:-1], fingerprint.encode(), json)


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
        id=known.id, sender=known.sender, text=known.text, timestamp=known.timestamp, type=known.type, seq=seq
    )


def _decode_any(stored: bytes, seq: int) -> Message:
    """One with extra fields, of another program, or damaged."""
    try:
        fields = _decode(stored)
        timestamp = fields.pop("timestamp", None)
        fields.pop("seq", None)  # another program's; ours follows from the place
        return Message(
            id=_text(fields.pop("id")),
            sender=_sender(fields.pop("from")),
            text=_text(fields.pop("text")),
            timestamp=None if timestamp is None else from_iso(timestamp),
            type=None if (kind := fields.pop("type", None)) is None else _text(kind),
            seq=seq,
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


def decode_id(written: bytes) -> str:
    """A message's id from the form it has in ``EncodedMessage.id``."""
    return msgspec.json.decode(b'"%b"' % written, type=str)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sender(value: object) -> Any:
    if value not in SENDERS:
        raise ValueError
    return value
