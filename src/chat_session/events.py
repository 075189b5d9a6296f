"""What a feed tells of a session, one value for each event. ``to_dict()`` gives camelCase names and ISO times.

Without ``include_internal`` an event holds nothing internal: no internal message, no metadata, no operator's id, no
reason and no note.
"""

from typing import Any, ClassVar, Literal

import msgspec

from chat_session.desk_results import DeskEntry, Operator
from chat_session.desk_status import DeskStatus
from chat_session.message import Message
from chat_session.session import Agent, Session

AbortReason = Literal["taken_over", "expired", "stopped", "released", "failed"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all. ``cursor``: hand it to ``watch(after=…)``, and the feed goes on behind this event."""

    name: ClassVar[str]

    session_id: str
    cursor: str

    def to_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"event": self.name, "sessionId": self.session_id, "cursor": self.cursor}
        for each in msgspec.structs.fields(type(self))[2:]:
            value = getattr(self, each.name)
            fields[_CAMEL.get(each.name, each.name)] = _to_builtin(value)
        return fields


class State(Event, frozen=True, kw_only=True):
    """The session as it is now: the first event of a feed, and the next after each Reset.

    Without ``include_internal`` the session has no metadata, and of the desk only its state.
    """

    name = "state"
    session: Session


class MessageAppended(Event, frozen=True, kw_only=True):
    """A message follows all that were told before. If it was retracted meanwhile, it is its tombstone."""

    name = "message_appended"
    message: Message


class MessageReplaced(Event, frozen=True, kw_only=True):
    """Another message has taken the place of one that was told: the same id and seq."""

    name = "message_replaced"
    message: Message


class MessageRetracted(Event, frozen=True, kw_only=True):
    """A message that was told is retracted. ``message`` is its tombstone."""

    name = "message_retracted"
    message: Message


class HistoryCleared(Event, frozen=True, kw_only=True):
    """All messages up to now are gone. Those that took their place, if any, follow as appended."""

    name = "history_cleared"


class AgentSwitched(Event, frozen=True, kw_only=True):
    """Another agent answers, or the same one in a new epoch."""

    name = "agent_switched"
    agent: Agent
    epoch: int


class DeskChanged(Event, frozen=True, kw_only=True):
    """Who has the session. Without ``include_internal`` only the state."""

    name = "desk_changed"
    desk: DeskStatus


class SessionUpdated(Event, frozen=True, kw_only=True):
    """The metadata, the lifetime or the user has changed. Only with ``include_internal``."""

    name = "session_updated"
    session: Session


class SessionDeleted(Event, frozen=True, kw_only=True):
    """The session is gone. The feed ends."""

    name = "session_deleted"


class SessionExpired(Event, frozen=True, kw_only=True):
    """The session's lifetime is over. The feed ends."""

    name = "session_expired"


class ReplyStarted(Event, frozen=True, kw_only=True):
    """A reply begins to grow. ``reply_id`` will be the id of its message. ``author``: as in the message."""

    name = "reply_started"
    reply_id: str
    author: str | None


class ReplyDelta(Event, frozen=True, kw_only=True):
    """More text of the reply, which begins ``offset`` bytes (UTF-8) behind its start."""

    name = "reply_delta"
    reply_id: str
    offset: int
    text: str


class ReplyCommitted(Event, frozen=True, kw_only=True):
    """The reply is complete, and its message, told just before, is stored. ``seq`` is the message's."""

    name = "reply_committed"
    reply_id: str
    seq: int


class ReplyAborted(Event, frozen=True, kw_only=True):
    """The reply has ended without a message of its own. What was told of it does not count.

    ``reason``: "taken_over", "expired" (its worker stopped), "stopped", "released" or "failed".
    """

    name = "reply_aborted"
    reply_id: str
    reason: str


class Typing(Event, frozen=True, kw_only=True):
    """Somebody types. It is never stored, and may be lost. ``who``: what ``send_typing`` was given."""

    name = "typing"
    who: str


class Presence(Event, frozen=True, kw_only=True):
    """An operator has come, gone, or changed. Only in the feed of the desk; ``session_id`` is empty."""

    name = "presence"
    operator: Operator
    present: bool


class Gap(Event, frozen=True, kw_only=True):
    """The messages from one sequence number to the other, both included, were trimmed before they were told."""

    name = "gap"
    from_seq: int
    to_seq: int


class Reset(Event, frozen=True, kw_only=True):
    """What was told before may no longer be true: a State follows. Read the history again.

    ``reason``: "recreated" (another session has the id), "rewritten" (a failover lost writes), "too_old" (changes
    were missed that are no longer listed).
    """

    name = "reset"
    reason: str


class DeskSnapshot(Event, frozen=True, kw_only=True):
    """The first event of the feed of the desk: the head of the queue, what operators have, and who is present."""

    name = "desk_snapshot"
    waiting: list[DeskEntry]
    assigned: list[DeskEntry]
    operators: list[Operator]


class Headline(Event, frozen=True, kw_only=True):
    """The newest message of a session that an operator has. Only in the feed of the desk."""

    name = "headline"
    message: Message


_CAMEL = {"reply_id": "replyId", "from_seq": "fromSeq", "to_seq": "toSeq"}


def _to_builtin(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_builtin(each) for each in value]
    return value.to_dict() if hasattr(value, "to_dict") else value
