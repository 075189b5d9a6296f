"""A session as a value, and what is valid of it."""

import re
from collections.abc import Mapping
from datetime import datetime
from types import EllipsisType
from typing import Any, Literal, cast

import msgspec

from chat_session.checks import (
    JsonCopy,
    brief,
    check_integer,
    check_metadata_size,
    check_text,
    has_control_characters,
    refuse_large_metadata,
)
from chat_session.clock import from_iso, now, to_iso
from chat_session.desk_status import OPEN, DeskStatus, find_status, read_status
from chat_session.errors import InvalidInput

Agent = Literal["ai", "human"]

MAX_TTL = 315_360_000  # ten years in seconds
LARGEST_HISTORY = 10_000  # messages
RESERVED = frozenset(
    (
        "userId",
        "sessionId",
        "createdAt",
        "lastActiveAt",
        "currentAgent",
        "agentSwitchedAt",
        "ttl",
        "agentEpoch",
        "messageCount",
    )
)

_SESSION_ID = re.compile(r"[A-Za-z0-9._~:@+=-]{1,128}")
INTERNAL = "cs:"  # begins the names of fields that the stores keep for themselves
REVISION = INTERNAL + "revision"
MAX_HISTORY = INTERNAL + "maxHistory"
DESK = INTERNAL + "desk"
TURNS = INTERNAL + "turns"
_OWN_NAMES = RESERVED | {REVISION, MAX_HISTORY, DESK, TURNS}
_MAX_USER_ID = 256
_MAX_METADATA_NAME = 64
_NOT_RESERVED = "a mapping without the names of a session's own fields, and without names that begin with 'cs:'"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one session at the moment it was read. ``ttl`` is in seconds, None: never expires.

    ``agent_epoch`` counts the switches of the agent; hand it to ``add_message(epoch=…)`` and the
    store refuses the message if the agent was switched since. ``revision`` counts the changes of the history that
    were not appends. ``max_history``: how many messages the session keeps, None for MAX_MESSAGE_HISTORY. ``desk``:
    whether it waits for a person, or which operator has it. ``ttl`` is the session's own also while it is longer
    because people depend on the session. ``turns``: whether ``pending_turns`` finds it.
    """

    session_id: str
    user_id: str
    created_at: datetime
    last_active_at: datetime
    current_agent: Agent = "ai"
    agent_switched_at: datetime | None = None
    agent_epoch: int = 0
    message_count: int = 0
    ttl: int | None = None
    revision: int = 0
    max_history: int | None = None
    desk: DeskStatus = OPEN
    turns: bool = False
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The specification's shape: camelCase names, ISO times, metadata entries beside them."""
        fields: dict[str, Any] = {
            "sessionId": self.session_id,
            "userId": self.user_id,
            "createdAt": to_iso(self.created_at),
            "lastActiveAt": to_iso(self.last_active_at),
            "currentAgent": self.current_agent,
            "agentEpoch": self.agent_epoch,
            "messageCount": self.message_count,
            "ttl": self.ttl,
        }
        if self.agent_switched_at is not None:
            fields["agentSwitchedAt"] = to_iso(self.agent_switched_at)
        if self.revision:
            fields[REVISION] = self.revision
        if self.max_history is not None:
            fields[MAX_HISTORY] = self.max_history
        if self.desk != OPEN:
            fields[DESK] = self.desk.to_dict()
        if self.turns:
            fields[TURNS] = True
        return {**self.metadata, **fields}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Session":
        """Read the shape ``to_dict`` gives. Raises InvalidInput."""
        switched = fields.get("agentSwitchedAt")
        ttl = fields.get("ttl")
        agent = check_agent("currentAgent", fields.get("currentAgent", "ai"))
        switched_at = None if switched is None else check_moment("agentSwitchedAt", switched)
        desk = fields.get(DESK)
        return cls(
            session_id=check_session_id(fields.get("sessionId")),
            user_id=check_user_id(fields.get("userId")),
            created_at=check_moment("createdAt", fields.get("createdAt")),
            last_active_at=check_moment("lastActiveAt", fields.get("lastActiveAt")),
            current_agent=agent,
            agent_switched_at=switched_at,
            agent_epoch=check_count("agentEpoch", fields.get("agentEpoch", 0)),
            message_count=check_count("messageCount", fields.get("messageCount", 0)),
            desk=find_status(None, agent, 0, switched_at) if desk is None else read_status(DESK, desk),
            ttl=None if ttl is None else check_ttl(ttl),
            revision=check_count(REVISION, fields.get(REVISION, 0)),
            max_history=check_max_history(fields.get(MAX_HISTORY)),
            turns=bool(fields.get(TURNS, False)),
            metadata=check_metadata({k: v for k, v in fields.items() if k not in _OWN_NAMES}),
        )


