"""How a session's meta hash is written and read."""

from collections.abc import Mapping
from typing import Any

import msgspec

from chat_session.clock import from_iso, to_iso
from chat_session.errors import StoreCorrupt
from chat_session.session import RESERVED, Session, check_agent, check_count, check_ttl

NEVER = -1  # the stored ttl of a session that never expires
EPOCH_TOKENS = "epochTokens"  # a field of the scripts: of the calls that began the last epochs

_RESERVED = frozenset(name.encode() for name in RESERVED)


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
    """Read the hash at ``key``; None if it is not a session's (no userId: torn, or not ours).

    A session that another program wrote may lack ttl, agentEpoch and messageCount. Raises StoreCorrupt.
    """
    if b"userId" not in fields:
        return None
    try:
        switched = fields.get(b"agentSwitchedAt")
        created = from_iso(fields[b"createdAt"].decode())
        return Session(
            session_id=fields[b"sessionId"].decode(),
            user_id=fields[b"userId"].decode(),
            created_at=created,
            last_active_at=from_iso(fields[b"lastActiveAt"].decode()) if b"lastActiveAt" in fields else created,
            current_agent=check_agent("currentAgent", fields.get(b"currentAgent", b"ai").decode()),
            agent_switched_at=from_iso(switched.decode()) if switched else None,
            agent_epoch=check_count("agentEpoch", int(fields.get(b"agentEpoch", 0))),
            message_count=check_count("messageCount", int(fields.get(b"messageCount", 0))),
            ttl=decode_ttl(int(fields.get(b"ttl", default_ttl))),
            metadata={k.decode(): decode_value(v) for k, v in fields.items() if k not in _RESERVED},
        )
    except (ValueError, KeyError) as error:
        raise StoreCorrupt(key.decode(errors="replace"), f"does not read as a session ({error!r})") from error


def decode_user(key: bytes, stored: bytes) -> str:
    try:
        return stored.decode()
    except UnicodeDecodeError as error:
        raise StoreCorrupt(key.decode(errors="replace"), "has a userId that is not UTF-8") from error


def encode_ttl(ttl: int | None) -> int:
    return NEVER if ttl is None else ttl


def decode_ttl(stored: int) -> int | None:
    return None if stored == NEVER else check_ttl(stored)


def encode_value(value: Any) -> bytes:
    """A string as it is, unless it would read back as JSON; everything else as JSON."""
    if isinstance(value, str) and not _reads_as_json(value.encode()):
        return value.encode()
    return msgspec.json.encode(value)


def decode_value(stored: bytes) -> Any:
    try:
        return msgspec.json.decode(stored)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return stored.decode()


def _reads_as_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
