"""A durable ``ConversationStore``: each conversation is a session, each entry of its log a message."""

import asyncio
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.messages import ModelMessage
from pydantic_ai.run import AgentRunResult

from chat_session import Inspector, Session, SessionManager, StoreCorrupt
from chat_session.adapters.history import Epoch
from chat_session.adapters.pydantic_ai.entries import make_entries, make_entry, to_messages
from chat_session.adapters.pydantic_ai.log import Log
from chat_session.adapters.pydantic_ai.places import Places
from chat_session.adapters.pydantic_ai.record import (
    make_record,
    read_epoch,
    read_revision,
    read_stored,
)
from chat_session.adapters.pydantic_ai.writing import RecordWriter, owner_of
from chat_session.adapters.session_ids import make_session_id
from chat_session.errors import AgentConflict
from chat_session.paging import MAX_LIMIT

SLACK = 32  # messages that a limited read reads beside: retracted ones, other branches


class ManagedConversationStore(ConversationStore):
    """``ManagedConversationStore(manager)`` in the place of ``InMemoryConversationStore()``.

    ``max_history``: how many messages the sessions keep that it creates. ``epoch``: a number fences all writes with
    it, False turns the fence off, None takes the epoch at which the conversation was loaded; it is a part of the
    revision. A save raises AgentConflict, with nothing stored, if a person has taken over since.

    ``scope`` is the session's user. A fork copies the messages it begins with. A delete removes the messages, too,
    except for their copies in forks.
    """

    def __init__(self, manager: SessionManager, *, epoch: Epoch = None, max_history: int | None = None) -> None:
        self._manager = manager
        self._epoch = epoch
        self._places = Places(manager)
        self._writer = RecordWriter(manager, self._places, epoch=epoch, max_history=max_history)

    async def save(
        self, conversation: Conversation | AgentRunResult[Any], *, scope: str | None = None
    ) -> list[ConversationEntry]:
        """As the framework's. Raises AgentConflict if a person has taken over since the conversation was loaded."""
        try:
            return await super().save(conversation, scope=scope)
        except ConversationConflict:
            await self._refuse_after_takeover(conversation)
            raise

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """One round trip; one more if others have written since the last save."""
        session = await self._manager.get_session(make_session_id(conversation_id))
        return None if session is None else await self._record_of(session)

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """Costs what there is of the scope, or with None in the whole store, whatever ``limit``."""
        if scope is not None:
            sessions = await self._manager.get_user_sessions(owner_of(scope))
        else:
            found = [each async for each in Inspector(self._manager).scan_sessions()]
            sessions = [each for each in found if not isinstance(each, StoreCorrupt)]
        read = await asyncio.gather(*map(self._record_of, sessions))
        records = [record for record in read if record is not None and scope in (None, record.scope)]
        records.sort(key=lambda record: record.updated_at, reverse=True)
        return records[:limit]

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """One atomic step. Two round trips, three after others have written. A fork costs what it copies.

        Raises ConversationConflict, also if others have written since; AgentConflict after a takeover.
        """
        if expected_revision is None:
            await self._writer.create(record, new_entries)
        else:
            await self._writer.update(record, new_entries, expected_revision)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Remove the session with all its messages. Three round trips."""
        await self._writer.delete(conversation_id, expected_revision)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """Of an entry that this store has not met lately, all sessions are searched. Raises LookupError."""
        found = await self._places.find(entry_id)
        if found is None or entry_id not in found.log:
            raise KeyError(entry_id)
        return make_entry(found.log.line(entry_id))

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """From the oldest entry that is still stored. One round trip; more if the head must be searched, see above.

        Answers whose call was trimmed or retracted are left out. What others said between a call and its answer
        stands behind the answer. Raises LookupError for an entry that no session knows.
        """
        if head_id is None:
            return []
        size = MAX_LIMIT if limit is None else min(limit + SLACK, MAX_LIMIT)
        found = await self._places.find(head_id, size)
        if found is None:
            raise KeyError(head_id)
        if head_id not in found.log:  # it was trimmed
            return []
        line = found.log.line(head_id)
        if not line.is_whole and found.is_part and (limit is None or not line.can_be_cut(limit)):
            return (await self.read_history(head_id))[-limit:] if limit else []
        entries = make_entries(line, is_part=found.is_part)
        return entries if limit is None else entries[len(entries) - min(limit, len(entries)) :]

    async def _record_of(self, session: Session) -> ConversationRecord | None:
        """With the head and the revision as they are now. None for what is left of a delete; it is removed."""
        stored = read_stored(session)
        if stored is not None and stored.deleted:
            await self._manager.delete_session(session.session_id)
            return None
        revision = read_revision(session, stored, tracks_epoch=self._epoch is None)
        record = make_record(session) if stored is None else stored.to_native()
        if stored is None or revision != record.revision:
            head = await self._read_head(session)
            record.head_id, record.revision, record.updated_at = head, revision, session.last_active_at
        self._places.note(session.session_id, [record.head_id, *record.branches])
        return record

    async def _read_head(self, session: Session) -> str | None:
        stored = read_stored(session)
        only_appended = stored is not None and stored.place.revision == session.revision
        if stored is not None and only_appended and stored.place.seq == session.message_count:
            return stored.to_native().head_id
        size = 1 if only_appended or session.revision == 0 else MAX_LIMIT
        messages = await self._manager.get_history(session.session_id, size, include_internal=True)
        return Log(messages, stored).head

    async def _refuse_after_takeover(self, saved: Conversation | AgentRunResult[Any]) -> None:
        conversation = saved.conversation if isinstance(saved, AgentRunResult) else saved
        session = await self._manager.get_session(make_session_id(conversation.conversation_id))
        if session is None or conversation.revision is None or self._epoch is False:
            return
        loaded = read_epoch(conversation.revision, read_stored(session)) if self._epoch is None else self._epoch
        if loaded is None or loaded == session.agent_epoch:
            return
        unsaved = await self._find_unsaved(saved, conversation)
        error = AgentConflict(session.session_id, loaded, session.agent_epoch, session.current_agent)
        error.messages = to_messages(
            [ConversationEntry(parent_id=None, message=message) for message in unsaved],
            self._manager.settings.max_message_bytes,
        )
        raise error

    async def _find_unsaved(
        self, saved: Conversation | AgentRunResult[Any], conversation: Conversation
    ) -> Sequence[ModelMessage]:
        if conversation.new_message_index is not None:
            return conversation.messages[conversation.new_message_index :]
        if isinstance(saved, AgentRunResult):
            return saved.new_messages()
        stored = await self.load_entries(conversation.conversation_id) or []
        pairs = zip(conversation.messages, stored, strict=False)
        known = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1].message, pairs))
        return conversation.messages[known:]
