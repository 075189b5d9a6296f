"""How a message is written: one JSON object, the same bytes in every store."""

from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from chat_session.clock import EPOCH, from_iso, to_iso
from chat_session.message import SENDERS, UNREADABLE, Draft, Message


class Element(NamedTuple):
    """A message ready to be stored. ``id`` is written as it stands between the quotes of the JSON."""

    id: bytes
    fingerprint: bytes
    json: bytes


_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def encode_message(draft: Draft) -> Element:
    """The element begins ``{"id":…,"from":…``: scripts find the id there without decoding.

    The fingerprint is of what the caller gave: a timestamp that was filled in stays out of it.
    """
    message = draft.message
    fields: dict[str, Any] = {"id": message.id, "from": message.sender, "text": message.text}
    if message.timestamp is not None:
        fields["timestamp"] = to_iso(message.timestamp)
    if message.type is not None:
        fields["type"] = message.type
    fields.update(message.extra)
    json = _encode(fields)
    if draft.stamped:
        del fields["timestamp"]
    fingerprint = blake2b(_encode_sorted(fields), digest_size=8).hexdigest().encode()
    return Element(_encode(message.id)[1:-1], fingerprint, json)


def decode_message(stored: bytes, seq: int) -> Message:
    """Read an element. One that cannot be read is given as a message of type "unreadable"."""
    try:
        fields = _decode(stored)
        timestamp = fields.pop("timestamp", None)
        fields.pop("seq", None)  # another program's; ours follows from the place
        return Message(
            id=_text(fields.pop("id")),
            sender=_sender(fields.pop("from")),
            text=_text(fields.pop("text")),
            timestamp=None if timestamp is None else from_iso(timestamp),
            type=_text(fields.pop("type")) if "type" in fields else None,
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
    """A message's id from the form it has in ``Element.id``."""
    return msgspec.json.decode(b'"%b"' % written, type=str)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sender(value: object) -> Any:
    if value not in SENDERS:
        raise ValueError
    return value