def fork_of(source: Session, session_id: str, user_id: str, message_count: int) -> Session:
    """A new session with the user, agent, lifetime, bound and metadata of another."""
    moment = now()
    return msgspec.structs.replace(
        source,
        session_id=session_id,
        user_id=user_id,
        created_at=moment,
        last_active_at=moment,
        agent_switched_at=None,
        agent_epoch=0,
        message_count=message_count,
        revision=0,
        desk=find_status(None, source.current_agent, 0, None),
    )


def is_session_id(text: str) -> bool:
    return _SESSION_ID.fullmatch(text) is not None


def check_session_id(value: object) -> str:
    allowed = "1 to 128 characters of A-Z a-z 0-9 . _ ~ - : @ + ="
    if not isinstance(value, str) or not _SESSION_ID.fullmatch(str.__str__(value)):
        raise InvalidInput("session_id", allowed, brief(value))
    return str.__str__(value)


def check_user_id(value: object, argument: str = "user_id") -> str:
    """Colons, braces, spaces, emoji and any script are fine, and kept byte for byte. Operators have such ids, too."""
    allowed = f"1 to {_MAX_USER_ID} characters that are not all blank, without control characters"
    if isinstance(value, str) and len(value) > _MAX_USER_ID:
        raise InvalidInput(argument, allowed, f"{len(value):,} characters")
    text = check_text(argument, value, allowed)
    if not text.strip() or has_control_characters(text):
        raise InvalidInput(argument, allowed, brief(value))
    return text


def check_agent(argument: str, value: object) -> Agent:
    if not isinstance(value, str) or value not in ("ai", "human"):
        raise InvalidInput(argument, "'ai' or 'human'", brief(value))
    return cast(Agent, str.__str__(value))


def check_count(argument: str, value: object) -> int:
    return check_integer(argument, value, 0, 2**53 - 1, "a whole number, 0 or more")


def check_flag(argument: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(argument, "True or False", brief(value))
    return value


def check_max_history(value: object) -> int | None:
    """How many messages a session keeps; None is the setting MAX_MESSAGE_HISTORY."""
    if value is None:
        return None
    return check_integer("max_history", value, 1, LARGEST_HISTORY, f"a whole number from 1 to {LARGEST_HISTORY:,}")


def check_ttl(value: object) -> int | None:
    """Seconds; None means that the session never expires."""
    if value is None:
        return None
    allowed = f"a whole number of seconds from 1 to {MAX_TTL:,}, or None for never"
    return check_integer("ttl", value, 1, MAX_TTL, allowed)


def choose_ttl(value: int | EllipsisType | None, default: int | None) -> int | None:
    """``...`` means the default of the settings, since None has a meaning of its own."""
    return default if value is ... else check_ttl(value)


def check_moment(argument: str, value: object) -> datetime:
    """A timezone-aware datetime, or ISO 8601 text with a time zone; given back in UTC."""
    allowed = "a timezone-aware datetime or ISO 8601 text with a time zone"
    try:
        if isinstance(value, str):
            return from_iso(value)
        if isinstance(value, datetime) and value.utcoffset() is not None:
            return from_iso(to_iso(value))
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(argument, allowed, brief(value))


def check_metadata(value: object, argument: str = "metadata") -> dict[str, Any]:
    """The entries beside the session's own fields, copied; None means no entries."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(argument, "a mapping", brief(value))
    refuse_large_metadata(len(value), 0)
    json = JsonCopy(argument)
    copied = {
        check_metadata_name(name, argument): json.copy(entry, f"{argument}[{brief(name)}]")
        for name, entry in value.items()
    }
    check_metadata_size(copied)
    return copied


def check_metadata_name(value: object, argument: str = "metadata") -> str:
    allowed = f"a mapping with names of 1 to {_MAX_METADATA_NAME} characters, without control characters"
    name = check_text(argument, value, allowed)
    if not 1 <= len(name) <= _MAX_METADATA_NAME or has_control_characters(name):
        raise InvalidInput(argument, allowed, brief(name))
    if name in RESERVED or name.startswith(INTERNAL):
        raise InvalidInput(argument, _NOT_RESERVED, brief(name))
    return name
