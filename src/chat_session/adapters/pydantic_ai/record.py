"""What a session's metadata holds of a conversation: the framework's record, and where the history stood with it."""

import re
from collections.abc import Mapping

import msgspec
from pydantic import TypeAdapter
from pydantic_ai.conversation_store import ConversationRecord
from pydantic_core import PydanticSerializationError

from chat_session import InvalidInput, Session
from chat_session.adapters.session_ids import find_original_id

RECORD = "pydantic_ai"  # the metadata entry

_ADAPTER: TypeAdapter[ConversationRecord] = TypeAdapter(ConversationRecord)
_TOKEN = re.compile(r"(.*)\+([0-9]{1,16})\.([0-9]{1,16})\.([0-9]{1,16})", re.DOTALL)


class Place(msgspec.Struct, frozen=True):
    """A moment of a session: its epoch, the newest sequence number, and the revision of its history."""

    epoch: int
    seq: int
    revision: int


class StoredRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record as a metadata entry, in JSON.

    ``place``: of the session directly after the write. ``head_seq``: of the head. ``joins``: the entry that a message
    by others follows, by that message's id, where it is not the message before it. ``deleted``: what is left is to be
    removed by every call that meets it.
    """

    record: msgspec.Raw
    place: Place
    head_seq: int | None = None
    joins: dict[str, str | None] = {}
    deleted: bool = False

    def to_native(self) -> ConversationRecord:
        return _ADAPTER.validate_json(bytes(self.record))


def dump_record(record: ConversationRecord, place: Place, head_seq: int | None, joins: Mapping[str, str | None]) -> str:
    """Raises InvalidInput for a record that is no JSON; over 64 KiB the manager refuses it."""
    try:
        native = _ADAPTER.dump_json(record)
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise InvalidInput("record", "one that JSON can hold", type(error).__name__) from error
    return _encode(StoredRecord(record=msgspec.Raw(native), place=place, head_seq=head_seq, joins=dict(joins)))


def dump_deleted(stored: str) -> str:
    return _encode(msgspec.structs.replace(msgspec.json.decode(stored, type=StoredRecord), deleted=True))


def read_stored(session: Session) -> StoredRecord | None:
    """None for a session that no save has reached yet: others made it."""
    written = session.metadata.get(RECORD)
    return msgspec.json.decode(written, type=StoredRecord) if isinstance(written, str) else None


def place_of(session: Session) -> Place:
    return Place(session.agent_epoch, session.message_count, session.revision)


def read_revision(session: Session, stored: StoredRecord | None, *, tracks_epoch: bool) -> str:
    """The framework's own revision; behind it the session's place, if something else has happened since."""
    own, place = ("", place_of(session)) if stored is None else (stored.to_native().revision, place_of(session))
    if not tracks_epoch:  # a takeover changes nothing then
        place = msgspec.structs.replace(place, epoch=0 if stored is None else stored.place.epoch)
    if stored is not None and stored.place == place:
        return own
    return f"{own}+{place.epoch}.{place.seq}.{place.revision}"


def find_place(revision: str, stored: StoredRecord | None) -> Place | None:
    """Where the session stood when it was read with this revision; None if another record is stored now."""
    own = "" if stored is None else stored.to_native().revision
    if stored is not None and revision == own:
        return stored.place
    match = _TOKEN.fullmatch(revision)
    return Place(int(match[2]), int(match[3]), int(match[4])) if match and match[1] == own else None


def read_epoch(revision: str, stored: StoredRecord | None) -> int | None:
    """The epoch at which the session was read with this revision; None if it cannot be known any more."""
    match = _TOKEN.fullmatch(revision)
    if match:
        return int(match[2])
    return stored.place.epoch if stored is not None and revision == stored.to_native().revision else None


def make_record(session: Session) -> ConversationRecord:
    """Of a session that others made: it belongs to its user."""
    return ConversationRecord(
        conversation_id=find_original_id(session),
        head_id=None,
        scope=session.user_id,
        updated_at=session.last_active_at,
    )


def _encode(stored: StoredRecord) -> str:
    return msgspec.json.encode(stored).decode()
