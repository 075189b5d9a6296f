"""The framework's entries of messages, and messages of entries."""

from collections.abc import Iterable, Sequence

import msgspec
from pydantic_ai.conversation_store import ConversationEntry

from chat_session import Message
from chat_session.adapters.pairing import find_lost_answers, move_behind_answers
from chat_session.adapters.projection import fit_message_id
from chat_session.adapters.pydantic_ai.log import ENTRY_ID, NO_LINK, Line, entry_id, is_entry, links
from chat_session.adapters.pydantic_ai.messages import to_message, to_natives, without_answers


def to_messages(
    entries: Iterable[ConversationEntry], max_text: int, seqs: dict[str, int] | None = None, seq: int = 0
) -> list[Message]:
    """``seqs``: of the entries that these may follow, None for messages without links. ``seq``: the newest one."""
    known = dict(seqs or {})
    messages = []
    for number, entry in enumerate(entries, seq + 1):
        message = to_message(entry.message, max_text)
        extra = NO_LINK if seqs is None else links(entry.parent_id, known.get(entry.parent_id or ""))
        message_id = fit_message_id(entry.id)
        if message_id != entry.id:
            extra = {**extra, ENTRY_ID: entry.id}
        messages.append(msgspec.structs.replace(message, id=message_id, extra=dict(extra)))
        known[entry.id] = number
    return messages


def copy_messages(messages: Sequence[Message]) -> list[Message]:
    """A line of a log for a new session, in which they are numbered from 1."""
    copies = []
    before = None
    for number, message in enumerate(messages, 1):
        extra = message.extra
        if is_entry(message) and extra["parent"] != "":
            parent = extra["parent"]
            extra = {**extra, **links(parent, None if parent is None else number - (parent == before))}
        copies.append(msgspec.structs.replace(message, seq=None, extra=extra))
        before = entry_id(message)
    return copies


def make_entry(line: Line) -> ConversationEntry:
    """The last of a line. Raises KeyError for a message by others without a text."""
    message = line.messages[-1]
    [native] = to_natives([message], [is_entry(message)])
    if native is None:
        raise KeyError(message.id)
    return ConversationEntry(id=entry_id(message), parent_id=line.parents[entry_id(message)], message=native)


def make_entries(line: Line, *, is_part: bool) -> list[ConversationEntry]:
    """A history. What others said between a call and its answer stands behind the answer.

    Of a line that is not whole, answers without calls are left out. ``is_part``: older messages were not read, so the
    calls may be among them.
    """
    messages = move_behind_answers(line.messages, is_entry)
    natives = to_natives(messages, [is_entry(message) for message in messages])
    lost: dict[str, set[str]] = {}
    if not line.is_whole and not is_part:
        lost = dict(zip(map(entry_id, line.messages), find_lost_answers(line.messages, is_entry), strict=True))
    entries = []
    for message, stored in zip(messages, natives, strict=True):
        calls = lost.get(entry_id(message))
        native = without_answers(stored, calls) if stored is not None and calls else stored
        if native is not None:
            entry = entry_id(message)
            entries.append(ConversationEntry(id=entry, parent_id=line.parents[entry], message=native))
    return entries
