"""A session as a whole, at one moment, and what differs between two stores' copies of it."""

import time
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import msgspec

from chat_session.checks import MAX_JSON_BYTES
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.message import UNREADABLE, Message
from chat_session.session import Session

TOLERANCE = 2.0  # seconds by which two deadlines may differ: stores tell whole seconds, rounded up
_READS = 5  # how often a session is read that changes while it is read
_PROGRESS = ("last_active_at", "message_count", "agent_epoch", "revision")  # these only ever grow


class Deadline(NamedTuple):
    """When a session ends, by this process's monotonic clock, as far as a store that counts seconds can tell."""

    earliest: float
    latest: float

    def agrees(self, other: "Deadline") -> bool:
        return not (self.is_after(other) or other.is_after(self))

    def is_after(self, other: "Deadline") -> bool:
        """Surely, and by more than is tolerated."""
        return self.earliest - other.latest > TOLERANCE

    def left(self) -> int | None:
        """As restore_session wants it. Rounded down: reading it may have rounded up."""
        return None if self.latest == inf else max(1, int(self.latest - time.monotonic()))


class Whole(NamedTuple):
    """All there is of a session, at one moment, except the ``dropped`` oldest messages."""

    session: Session
    history: Sequence[Message]
    deadline: Deadline
    dropped: int = 0


class Unmovable(Exception):
    """A session that is not copied; the text says why."""


async def read_whole(manager: SessionManager, session_id: str, session: Session | None = None) -> Whole | None:
    """The session as it is, None if there is none. ``session``: as it was read a moment ago. Raises Unmovable."""
    session = session or await manager.get_session(session_id)
    for _ in range(_READS):
        if session is None:
            return None
        asked = time.monotonic()
        left = await manager.get_session_ttl(session_id)
        told = time.monotonic()
        history = await Inspector(manager).get_stored_history(session_id)
        before, session = session, await manager.get_session(session_id)
        if session == before:
            if history:  # another program may have pushed without counting
                session = msgspec.structs.replace(session, message_count=history[-1].seq or 0)
            deadline = Deadline(inf, inf) if left < 0 else Deadline(asked + left - 1, told + left)
            return Whole(session, [_portable(message) for message in history], deadline)
    raise Unmovable("It changed again and again while it was read. Run the command again.")


def _portable(message: Message) -> Message:
    """What was unreadable may be longer than extra fields may be; a text may be longer than they."""
    raw = message.extra.get("raw")
    if message.type != UNREADABLE or not isinstance(raw, str) or len(msgspec.json.encode(raw)) < MAX_JSON_BYTES - 8:
        return message  # 8 are for {"raw":}
    return msgspec.structs.replace(message, text=raw, extra={})


def compare(ours: Whole, theirs: Whole) -> list[str]:
    """The names of what differs."""
    fields = Session.__struct_fields__
    differing = [name for name in fields if getattr(ours.session, name) != getattr(theirs.session, name)]
    if len(ours.history) != len(theirs.history) or not all(map(_is_same, ours.history, theirs.history)):
        differing.append("messages")
    if not ours.deadline.agrees(theirs.deadline):
        differing.append("time left")
    return differing


def _is_same(ours: Message, theirs: Message) -> bool:
    """A message without a timestamp, another program's, is given one when it is stored."""
    return ours == (theirs if ours.timestamp else msgspec.structs.replace(theirs, timestamp=None))


def find_progress(ours: Whole, theirs: Whole) -> str | None:
    """What the target's session has that the source's has not, so that it must not be replaced; None: nothing."""
    s, t = ours.session, theirs.session
    if (t.user_id, t.created_at) != (s.user_id, s.created_at):
        return "The target has another session with this id."
    if ahead := [name for name in _PROGRESS if getattr(t, name) > getattr(s, name)]:
        return f"It has changed in the target: {', '.join(ahead)}."
    known = {message.seq: message for message in ours.history}
    if t.revision == s.revision and not all(
        _is_same(known.get(message.seq, message), message) for message in theirs.history
    ):
        return "It has got other messages in the target than in the source."
    if t.ttl == s.ttl and theirs.deadline.is_after(ours.deadline):
        return "It has been extended in the target."
    return None
