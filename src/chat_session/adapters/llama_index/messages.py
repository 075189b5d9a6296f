"""LlamaIndex's ChatMessage as a message of a session, and back."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ToolCallBlock,
    VideoBlock,
)
from pydantic_core import PydanticSerializationError

from chat_session import Message
from chat_session.adapters.projection import describe_call, fit_call_ids, fit_text, role_of
from chat_session.message import Sender

FORMAT = "llama-index/1"
STATUS = "status"  # the extra field of a message that was stored as archived

_SENDERS: dict[MessageRole, Sender] = {
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
_FILES = (
    (ImageBlock, "[image]"),
    (AudioBlock, "[audio]"),
    (VideoBlock, "[video]"),
    (DocumentBlock, "[document]"),
)


def to_message(chat: ChatMessage, max_text: int) -> Message:
    """The whole ChatMessage as ``content``, what a person reads of it as ``text``, at most ``max_text`` bytes."""
    sender = choose_sender(chat)
    calls = _calls(chat)
    return Message(
        id=os.urandom(16).hex(),  # the framework has none
        sender=sender,
        text=fit_text(_read_aloud(chat), max_text),
        format=FORMAT,
        calls=calls,
        answers=fit_call_ids([chat.additional_kwargs.get("tool_call_id")]) if sender == "tool" else (),
        content=msgspec.Raw(_dump(chat)),
        internal=sender in ("tool", "system") or bool(calls),
    )


def choose_sender(chat: ChatMessage) -> Sender:
    """Who speaks in it, by its role. What a user's role says of a tool is a tool's.

    So no call and no answer to one is ever in a message whose sender is ``user``.
    """
    sender = _SENDERS[chat.role]
    return "tool" if sender == "user" and _acts(chat) else sender


def to_chat(message: Message) -> ChatMessage | None:
    """The ChatMessage that was stored; of a message by others its role and text. None if it has no text.

    A content is used only if what is in it speaks for the message's sender: a customer's message cannot hold the
    result of a tool.
    """
    content = message.content_json if message.format == FORMAT else None
    if content is not None:
        chat = _load(content)
        if chat is not None and choose_sender(chat) == message.sender:
            return chat
    if not message.text:
        return None
    return ChatMessage(role=MessageRole(role_of(message)), content=message.text)


def to_chats(messages: Iterable[Message]) -> list[ChatMessage]:
    return [chat for message in messages if (chat := to_chat(message)) is not None]


def _dump(chat: ChatMessage) -> bytes:
    try:
        return chat.model_dump_json().encode()
    except (PydanticSerializationError, UnicodeEncodeError):  # half a surrogate pair
        return json.dumps(chat.model_dump(mode="json"), separators=(",", ":")).encode()


def _load(content: bytes) -> ChatMessage | None:
    """None for what is no ChatMessage. Its additional fields are left as they are: to LlamaIndex images there are new.

    ``images`` among them were made blocks when the message was made, and the blocks are stored.
    """
    if b'"images"' not in content:
        try:
            return ChatMessage.model_validate_json(content)
        except ValueError:  # also for half a surrogate pair
            pass
    try:
        fields = json.loads(content)
        additional = fields.pop("additional_kwargs", {})
        chat = ChatMessage.model_validate(fields)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    if not isinstance(additional, dict):
        return None
    chat.additional_kwargs = additional
    return chat


def _acts(chat: ChatMessage) -> bool:
    """Whether it calls a tool or answers a call."""
    return bool(
        chat.additional_kwargs.get("tool_call_id")
        or chat.additional_kwargs.get("tool_calls")
        or any(isinstance(block, ToolCallBlock) for block in chat.blocks)
    )


def _calls(chat: ChatMessage) -> tuple[str, ...]:
    """The ids of the calls that it makes, in blocks and in the older additional fields."""
    found: list[object] = [block.tool_call_id for block in chat.blocks if isinstance(block, ToolCallBlock)]
    if _SENDERS[chat.role] == "assistant":
        older = chat.additional_kwargs.get("tool_calls")
        found += [_read_id(call) for call in older] if isinstance(older, Sequence) else []
    return fit_call_ids(found)


def _read_id(call: Any) -> object:
    return call.get("id") if isinstance(call, dict) else getattr(call, "id", None)


def _read_aloud(chat: ChatMessage) -> str:
    return "\n".join(part for block in chat.blocks for part in _read_block(block) if part)


def _read_block(block: ContentBlock) -> Iterator[str]:
    """What a person reads: text, names of files, tool calls. Not what the model thought."""
    if isinstance(block, TextBlock):
        yield block.text
    elif isinstance(block, ToolCallBlock):
        arguments = block.tool_kwargs
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False, default=str)
        yield describe_call(block.tool_name, arguments)
    elif isinstance(block, CitableBlock):
        yield block.title
    elif isinstance(block, CitationBlock):
        yield from _read_block(block.cited_content)
    else:
        yield from (name for kind, name in _FILES if isinstance(block, kind))
