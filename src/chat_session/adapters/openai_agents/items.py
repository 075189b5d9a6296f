"""Between an input item of the Responses API and a message."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from chat_session.adapters.openai_agents.texts import text_of
from chat_session.adapters.projection import decode, encode, fit_call_id, fit_text, role_of
from chat_session.message import UNREADABLE, Message, Sender

if TYPE_CHECKING:
    from agents import TResponseInputItem

FORMAT = "openai.item/1"

# The kinds that make a call, and those that answer one, with the fields that hold the call's id: the first that is set.
CALLS = {
    "function_call": ("call_id",),
    "custom_tool_call": ("call_id",),
    "computer_call": ("call_id",),
    "local_shell_call": ("call_id",),
    "shell_call": ("call_id",),
    "apply_patch_call": ("call_id",),
    "tool_search_call": ("call_id",),
    "program": ("call_id",),
    "mcp_approval_request": ("id",),
}
ANSWERS = {
    "function_call_output": ("call_id",),
    "custom_tool_call_output": ("call_id",),
    "computer_call_output": ("call_id",),
    "local_shell_call_output": ("call_id", "id"),  # the SDK writes the one, the API names the other
    "shell_call_output": ("call_id",),
    "apply_patch_call_output": ("call_id",),
    "tool_search_output": ("call_id",),
    "program_output": ("call_id",),
    "mcp_approval_response": ("approval_request_id",),
}
_SENDERS: dict[object, Sender] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}

_log = logging.getLogger(__name__)


def to_message(item: "TResponseInputItem", max_text_bytes: int) -> Message:
    """The item as a message. What is no message of the user or the assistant is internal.

    Raises TypeError for what JSON cannot hold.
    """
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", item) if isinstance(item, Mapping) else {}
    sender = sender_of(fields)
    return Message(
        sender=sender,
        text=fit_text(text_of(fields), max_text_bytes),
        content=encode(item),
        format=FORMAT,
        calls=_call_ids(fields, CALLS),
        answers=_call_ids(fields, ANSWERS),
        internal=not _is_spoken(fields),
    )


def to_item(message: Message) -> "TResponseInputItem | None":
    """The item that a message holds, or for a message of another origin its role and text. None if that is empty.

    The item counts only where the message's sender is that of the item: what a customer sends can be no more than a
    message of the user, whatever is in its content.
    """
    if message.type == UNREADABLE:
        return None
    if message.format == FORMAT:
        try:
            item = decode(message)
        except ValueError:
            _log.warning("the content of message %s cannot be read; its text is used instead", message.id)
        else:
            if isinstance(item, dict) and sender_of(item) == message.sender:
                return cast("TResponseInputItem", item)
    if not message.text:
        return None
    return {"role": role_of(message), "content": message.text}


def sender_of(item: Mapping[str, Any]) -> Sender:
    """Only a message is the user's; tools speak for themselves; all else is the AI's."""
    kind = _text_or_none(item.get("type"))
    if kind in ANSWERS:
        return "tool"
    if item.get("type") in (None, "message"):
        return _SENDERS.get(_text_or_none(item.get("role")), "assistant")
    return "system" if item.get("role") in ("developer", "system") else "assistant"


def _is_spoken(item: Mapping[str, Any]) -> bool:
    return item.get("type") in (None, "message") and item.get("role") in ("user", "assistant")


def _call_ids(item: Mapping[str, Any], kinds: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    for field in kinds.get(_text_or_none(item.get("type")) or "", ()):
        if isinstance(call_id := item.get(field), str) and call_id:
            return (fit_call_id(call_id),)
    return ()


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
