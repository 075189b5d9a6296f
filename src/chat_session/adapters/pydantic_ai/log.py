"""The log of a conversation: which message follows which, in the messages of a session.

An entry names the one before it. A message by others, and one that was stored after a takeover, follows the one that
stands before it in the session.
"""

from collections.abc import Sequence

import msgspec

from chat_session import Message
from chat_session.adapters.pairing import find_lost_answers, is_of
from chat_session.adapters.pydantic_ai.messages import FORMAT
from chat_session.adapters.pydantic_ai.record import StoredRecord

PARENT = "parent"  # extra fields of an entry: the id of the entry before it, None for the first, "" for no link,
PARENT_SEQ = "parentSeq"  # and its sequence number, if it is known
NO_LINK = {PARENT: ""}
_is_own = is_of(FORMAT)
ENTRY_ID = "entryId"  # the framework's id, where a message cannot have it


class Line(msgspec.Struct, frozen=True):
    """Messages from the first one to a head. ``is_whole``: none is missing before or between them."""

    messages: list[Message]
    parents: dict[str, str | None]
    is_whole: bool

    def can_be_cut(self, limit: int) -> bool:
        """Whether the last ``limit`` are the same whatever is before the line."""
        newest = self.messages[len(self.messages) - limit :] if len(self.messages) >= limit else None
        if newest is None:
            return False
        return not any(find_lost_answers(newest, is_entry))


class Log:
    """Messages of a session, oldest first, with what the record says of them."""

    def __init__(self, messages: Sequence[Message], stored: StoredRecord | None) -> None:
        self._messages = list(messages)
        self._places = {entry_id(message): place for place, message in enumerate(self._messages)}
        self._stored = stored
        self._head_id = None if stored is None else stored.to_native().head_id

    def __contains__(self, entry: str) -> bool:
        return entry in self._places

    def seq_of(self, entry: str) -> int | None:
        place = self._places.get(entry)
        return None if place is None else self._messages[place].seq

    @property
    def head(self) -> str | None:
        """The newest entry: that of the record, or what others have said since."""
        if not self._messages:
            return None
        newest = self._messages[-1]
        if self._stored is None or (newest.seq or 0) > self._stored.place.seq:
            return entry_id(newest)
        return self._nearest(self._head_id, self._stored.head_seq)

    def line(self, head_id: str) -> Line:
        """Ends with ``head_id``, which must be in the log."""
        found: list[Message] = []
        parents: dict[str, str | None] = {}
        seen: str | None = head_id
        is_whole = True
        while seen is not None and seen not in parents:
            message = self._messages[self._places[seen]]
            parent, known = self._parent(message)
            is_whole = is_whole and known
            declared = message.extra.get(PARENT) if _is_linked(message) else parent
            parents[seen] = declared if isinstance(declared, str) else None
            found.append(message)
            seen = parent
        found.reverse()
        return Line(found, parents, is_whole)

    def find_joins(self) -> dict[str, str | None]:
        """For the record to come: where the messages that others wrote since the last one follow another."""
        if self._stored is None:
            return {}
        joins = {each: parent for each, parent in self._stored.joins.items() if each in self}
        since = next((m for m in self._messages if (m.seq or 0) > self._stored.place.seq and not _is_linked(m)), None)
        if since is not None:
            parent, _ = self._parent(since)
            if parent != self._before(self._places[entry_id(since)]):
                joins[entry_id(since)] = parent
        return joins

    def _parent(self, message: Message) -> tuple[str | None, bool]:
        """The message before it that is stored, and whether it is the one that was before it."""
        own, place = entry_id(message), self._places[entry_id(message)]
        if _is_linked(message):
            parent = message.extra.get(PARENT)
            if parent is None or parent in self._places:
                return parent, True
            seq = message.extra.get(PARENT_SEQ)
            return self._nearest(parent, seq if isinstance(seq, int) else None), False
        if self._stored is not None and own in self._stored.joins:
            parent = self._stored.joins[own]
            return (parent, True) if parent is None or parent in self._places else (None, False)
        is_first_since = (
            self._stored is not None
            and (message.seq or 0) > self._stored.place.seq
            and (place == 0 or (self._messages[place - 1].seq or 0) <= self._stored.place.seq)
        )
        if is_first_since and self._stored is not None:
            nearest = self._nearest(self._head_id, self._stored.head_seq)
            return nearest, nearest == self._head_id
        seq_before = 0 if place == 0 else self._messages[place - 1].seq or 0
        return self._before(place), (message.seq or 0) == seq_before + 1

    def _before(self, place: int) -> str | None:
        return None if place == 0 else entry_id(self._messages[place - 1])

    def _nearest(self, entry: str | None, seq: int | None) -> str | None:
        """The entry, or if it is gone the one that stood before it; None if that is gone, too."""
        if entry is None or entry in self._places:
            return entry
        if seq is None:
            return None
        older = [message for message in self._messages if (message.seq or 0) < seq]
        return entry_id(older[-1]) if older else None


def is_entry(message: Message) -> bool:
    """Whether the store wrote it as an entry."""
    return _is_own(message) and PARENT in message.extra


def entry_id(message: Message) -> str:
    kept = message.extra.get(ENTRY_ID)
    return kept if isinstance(kept, str) and is_entry(message) else message.id or ""


def _is_linked(message: Message) -> bool:
    return is_entry(message) and message.extra[PARENT] != ""


def links(parent_id: str | None, parent_seq: int | None) -> dict[str, str | int | None]:
    """The extra fields of an entry."""
    return {PARENT: parent_id} if parent_seq is None else {PARENT: parent_id, PARENT_SEQ: parent_seq}
