"""How a session's meta hash is written and read."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from chat_session.checks import MAX_SAFE_INTEGER, encode_value
from chat_session.clock import from_iso, to_iso
from chat_session.desk_status import OPEN, decode_facts, encode_facts, facts_of, find_status, own_ttl
from chat_session.errors import StoreCorrupt
from chat_session.session import (
    DESK,
    INTERNAL,
    MAX_HISTORY,
    MAX_TTL,
    RESERVED,
    REVISION,
    TURNS,
    Agent,
    Session,
    check_max_history,
)

NEVER = -1  # the stored ttl of a session that never expires
CREATED = "cs:created"  # the token of the call that created the session

_RESERVED = frozenset(name.encode() for name in RESERVED)
_INTERNAL = INTERNAL.encode()
_REVISION = REVISION.encode()
_MAX_HISTORY = MAX_HISTORY.encode()
_DESK = DESK.encode()
_TURNS = TURNS.encode()
CUSTOMER = "cs:customer"  # the sequence number of the newest message of the customer
ANSWERED = "cs:answered"  # up to this sequence number all is answered
MAX_DIGITS = 16


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
    if session.revision:
        fields[REVISION] = b"%d" % session.revision
    if session.max_history is not None:
        fields[MAX_HISTORY] = b"%d" % session.max_history
    if session.desk is not OPEN and (facts := facts_of(session.desk, session.agent_epoch)) is not None:
        fields[DESK] = encode_facts(facts)
    if session.turns:
        fields[TURNS] = b"1"
    return fields | {name: encode_value(value) for name, value in session.metadata.items()}


def decode_meta(key: bytes, reply: Any, default_ttl: int) -> Session | None:
    """Read the reply to HGETALL of ``key``; None if it is not a session's (no userId: left over, or not ours).

    A session that another program wrote may lack ttl, agentEpoch and messageCount. Raises StoreCorrupt.
    """
    fields: Any = reply
    try:
        if type(reply) is list:  # RESP2
            fields = dict(zip(reply[::2], reply[1::2], strict=True))
        if b"userId" not in fields:
            return None
        created = _decode_moment(fields[b"createdAt"])
        switched = fields.get(b"agentSwitchedAt")
        switched_at = _decode_moment(switched) if switched is not None else None
        agent = _decode_agent(fields.get(b"currentAgent", b"ai"))
        epoch = decode_number(fields.get(b"agentEpoch", b"0"))
        ttl = _decode_ttl(fields.get(b"ttl", b"%d" % default_ttl))
        desk = OPEN
        if _DESK in fields or agent == "human":
            facts = decode_facts(fields[_DESK]) if _DESK in fields else None
            desk, ttl = find_status(facts, agent, epoch, switched_at), own_ttl(facts, ttl)
        return Session(
            session_id=fields[b"sessionId"].decode(),
            user_id=fields[b"userId"].decode(),
            created_at=created,
            last_active_at=_decode_moment(fields[b"lastActiveAt"]) if b"lastActiveAt" in fields else created,
            current_agent=agent,
            agent_switched_at=switched_at,
            agent_epoch=epoch,
            message_count=decode_number(fields.get(b"messageCount", b"0")),
            ttl=ttl,
            desk=desk,
            turns=_TURNS in fields,
            revision=decode_number(fields[_REVISION]) if _REVISION in fields else 0,
            max_history=check_max_history(decode_number(fields[_MAX_HISTORY])) if _MAX_HISTORY in fields else None,
            metadata={
                name.decode(): decode_value(value)
                for name, value in fields.items()
                if name not in _RESERVED and name[:3] != _INTERNAL
            },
        )
    except (ValueError, KeyError, OverflowError, TypeError, AttributeError):
        raise StoreCorrupt(key.decode(errors="replace"), _find_problem(fields)) from None


def _find_problem(fields: Any) -> str:
    """What is wrong with the fields of a session that cannot be read."""
    if type(fields) is not dict:
        return "has fields without values"
    for name in (b"sessionId", b"createdAt"):
        if name not in fields:
            return f"has no {name.decode()}"
    for name, value in fields.items():
        try:
            if name in _DECODERS:
                _DECODERS[name](value)
            else:
                name.decode(), decode_value(value)
        except (ValueError, OverflowError, TypeError, AttributeError) as error:
            said = f"a {name.decode()}" if name in _RESERVED else "a metadata entry"
            return f"has {said} that cannot be read: {error}"
    return "cannot be read"


def decode_number(stored: bytes) -> int:
    """Digits and nothing else, up to 2^53 - 1: the rule of the scripts (session.lua). Raises ValueError."""
    if stored.isdigit() and len(stored) <= MAX_DIGITS and (number := int(stored)) <= MAX_SAFE_INTEGER:
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


_DECODERS: dict[bytes, Callable[[bytes], Any]] = {
    b"sessionId": bytes.decode,
    b"userId": bytes.decode,
    b"createdAt": _decode_moment,
    b"lastActiveAt": _decode_moment,
    b"currentAgent": _decode_agent,
    b"agentSwitchedAt": _decode_moment,
    b"agentEpoch": decode_number,
    b"messageCount": decode_number,
    b"ttl": _decode_ttl,
    REVISION.encode(): decode_number,
    DESK.encode(): decode_facts,
    MAX_HISTORY.encode(): lambda stored: check_max_history(decode_number(stored)),
}


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
