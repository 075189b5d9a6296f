"""From one observation of a session to the next: which events a watcher is told."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from chat_session.desk_status import DeskStatus
from chat_session.events import (
    AgentSwitched,
    DeskChanged,
    Event,
    Gap,
    HistoryCleared,
    MessageAppended,
    MessageReplaced,
    MessageRetracted,
    ReplyAborted,
    ReplyCommitted,
    ReplyDelta,
    ReplyStarted,
    Reset,
    SessionUpdated,
    State,
)
from chat_session.feed_cursor import ENDED, Cursor, hash_id
from chat_session.message import RETRACTED, Message
from chat_session.session import Session
from chat_session.storage.contract import Edit, Observation, Position, ReplyState

NEWEST = -1  # a position: read no messages


class Follower:
    """What one watcher was told. ``cursor`` None: the feed begins now, with the first observation."""

    __slots__ = ("_session", "begins", "cursor", "include_internal", "session_id", "starts")

    def __init__(self, session_id: str, cursor: Cursor | None, *, include_internal: bool) -> None:
        self.session_id = session_id
        self.include_internal = include_internal
        self.begins = cursor is None  # it is to be found where the session is now
        self.cursor = cursor or Cursor("")
        self.starts = True  # a State comes next
        self._session: Session | None = None  # as it was told

    @property
    def position(self) -> Position:
        """What the next observation is to begin behind."""
        return Position(NEWEST) if self.begins else self.cursor.position

    def begin(self, seen: Observation) -> None:
        """The feed begins at the end of what was seen."""
        reply_id = seen.reply.reply_id if seen.reply and seen.reply.state != "growing" else ""
        revision = seen.session.revision
        self.cursor = Cursor(seen.incarnation, seen.last, "", revision, _tag_of(revision, seen.edits), reply_id)
        self.begins, self.starts = False, True

    def start(self, seen: Observation) -> Iterator[Event]:
        """The State, once the cursor is known."""
        self.starts = False
        self._session = seen.session
        if self.cursor.message == "" and seen.told is not None:
            self.cursor = self.cursor._replace(message=hash_id(seen.told.id))
        yield self._event(State, session=self.view(seen.session))

    def find_reset(self, seen: Observation) -> str | None:
        """Why what was told may no longer be true; None if it is."""
        at = self.cursor
        if at.incarnation != seen.incarnation:
            return "recreated"
        revision = seen.session.revision
        if at.seq > seen.last or at.revision > revision:
            return "rewritten"
        if at.message and seen.told is not None and hash_id(seen.told.id) != at.message:
            return "rewritten"
        listed = {edit.revision: edit.tag for edit in seen.edits}
        if listed.get(at.revision, at.tag) != at.tag:
            return "rewritten"
        if any(each not in listed for each in range(at.revision + 1, min(revision, at.revision + 65) + 1)):
            return "too_old"
        return None

    def reset(self, seen: Observation, reason: str) -> Iterator[Event]:
        self.begin(seen)
        yield self._event(Reset, reason=reason)

    def missed_edits(self, seen: Observation) -> list[Edit]:
        """Those that were not told, oldest first, of messages that were: of the others only the last form is told."""
        missed = [edit for edit in seen.edits if edit.revision > self.cursor.revision and edit.first <= self.cursor.seq]
        cleared = max((i for i, edit in enumerate(missed) if edit.last == 0), default=0)
        return missed[cleared:]

    def edited(self, edit: Edit, messages: Sequence[Message], *, is_last: bool) -> Iterator[Event]:
        """``messages``: what is now in the places that the edit changed; none for one of the whole history.

        ``is_last``: nothing else that was missed follows. Until then a cursor is before all of it.
        """
        events: list[tuple[type[Event], dict[str, Any]]] = [(HistoryCleared, {})] if edit.last == 0 else []
        for message in messages:
            if (message.seq or 0) <= self.cursor.seq and self._is_told(message):
                is_retracted = message.type == RETRACTED
                events.append(
                    (MessageRetracted if is_retracted else MessageReplaced, {"message": self._shown(message)})
                )
        for i, (kind, facts) in enumerate(events, 1):
            if is_last and i == len(events):
                self._move(revision=edit.revision, tag=edit.tag)
            yield self._event(kind, **facts)

    def follow(self, seen: Observation) -> Iterator[Event]:
        """All that has changed, once the edits are told."""
        revision = seen.session.revision
        self._move(revision=revision, tag=_tag_of(revision, seen.edits))
        yield from self._compare(seen.session)
        yield from self._end_stored()
        yield from self._gap(seen)
        for message in seen.messages:
            yield from self._append(message)
        if self.cursor.seq >= seen.last:
            yield from self._reply(seen.reply)

    def is_behind(self, seen: Observation, size: int) -> bool:
        """Whether another look of ``size`` bytes is to follow at once."""
        is_cut = seen.reply is not None and len(seen.reply.text) >= size
        return self.starts or self.cursor.seq < seen.last or is_cut

    def view(self, session: Session) -> Session:
        """The session as this watcher may see it."""
        if self.include_internal:
            return session
        return msgspec.structs.replace(
            session,
            metadata={},
            desk=DeskStatus(state=session.desk.state),
            last_active_at=session.created_at,
            message_count=0,
            revision=0,
            max_history=None,
        )

    def _event(self, kind: type[Event], **facts: Any) -> Event:
        return kind(session_id=self.session_id, cursor=str(self.cursor), **facts)

    def _move(self, **changes: int | str) -> None:
        self.cursor = self.cursor._replace(**changes)  # type: ignore[arg-type]

    def _is_told(self, message: Message) -> bool:
        return self.include_internal or not message.internal

    def _shown(self, message: Message) -> Message:
        """Without the operator's id, for those who may not see it."""
        if self.include_internal or message.sender != "operator" or message.author is None:
            return message
        return msgspec.structs.replace(message, author=None)

    def _compare(self, session: Session) -> Iterator[Event]:
        before, self._session = self._session, session
        if before is None:
            return
        if (session.agent_epoch, session.current_agent) != (before.agent_epoch, before.current_agent):
            yield self._event(AgentSwitched, agent=session.current_agent, epoch=session.agent_epoch)
        if (desk := self.view(session).desk) != self.view(before).desk:
            yield self._event(DeskChanged, desk=desk)
        if self.include_internal and _details(session) != _details(before):
            yield self._event(SessionUpdated, session=session)

    def _end_stored(self) -> Iterator[Event]:
        """The cursor is that of a reply's message, and behind it comes the reply's end."""
        at = self.cursor
        if at.offset != ENDED and at.message == hash_id(at.reply_id):
            self._move(offset=ENDED)
            yield self._event(ReplyCommitted, reply_id=at.reply_id, seq=at.seq)

    def _gap(self, seen: Observation) -> Iterator[Event]:
        first, to = self.cursor.seq + 1, seen.first - 1
        if first > to:
            return
        self._move(seq=to, message="")
        last_told = to if self.include_internal else min(seen.trimmed, to)
        if last_told >= first:
            yield self._event(Gap, from_seq=first, to_seq=last_told)

    def _append(self, message: Message) -> Iterator[Event]:
        is_reply = message.id == self.cursor.reply_id and self.cursor.offset != ENDED
        if is_reply and message.type != RETRACTED:
            yield from self._grow((message.text or "").encode()[self.cursor.offset :])
        self._move(seq=message.seq or 0, message=hash_id(message.id))
        if self._is_told(message):
            yield self._event(MessageAppended, message=self._shown(message))
        if is_reply:
            self._move(offset=ENDED)
            yield self._event(ReplyCommitted, reply_id=message.id or "", seq=message.seq or 0)

    def _reply(self, reply: ReplyState | None) -> Iterator[Event]:
        at = self.cursor
        is_same = reply is not None and reply.reply_id == at.reply_id
        if at.offset != ENDED and not (is_same and reply is not None and reply.state == "growing"):
            self._move(offset=ENDED)
            if is_same and reply is not None and reply.state == "committed":
                yield self._event(ReplyCommitted, reply_id=at.reply_id, seq=reply.seq)
            else:
                reason = reply.reason if is_same and reply is not None else "expired"
                yield self._event(ReplyAborted, reply_id=at.reply_id, reason=reason)
        if reply is None or reply.state != "growing":
            return
        if not is_same:
            self._move(reply_id=reply.reply_id, offset=0)
            yield self._event(ReplyStarted, reply_id=reply.reply_id, author=reply.author)
        if self.cursor.offset == reply.offset:
            yield from self._grow(reply.text)

    def _grow(self, text: bytes) -> Iterator[Event]:
        """Whole code points only: the rest of the last one comes later."""
        offset = self.cursor.offset
        whole = text.decode(errors="ignore")
        if whole:
            self._move(offset=offset + len(whole.encode()))
            yield self._event(ReplyDelta, reply_id=self.cursor.reply_id, offset=offset, text=whole)


def _tag_of(revision: int, edits: Sequence[Edit]) -> str:
    return next((edit.tag for edit in reversed(edits) if edit.revision == revision), "")


def _details(session: Session) -> tuple[object, ...]:
    return session.metadata, session.ttl, session.user_id, session.max_history, session.turns
