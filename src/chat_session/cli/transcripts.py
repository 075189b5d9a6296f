"""One line of an export or import: a session with its messages as one JSON object.

    {"conversation": ID, "user": USER, "messages": [{"from": …, "text": …}, …],
     "session": {…}, "metadata": {…}, any other name: a metadata entry}

``conversation`` is the session id. ``session`` is what export knows besides: stamps, agent, epoch, count, ttl, and
if they are set the revision, the session's own bound, and what the desk shows of it. ``metadata`` has the entries whose
names would mean something else at the top.

The content of a message is read and written as its bytes. One with line breaks would break the line: it stands as a
string in ``contents`` of ``session``, an object with the places of such messages, from 0. A retracted message is
written as what is left of it, type "retracted", so that the others keep their sequence numbers in a session that is
restored.
"""

from codecs import BOM_UTF8
from collections.abc import Sequence
from typing import Any

import msgspec

from chat_session.checks import brief, kind_of
from chat_session.cli.bounds import BadLine
from chat_session.clock import to_iso
from chat_session.desk_status import OPEN
from chat_session.errors import InvalidInput
from chat_session.message import RETRACTED, UNREADABLE, Draft, Limits, Message, check_message
from chat_session.rawjson import split_array, split_object
from chat_session.session import DESK, MAX_HISTORY, REVISION, Session, check_metadata, check_session_id, check_user_id

_OWN_NAMES = frozenset(("conversation", "user", "messages", "session", "metadata"))
_SESSION_FIELDS = frozenset(
    (
        "createdAt",
        "lastActiveAt",
        "currentAgent",
        "agentSwitchedAt",
        "agentEpoch",
        "messageCount",
        "ttl",
        "revision",
        "maxHistory",
        "desk",
        "contents",
    )
)
CONTENTS = "contents"
_STORED_NAMES = {"revision": REVISION, "maxHistory": MAX_HISTORY, "desk": DESK}  # as Session knows them
_DAMAGED = "damaged"  # the type that an unreadable message gets where it is appended


class Entry(msgspec.Struct, frozen=True):
    """One message of a line: as it is sent, and as it was checked and completed."""

    sent: dict[str, Any]
    draft: Draft

    @property
    def is_retracted(self) -> bool:
        return self.draft.message.type == RETRACTED

    @property
    def id(self) -> str:
        return self.draft.message.id or ""

    @property
    def appended(self) -> dict[str, Any]:
        """As it is appended to a session. The type of a damaged message is one that only a store gives."""
        return {**self.sent, "type": _DAMAGED} if self.draft.message.type == UNREADABLE else self.sent

    def is_stored_as(self, stored: Message) -> bool:
        """Whether ``stored`` has this content. A timestamp counts where the line gives one.

        A message that was retracted on one of the two sides is the same.
        """
        if RETRACTED in (self.draft.message.type, stored.type):
            return True
        ours = msgspec.structs.replace(self.draft.message, seq=stored.seq)
        if self.draft.timestamp_generated:
            ours = msgspec.structs.replace(ours, timestamp=stored.timestamp)
        if ours.type == UNREADABLE and stored.type == _DAMAGED:
            ours = msgspec.structs.replace(ours, type=_DAMAGED)
        return ours == stored


class Transcript(msgspec.Struct, frozen=True):
    """A line that was read. ``restored``: the session as the export knew it."""

    session_id: str
    user_id: str
    metadata: dict[str, Any]
    entries: list[Entry]
    repeated: int
    restored: Session | None


def read_transcript(raw: bytearray, user: str | None, limits: Limits) -> Transcript:
    """Read and check a whole line, so that nothing of a bad one is stored. Raises BadLine, InvalidInput.

    A message without an id is given one from its place, ``import-1`` and so on: the same line read
    again gives the same ids. ``user`` is whose session it is where the line does not say.
    """
    fields = _read_object(bytes(raw.removeprefix(BOM_UTF8)))
    _put_back_contents(fields)
    session_id = _read_session_id(fields.get("conversation"))
    owner = fields.get("user") if fields.get("user") is not None else user
    if owner is None:
        raise BadLine('The line names no user. Add "user" to it, or pass --user.')
    user_id = check_user_id(owner)
    metadata = _merge_metadata(fields)
    # A session that is restored may have messages of other programs, which use our names in their own way.
    limits = msgspec.structs.replace(limits, lenient=fields.get("session") is not None)
    entries, repeated = _read_messages(fields.get("messages"), limits)
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
    if session.revision:
        facts["revision"] = session.revision
    if session.max_history is not None:
        facts["maxHistory"] = session.max_history
    if session.desk != OPEN:
        facts["desk"] = session.desk.to_dict()
    messages = [msgspec.structs.replace(message, seq=None).to_raw_dict() for message in history]
    if contents := _take_broken_contents(messages):
        facts[CONTENTS] = contents
    line: dict[str, Any] = {"conversation": session.session_id, "user": session.user_id, **above}
    if beneath:
        line["metadata"] = beneath
    return msgspec.json.encode({**line, "session": facts, "messages": messages}) + b"\n"


