"""How a session's meta hash is written and read."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from chat_session.checks import MAX_SAFE_INTEGER, encode_value
from chat_session.clock import from_iso, to_iso
from chat_session.errors import StoreCorrupt
from chat_session.session import INTERNAL, MAX_TTL, RESERVED, Agent, Session

NEVER = -1  # the stored ttl of a session that never expires
CREATED = "cs:created"  # the token of the call that created the session

_RESERVED = frozenset(name.encode() for name in RESERVED)
_INTERNAL = INTERNAL.encode()
_DIGITS = re.compile(rb"[0-9]{1,16}")


def encode_meta(session: Session) -> dict[str, bytes]:
    """The fields of the hash. A session that is read back from them equals ``session``."""
    fields = {
        "userId": session.user_id.encode(),
        "sessionId": session.session_id.encode(),
        "createdAt": to_iso(session.created_at).encode(),
        "lastActiveAt": to_iso(session.last_active_at).encode(),
        "currentAgent": session.current_agent.encode(),
        "ttl": b"%d" % encode_ttl(session.ttl),
        "agentEpoch": b"%d" % session.agent_epoch,
        "messageCount": b"%d" % session.message_count,
    }
    if session.agent_switched_at is not None:
        fields["agentSwitchedAt"] = to_iso(session.agent_switched_at).encode()
    return fields | {name: encode_value(value) for name, value in session.metadata.items()}


def decode_meta(key: bytes, fields: Mapping[bytes, bytes], default_ttl: int) -> Session | None:
    """Read the hash at ``key``; None if it is not a session's (no userId: left over, or not ours).

    A session that another program wrote may lack ttl, agentEpoch and messageCount. Raises StoreCorrupt.
    """
    if b"userId" not in fields:
        return None
    field = b""
    try:
        values: dict[str, Any] = {}
        for field, name, decode in _FIELDS:
            if field in fields:
                values[name] = decode(fields[field])
        metadata = {}
        for field, value in fields.items():
            if field not in _RESERVED and not field.startswith(_INTERNAL):
                metadata[field.decode()] = decode_value(value)
    except (ValueError, OverflowError) as error:
        raise StoreCorrupt(key.decode(errors="replace"), f"has {_say(field)} that cannot be read: {error}") from None
    for name in ("session_id", "created_at"):
        if name not in values:
            missing = "sessionId" if name == "session_id" else "createdAt"
            raise StoreCorrupt(key.decode(errors="replace"), f"has no {missing}")
    values.setdefault("last_active_at", values["created_at"])
    values.setdefault("ttl", None if default_ttl == NEVER else default_ttl)
    return Session(**values, metadata=metadata)


def decode_number(stored: bytes) -> int:
    """Digits and nothing else, up to 2^53 - 1: the rule of the scripts (session.lua). Raises ValueError."""
    if _DIGITS.fullmatch(stored) and (number := int(stored)) <= MAX_SAFE_INTEGER:
        return number
    raise ValueError("it is not a whole number")


def _decode_ttl(stored: bytes) -> int | None:
    if stored == b"-1":
        return None
    ttl = decode_number(stored)
    if not 1 <= ttl <= MAX_TTL:
        raise ValueError(f"it is not between 1 and {MAX_TTL:,}")
    return ttl


def _decode_agent(stored: bytes) -> Agent:
    if stored == b"ai":
        return "ai"
    if stored == b"human":
        return "human"
    raise ValueError("it is neither ai nor human")


def _decode_moment(stored: bytes) -> datetime:
    return from_iso(stored.decode())


def _say(field: bytes) -> str:
    return f"a {field.decode()}" if field in _RESERVED else "a metadata entry"


_FIELDS: tuple[tuple[bytes, str, Callable[[bytes], Any]], ...] = (
    (b"sessionId", "session_id", bytes.decode),
    (b"userId", "user_id", bytes.decode),
    (b"createdAt", "created_at", _decode_moment),
    (b"lastActiveAt", "last_active_at", _decode_moment),
    (b"currentAgent", "current_agent", _decode_agent),
    (b"agentSwitchedAt", "agent_switched_at", _decode_moment),
    (b"agentEpoch", "agent_epoch", decode_number),
    (b"messageCount", "message_count", decode_number),
    (b"ttl", "ttl", _decode_ttl),
)


def decode_user(key: bytes, stored: bytes) -> str:
    try:
        return stored.decode()
    except UnicodeDecodeError as error:
        raise StoreCorrupt(key.decode(errors="replace"), "has a userId that is not UTF-8") from error


def encode_ttl(ttl: int | None) -> int:
    return NEVER if ttl is None else ttl


def decode_value(stored: bytes) -> Any:
    try:
        return msgspec.json.decode(stored)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return stored.decode()
