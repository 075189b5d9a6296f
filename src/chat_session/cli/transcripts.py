"""One line of an export or import: a session with its messages as one JSON object.

    {"conversation": ID, "user": USER, "messages": [{"from": …, "text": …}, …],
     "session": {…}, "metadata": {…}, any other name: a metadata entry}

``conversation`` is the session id. ``session`` is what export knows besides: stamps, agent, epoch,
count, ttl. ``metadata`` has the entries whose names would mean something else at the top.
"""

from codecs import BOM_UTF8
from collections.abc import Sequence
from typing import Any

import msgspec

from chat_session.checks import brief, kind_of
from chat_session.cli.bounds import BadLine
from chat_session.clock import to_iso
from chat_session.errors import InvalidInput
from chat_session.message import UNREADABLE, Draft, Message, check_message
from chat_session.session import Session, check_metadata, check_session_id, check_user_id

_OWN_NAMES = frozenset(("conversation", "user", "messages", "session", "metadata"))
_SESSION_FIELDS = frozenset(
    ("createdAt", "lastActiveAt", "currentAgent", "agentSwitchedAt", "agentEpoch", "messageCount", "ttl")
)


class Entry(msgspec.Struct, frozen=True):
    """One message of a line: as it is sent, and as it was checked and completed."""

    sent: dict[str, Any]
    draft: Draft

    @property
    def id(self) -> str:
        return self.draft.message.id or ""

    def is_stored_as(self, stored: Message) -> bool:
        """Whether ``stored`` has this content. A timestamp counts where the line gives one."""
        ours = msgspec.structs.replace(self.draft.message, seq=stored.seq)
        if self.draft.timestamp_generated:
            ours = msgspec.structs.replace(ours, timestamp=stored.timestamp)
        return ours == stored


class Transcript(msgspec.Struct, frozen=True):
    """A line that was read. ``restored``: the session as the export knew it."""

    session_id: str
    user_id: str
    metadata: dict[str, Any]
    entries: list[Entry]
    repeated: int
    restored: Session | None


def read_transcript(raw: bytearray, user: str | None, max_message_bytes: int) -> Transcript:
    """Read and check a whole line, so that nothing of a bad one is stored. Raises BadLine, InvalidInput.

    A message without an id is given one from its place, ``import-1`` and so on: the same line read
    again gives the same ids. ``user`` is whose session it is where the line does not say.
    """
    fields = _read_object(raw)
    session_id = _read_session_id(fields.get("conversation"))
    owner = fields.get("user") if fields.get("user") is not None else user
    if owner is None:
        raise BadLine('The line names no user. Add "user" to it, or pass --user.')
    user_id = check_user_id(owner)
    metadata = _merge_metadata(fields)
    entries, repeated = _read_messages(fields.get("messages"), max_message_bytes)
    restored = None
    if fields.get("session") is not None:
        whole = {"sessionId": session_id, "userId": user_id, **_read_session(fields["session"]), **metadata}
        restored = _check_count(Session.from_dict(whole), len(entries))
    return Transcript(session_id, user_id, metadata, entries, repeated, restored)


def write_transcript(session: Session, history: Sequence[Message]) -> bytes:
    """The line for a session and all its retained messages, with the line's end."""
    above = {name: value for name, value in session.metadata.items() if name not in _OWN_NAMES}
    beneath = {name: value for name, value in session.metadata.items() if name in _OWN_NAMES}
    facts = {
        "createdAt": to_iso(session.created_at),
        "lastActiveAt": to_iso(session.last_active_at),
        "currentAgent": session.current_agent,
        "agentEpoch": session.agent_epoch,
        # By the last message, not by the session: one that was added between the two reads counts.
        "messageCount": history[-1].seq if history else session.message_count,
        "ttl": session.ttl,
    }
    if session.agent_switched_at is not None:
        facts["agentSwitchedAt"] = to_iso(session.agent_switched_at)
    messages = [msgspec.structs.replace(message, seq=None).to_dict() for message in history]
    line: dict[str, Any] = {"conversation": session.session_id, "user": session.user_id, **above}
    if beneath:
        line["metadata"] = beneath
    return msgspec.json.encode({**line, "session": facts, "messages": messages}) + b"\n"


def _read_object(raw: bytearray) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(raw.removeprefix(BOM_UTF8))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadLine(f"The line is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise BadLine(f"The line must be a JSON object, not {kind_of(value)}.")
    return value


def _read_session_id(value: object) -> str:
    try:
        return check_session_id(value)
    except InvalidInput as error:
        raise InvalidInput("conversation", error.allowed, error.got) from None


def _merge_metadata(fields: dict[str, Any]) -> dict[str, Any]:
    beneath = check_metadata(fields.get("metadata"))
    above = {name: value for name, value in fields.items() if name not in _OWN_NAMES}
    if twice := beneath.keys() & above.keys():
        raise InvalidInput(
            "metadata", "given once for each name, at the top or in 'metadata'", f"{brief(min(twice))} in both"
        )
    return check_metadata(above | beneath)


def _read_messages(value: object, max_bytes: int) -> tuple[list[Entry], int]:
    """The messages by their ids, and how many were there twice. Two unequal ones of one id are refused."""
    if not isinstance(value, list):
        raise InvalidInput("messages", "a list of messages", kind_of(value))
    entries: dict[str, Entry] = {}
    for i, message in enumerate(value):
        argument = f"messages[{i}]"
        if not isinstance(message, dict):
            raise InvalidInput(argument, "an object with 'from' and 'text'", kind_of(message))
        message_id = message.get("id")
        named = {**message, "id": f"import-{i + 1}" if message_id is None else message_id}
        entry = _read_entry(named, max_bytes, argument)
        first = entries.setdefault(entry.id, entry)
        if first is not entry and first.sent != entry.sent:
            raise InvalidInput(f"{argument}.id", "the id of one message, or of equal ones", brief(entry.id))
    return list(entries.values()), len(value) - len(entries)


def _read_entry(message: dict[str, Any], max_bytes: int, argument: str) -> Entry:
    try:
        return Entry(message, check_message(message, max_bytes, argument))
    except InvalidInput as error:
        raw = message.get("raw")
        if message.get("type") != UNREADABLE or error.argument != f"{argument}.extra" or not isinstance(raw, str):
            raise
    # What was unreadable may be longer than extra fields may be; a text may be longer than they.
    moved = {name: value for name, value in message.items() if name != "raw"} | {"text": raw}
    return Entry(moved, check_message(moved, max_bytes, argument))


def _read_session(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput("session", "an object as export writes it", kind_of(value))
    if unknown := value.keys() - _SESSION_FIELDS:
        raise InvalidInput(
            "session", "an object with no other fields than " + ", ".join(sorted(_SESSION_FIELDS)), brief(min(unknown))
        )
    return value


def _check_count(session: Session, messages: int) -> Session:
    if session.message_count < messages:
        raise BadLine(f"session.messageCount is {session.message_count:,}, but the line has {messages:,} messages.")
    return session
