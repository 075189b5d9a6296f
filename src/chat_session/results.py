"""What the manager's calls return. ``to_dict()`` gives the specification's camelCase shape."""

from datetime import datetime
from typing import Any

import msgspec

from chat_session.clock import to_iso
from chat_session.errors import StoreCorrupt
from chat_session.message import Message
from chat_session.session import Agent, Session


class Result(msgspec.Struct, frozen=True, rename="camel"):
    """The call did what it was asked."""

    success: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields by their camelCase names, a message in the specification's shape."""
        values = (getattr(self, field) for field in self.__struct_fields__)
        return {
            name: value.to_dict() if isinstance(value, Message) else value
            for name, value in zip(self.__struct_encode_fields__, values, strict=True)
        }


class DeleteResult(Result, frozen=True, rename="camel"):
    """``success`` is False when there was no such session."""

    deleted_keys: int


class AppendResult(Result, frozen=True, rename="camel"):
    """``duplicate``: the same message was stored before; ``message`` and ``seq`` are those of then."""

    message_id: str
    message: Message
    seq: int
    duplicate: bool = False


class RetractResult(Result, frozen=True, rename="camel"):
    """``success`` is False when there was no such message; ``message``: what stands in its place now."""

    message: Message | None


class ErasureResult(Result, frozen=True, rename="camel"):
    """What was removed of a user: how many sessions, and how many entries of the user's state."""

    user_id: str
    sessions: int
    state_entries: int


class SwitchResult(Result, frozen=True, rename="camel"):
    """``epoch`` is the session's epoch after the switch."""

    new_agent: Agent
    epoch: int


class CleanupResult(Result, frozen=True, rename="camel"):
    """``cleaned_count``: dead sessions that this call removed from the indexes; each is counted once."""

    cleaned_count: int


class CleanupStatus(msgspec.Struct, frozen=True, rename="camel"):
    """``interval`` in seconds; ``next_cleanup`` is None while nothing is planned."""

    is_running: bool
    interval: float
    next_cleanup: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """The fields by their camelCase names; the moment as ISO text."""
        planned = None if self.next_cleanup is None else to_iso(self.next_cleanup)
        return {"isRunning": self.is_running, "interval": self.interval, "nextCleanup": planned}


class SessionPage(msgspec.Struct, frozen=True):
    """A part of a list. ``cursor`` asks for the next part; None: this is the last one.

    ``damaged``: the errors of sessions that cannot be read; each names the key and what is wrong there.
    """

    sessions: list[Session]
    cursor: str | None = None
    damaged: list[StoreCorrupt] = []

    def to_dict(self) -> dict[str, Any]:
        return {
            "sessions": [session.to_dict() for session in self.sessions],
            "cursor": self.cursor,
            "damaged": [{"key": error.key, "problem": error.problem} for error in self.damaged],
        }
