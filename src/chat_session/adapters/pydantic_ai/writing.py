"""Writing a record and its new entries in one step."""

from collections.abc import Iterable, Sequence

from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord

from chat_session import InvalidInput, Message, Session, SessionManager
from chat_session.adapters.history import Epoch
from chat_session.adapters.pydantic_ai.entries import copy_messages, to_messages
from chat_session.adapters.pydantic_ai.log import entry_id
from chat_session.adapters.pydantic_ai.places import Found, Places
from chat_session.adapters.pydantic_ai.record import (
    RECORD,
    Place,
    StoredRecord,
    dump_deleted,
    dump_record,
    find_place,
    make_record,
    read_stored,
)
from chat_session.adapters.session_ids import make_session_id, original_id
from chat_session.errors import AgentConflict, MetadataConflict, SequenceConflict, SessionExists, SessionNotFound
from chat_session.message import MAX_WRITE_BYTES
from chat_session.paging import MAX_LIMIT
from chat_session.session import check_user_id


class RecordWriter:
    """What a ``ConversationStore`` writes: each call is one step, which compares the revision."""

    def __init__(self, manager: SessionManager, places: Places, *, epoch: Epoch, max_history: int | None) -> None:
        self._manager = manager
        self._places = places
        self._epoch = epoch
        self._max_history = max_history

    async def create(self, record: ConversationRecord, entries: Sequence[ConversationEntry]) -> None:
        """A new session, with copies of what the entries or the head follow in another one."""
        base = entries[0].parent_id if entries else record.head_id
        source = None if base is None else await self._find_source(record, base)
        if source is None and base is not None and not entries:
            raise ConversationConflict(record.conversation_id)
        copied = [] if source is None or base is None else source.log.line(base).messages
        seqs = {message_id: seq for seq, message_id in enumerate(map(entry_id, copied), 1)}
        messages = [*copy_messages(copied), *self._to_messages(entries, seqs, len(copied))]
        seqs |= {entry.id: seq for seq, entry in enumerate(entries, len(copied) + 1)}
        if record.head_id is not None and record.head_id not in seqs:
            raise ConversationConflict(record.conversation_id)
        written = dump_record(record, Place(0, len(messages), 0), seqs.get(record.head_id or ""), {})
        bound = self._max_history or (None if source is None else source.session.max_history)
        await self._create_session(record, messages, written, bound)
        self._places.note(make_session_id(record.conversation_id), seqs)

    async def update(
        self, record: ConversationRecord, entries: Sequence[ConversationEntry], expected_revision: str
    ) -> None:
        session, stored, place = await self._expect(record.conversation_id, expected_revision)
        epoch = place.epoch if self._epoch is None else None if self._epoch is False else self._epoch
        self._refuse_after_takeover(session, epoch, entries)
        seqs, joins = await self._read_links(record, entries, session, stored, place)
        messages = self._to_messages(entries, seqs, place.seq)
        seqs |= {entry.id: seq for seq, entry in enumerate(entries, place.seq + 1)}
        if record.head_id is not None and record.head_id not in seqs:
            raise ConversationConflict(record.conversation_id)
        after = Place(session.agent_epoch, place.seq + len(messages), place.revision)
        written = dump_record(record, after, seqs.get(record.head_id or ""), joins)
        try:
            await self._manager.add_messages(
                session.session_id,
                messages,
                epoch=epoch,
                expect_seq=place.seq,
                expect_revision=place.revision,
                expect_metadata={RECORD: session.metadata.get(RECORD)},
                metadata={RECORD: written},
            )
        except (SequenceConflict, MetadataConflict, SessionNotFound) as error:
            current = await self._manager.get_session(session.session_id)
            self._refuse_after_takeover(current, epoch, entries)
            raise ConversationConflict(record.conversation_id) from error
        except AgentConflict as error:
            error.messages = self._to_messages(entries, None, 0)
            raise
        scope = make_record(session).scope if stored is None else stored.to_native().scope
        if record.scope != scope:
            await self._manager.assign_session(session.session_id, owner_of(record.scope, session.session_id))
        self._places.note(session.session_id, [entry.id for entry in entries])

    async def delete(self, conversation_id: str, expected_revision: str) -> None:
        """First a mark that refuses every save, then the session. A call that meets the mark deletes it, too."""
        session, _, place = await self._expect(conversation_id, expected_revision)
        before = session.metadata.get(RECORD)
        marked = dump_deleted(before or dump_record(make_record(session), place, None, {}))
        try:
            await self._manager.add_messages(
                session.session_id,
                [],
                expect_seq=place.seq,
                expect_revision=place.revision,
                expect_metadata={RECORD: before},
                metadata={RECORD: marked},
            )
        except (SequenceConflict, MetadataConflict, SessionNotFound) as error:
            raise ConversationConflict(conversation_id) from error
        await self._manager.delete_session(session.session_id)

    def _refuse_after_takeover(
        self, session: Session | None, epoch: int | None, entries: Sequence[ConversationEntry]
    ) -> None:
        if session is not None and epoch is not None and epoch != session.agent_epoch:
            error = AgentConflict(session.session_id, epoch, session.agent_epoch, session.current_agent)
            error.messages = self._to_messages(entries, None, 0)
            raise error

    async def _expect(self, conversation_id: str, expected_revision: str) -> tuple[Session, StoredRecord | None, Place]:
        """The session, and where it stood when it was read with this revision. Raises ConversationConflict."""
        session = await self._manager.get_session(make_session_id(conversation_id))
        stored = None if session is None else read_stored(session)
        place = find_place(expected_revision, stored)
        if session is None or place is None or (stored is not None and stored.deleted):
            raise ConversationConflict(conversation_id)
        return session, stored, place

    async def _read_links(
        self,
        record: ConversationRecord,
        entries: Sequence[ConversationEntry],
        session: Session,
        stored: StoredRecord | None,
        place: Place,
    ) -> tuple[dict[str, int], dict[str, str | None]]:
        """The sequence numbers of the entries that are followed, and the joins. Reads nothing in the usual case."""
        new = {entry.id for entry in entries}
        followed = {entry.parent_id for entry in entries} | {record.head_id}
        followed -= new | {None}
        if stored is not None and (place.seq, place.revision) == (stored.place.seq, stored.place.revision):
            head = stored.to_native().head_id
            if head is not None and stored.head_seq is not None and followed <= {head}:
                return {head: stored.head_seq}, stored.joins
            if not followed:
                return {}, stored.joins
        found = await self._places.read(session.session_id)
        if found is None:
            raise ConversationConflict(record.conversation_id)
        seqs = {entry: found.log.seq_of(entry) for entry in followed if entry is not None}
        return {entry: seq for entry, seq in seqs.items() if seq is not None}, found.log.find_joins()

    async def _find_source(self, record: ConversationRecord, base: str) -> Found | None:
        found = None
        if record.forked_from is not None:
            found = await self._places.read(make_session_id(record.forked_from))
        if found is None or base not in found.log:
            found = await self._places.find(base)
        return found if found is not None and base in found.log else None

    async def _create_session(
        self, record: ConversationRecord, messages: Sequence[Message], written: str, max_history: int | None
    ) -> None:
        """In one step; of more than 8 MiB in several, and until the last one the session counts as deleted."""
        session_id = make_session_id(record.conversation_id)
        first, *rest = _split(messages)
        metadata = {**original_id(record.conversation_id), RECORD: dump_deleted(written) if rest else written}
        while True:
            try:
                await self._manager.create_session(
                    owner_of(record.scope, session_id),
                    metadata,
                    session_id=session_id,
                    max_history=max_history,
                    messages=first,
                )
            except SessionExists as error:
                session = await self._manager.get_session(session_id)
                stored = None if session is None else read_stored(session)
                if session is not None and (stored is None or not stored.deleted):
                    raise ConversationConflict(record.conversation_id) from error
                await self._manager.delete_session(session_id)
            else:
                break
        try:
            for number, part in enumerate(rest, 1):
                await self._manager.add_messages(
                    session_id, part, metadata={RECORD: written} if number == len(rest) else None
                )
        except SessionNotFound as error:
            raise ConversationConflict(record.conversation_id) from error

    def _to_messages(
        self, entries: Iterable[ConversationEntry], seqs: dict[str, int] | None, seq: int
    ) -> list[Message]:
        return to_messages(entries, self._manager.settings.max_message_bytes, seqs, seq)


def owner_of(scope: str | None, session_id: str = "") -> str:
    """The user id for a scope; without a scope the session's own id."""
    if scope is None:
        return session_id
    try:
        return check_user_id(scope)
    except InvalidInput:
        return make_session_id(scope)


def _split(messages: Sequence[Message]) -> list[list[Message]]:
    """Parts that one call takes each; at least one, which may be empty."""
    parts: list[list[Message]] = [[]]
    size = 0
    for message in messages:
        size += len(message.content_json or b"")
        if size > MAX_WRITE_BYTES or len(parts[-1]) == MAX_LIMIT:
            parts.append([])
            size = len(message.content_json or b"")
        parts[-1].append(message)
    return parts