def _take_broken_contents(messages: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Remove the contents that have line breaks; as texts by the places of their messages."""
    contents = {}
    for place, message in enumerate(messages):
        raw = bytes(message.get("content", b""))
        if b"\n" in raw or b"\r" in raw:
            contents[str(place)] = raw.decode()
            del message["content"]
    return contents


def _put_back_contents(fields: dict[str, Any]) -> None:
    """Raises InvalidInput."""
    facts, messages = fields.get("session"), fields.get("messages")
    contents = facts.get(CONTENTS) if isinstance(facts, dict) else None
    if contents is None:
        return
    allowed = "an object with the contents of messages as text, by their places from 0"
    if not isinstance(contents, dict) or not isinstance(messages, list):
        raise InvalidInput("session.contents", allowed, kind_of(contents))
    places = {str(place): message for place, message in enumerate(messages) if isinstance(message, dict)}
    for place, text in contents.items():
        if place not in places or not isinstance(text, str):
            raise InvalidInput("session.contents", allowed, brief(place))
        places[place]["content"] = msgspec.Raw(text.encode())


def _read_object(raw: bytes) -> dict[str, Any]:
    """The line decoded, but for the contents of its messages: those are a Raw each."""
    try:
        value = _decode_but_contents(raw) if b'"content"' in raw else msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError) as error:
        raise BadLine(f"The line is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise BadLine(f"The line must be a JSON object, not {kind_of(value)}.")
    return value


def _decode_but_contents(raw: bytes) -> Any:
    if not raw.lstrip().startswith(b"{"):
        return msgspec.json.decode(raw)
    fields = split_object(raw)
    messages = fields.pop("messages", b"null").strip()
    decoded = {name: msgspec.json.decode(value) for name, value in fields.items()}
    if not messages.startswith(b"["):
        return {**decoded, "messages": msgspec.json.decode(messages)}
    return {**decoded, "messages": [_decode_message(message) for message in split_array(messages)]}


def _decode_message(raw: bytes) -> Any:
    if not raw.startswith(b"{"):
        return msgspec.json.decode(raw)
    return {
        name: msgspec.Raw(value) if name == "content" and value != b"null" else msgspec.json.decode(value)
        for name, value in split_object(raw).items()
    }


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


def _read_messages(value: object, limits: Limits) -> tuple[list[Entry], int]:
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
        entry = _read_entry(named, limits, argument)
        first = entries.setdefault(entry.id, entry)
        if first is not entry and first.sent != entry.sent:
            raise InvalidInput(f"{argument}.id", "the id of one message, or of equal ones", brief(entry.id))
    return list(entries.values()), len(value) - len(entries)


def _read_entry(message: dict[str, Any], limits: Limits, argument: str) -> Entry:
    try:
        return Entry(message, check_message(message, limits, argument))
    except InvalidInput as error:
        raw = message.get("raw")
        if message.get("type") != UNREADABLE or error.argument != f"{argument}.extra" or not isinstance(raw, str):
            raise
    # What was unreadable may be longer than extra fields may be; a text may be longer than they.
    moved = {name: value for name, value in message.items() if name != "raw"} | {"text": raw}
    return Entry(moved, check_message(moved, limits, argument))


def _read_session(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput("session", "an object as export writes it", kind_of(value))
    if unknown := value.keys() - _SESSION_FIELDS:
        raise InvalidInput(
            "session", "an object with no other fields than " + ", ".join(sorted(_SESSION_FIELDS)), brief(min(unknown))
        )
    renamed = {_STORED_NAMES[name]: value[name] for name in _STORED_NAMES if name in value}
    return renamed | {name: fact for name, fact in value.items() if name not in (*_STORED_NAMES, CONTENTS)}


def _check_count(session: Session, messages: int) -> Session:
    if session.message_count < messages:
        raise BadLine(f"session.messageCount is {session.message_count:,}, but the line has {messages:,} messages.")
    return session
