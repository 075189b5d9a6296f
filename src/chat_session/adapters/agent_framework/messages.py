"""Between a message of the Agent Framework and a message of ours."""

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from agent_framework import Message as NativeMessage

from chat_session.adapters.agent_framework.texts import text_of
from chat_session.adapters.projection import decode, encode, fit_author, fit_call_ids, fit_message_id, fit_text, role_of
from chat_session.message import UNREADABLE, Message, Sender

FORMAT = "agent-framework/1"

CALLS = ("function_call", "shell_tool_call", "computer_tool_call")
ANSWERS = ("function_result", "shell_tool_result", "computer_tool_result")
_SPOKEN = ("text", "data", "uri", "hosted_file", "hosted_vector_store")
_SENDERS: dict[object, Sender] = {"assistant": "assistant", "system": "system", "developer": "system", "tool": "tool"}

_log = logging.getLogger(__name__)


def to_message(native: NativeMessage, max_text_bytes: int) -> Message:
    """The framework's message as ours, with its own id if it has one.

    What nobody says to the other is internal: tool traffic, reasoning, instructions. Raises TypeError for what JSON
    cannot hold.
    """
    fields = native.to_dict()
    contents = fields.get("contents") or []
    calls, answers = _ids_of(contents, CALLS), _ids_of(contents, ANSWERS)
    sender = sender_of(fields)
    return Message(
        id=None if native.message_id is None else fit_message_id(str(native.message_id)),
        sender=sender,
        text=fit_text(text_of(contents), max_text_bytes),
        author=fit_author(native.author_name),
        content=encode(fields),
        format=FORMAT,
        calls=tuple(call for call in calls if call not in answers),
        answers=tuple(call for call in answers if call not in calls),
        internal=sender not in ("user", "assistant") or not any(map(_is_spoken, contents)),
    )


def to_native(message: Message) -> NativeMessage | None:
    """The message that ours holds, or for one of another origin its role and text. None if that is empty.

    What is held counts only where our message's sender is the one that it would be stored with: what a customer sends
    can be no more than words of the user, whatever is in its content.
    """
    if message.type == UNREADABLE:
        return None
    if message.format == FORMAT:
        try:
            held = decode(message)
            if isinstance(held, dict) and sender_of(held) == message.sender:
                return NativeMessage.from_dict(held)
        except (TypeError, ValueError):
            _log.warning("the content of message %s cannot be read; its text is used instead", message.id)
    if not message.text:
        return None
    return NativeMessage(role_of(message), [message.text], author_name=message.author)


def sender_of(fields: Mapping[str, Any]) -> Sender:
    """The user says words and shows files; an approval or a result in the user's name is for the tools."""
    role = fields.get("role")
    if role != "user":
        return _SENDERS.get(role if isinstance(role, str) else None, "assistant")
    return "user" if all(map(_is_spoken, fields.get("contents") or [])) else "tool"


def says_the_same(message: Message, other: Message) -> bool:
    """Whether two messages of one id are one: the same role and contents. Their annotations may differ."""
    return _speech_of(message) == _speech_of(other)


def with_own_id(message: Message) -> Message:
    """The message with an id that its contents are part of, where others have the id that the framework gave it."""
    speech = json.dumps(_speech_of(message), sort_keys=True).encode()
    return msgspec.structs.replace(message, id=fit_message_id(f"{message.id}~{sha256(speech).hexdigest()[:32]}"))


def _speech_of(message: Message) -> object:
    try:
        held = decode(message) if message.format == FORMAT else None
    except ValueError:
        held = None
    if isinstance(held, dict):
        return [held.get("role"), held.get("contents")]
    return [message.sender, message.text]


def _is_spoken(content: object) -> bool:
    return isinstance(content, Mapping) and content.get("type") in _SPOKEN


def _ids_of(contents: Sequence[Any], kinds: tuple[str, ...]) -> tuple[str, ...]:
    return fit_call_ids(
        each.get("call_id") for each in contents if isinstance(each, Mapping) and each.get("type") in kinds
    )
