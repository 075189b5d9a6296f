"""pydantic-ai's ModelMessage as a message of a session, and back. One message for each ModelMessage."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
from pydantic_ai.messages import (
    CompactionPart,
    FilePart,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    NativeToolReturnPart,
    RetryPromptPart,
    SpeechPart,
    SystemPromptPart,
    TextContent,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_core import PydanticSerializationError

from chat_session import Message
from chat_session.adapters.projection import describe_call, fit_call_id, fit_call_ids, fit_text, role_of
from chat_session.message import Sender

FORMAT = "pydantic-ai/1"


def to_message(native: ModelMessage, max_text: int) -> Message:
    """The whole ModelMessage as ``content``, what a person reads of it as ``text``, at most ``max_text`` bytes."""
    sender = choose_sender(native)
    calls = fit_call_ids(part.tool_call_id for part in native.parts if isinstance(part, ToolCallPart))
    answers = fit_call_ids(_answered_calls(native))
    text = "\n".join(part for part in _read_aloud(native) if part)
    return Message(
        sender=sender,
        text=fit_text(text, max_text),
        timestamp=_moment(native),
        format=FORMAT,
        calls=calls,
        answers=answers,
        content=msgspec.Raw(dump(native)),
        internal=sender in ("tool", "system") or bool(calls) or (sender == "assistant" and not text),
    )


def choose_sender(native: ModelMessage) -> Sender:
    """Who speaks in it. A request that answers calls is a tool's, whatever else it holds, such as a prompt.

    So nothing that answers a call is ever in a message whose sender is ``user``.
    """
    if isinstance(native, ModelResponse):
        return "assistant"
    if any(isinstance(part, (ToolReturnPart, RetryPromptPart)) for part in native.parts):
        return "tool"
    if any(isinstance(part, (UserPromptPart, SpeechPart)) for part in native.parts):
        return "user"
    return "system"


def _answered_calls(native: ModelMessage) -> list[str]:
    """The ids of the calls that a request answers."""
    if isinstance(native, ModelResponse):
        return []
    return [
        part.tool_call_id
        for part in native.parts
        if isinstance(part, ToolReturnPart) or (isinstance(part, RetryPromptPart) and part.tool_name is not None)
    ]


def to_natives(messages: Sequence[Message], are_entries: Sequence[bool]) -> list[ModelMessage | None]:
    """What each was stored as; of a message by others its role and text, None if it has no text.

    ``are_entries``: whether the store wrote the message. Only then a content is used, and only if it speaks for the
    message's sender.
    """
    contents = [
        content if is_entry and message.format == FORMAT and (content := message.content_json) is not None else None
        for message, is_entry in zip(messages, are_entries, strict=True)
    ]
    loaded = iter(_load_all([content for content in contents if content is not None]))
    natives: list[ModelMessage | None] = []
    for message, content in zip(messages, contents, strict=True):
        native = None if content is None else next(loaded)
        is_valid = native is not None and choose_sender(native) == message.sender
        natives.append(native if is_valid else _project(message))
    return natives


def without_answers(native: ModelMessage, calls: set[str]) -> ModelMessage | None:
    """A request without its answers to these calls; None if nothing is left."""
    kept = [
        part
        for part in native.parts
        if not (isinstance(part, (ToolReturnPart, RetryPromptPart)) and fit_call_id(part.tool_call_id) in calls)
    ]
    if not kept or not isinstance(native, ModelRequest):
        return None
    return ModelRequest(
        parts=kept,  # type: ignore[arg-type]  # those of a request
        timestamp=native.timestamp,
        instructions=native.instructions,
        run_id=native.run_id,
        conversation_id=native.conversation_id,
        metadata=native.metadata,
        state=native.state,
    )


def dump(native: ModelMessage) -> bytes:
    """As the framework writes it. Half a surrogate pair, which it cannot write, becomes an escape."""
    try:
        return ModelMessagesTypeAdapter.dump_json([native])[1:-1]
    except (PydanticSerializationError, UnicodeEncodeError):
        [fields] = ModelMessagesTypeAdapter.dump_python([native], mode="json")
        return json.dumps(fields, separators=(",", ":")).encode()


def _load_all(contents: Sequence[bytes]) -> list[ModelMessage | None]:
    try:
        return list(ModelMessagesTypeAdapter.validate_json(b"[" + b",".join(contents) + b"]"))
    except ValueError:
        return [_load(content) for content in contents]


def _load(content: bytes) -> ModelMessage | None:
    try:
        [native] = ModelMessagesTypeAdapter.validate_python([json.loads(content)])
    except (ValueError, RecursionError):
        return None
    return native


def _project(message: Message) -> ModelMessage | None:
    """What others said. An operator speaks to the customer in the place of the assistant; a note is for the model."""
    text, moment = message.text, message.timestamp
    if not text or moment is None:
        return None
    role = role_of(message)
    if role == "user":
        return ModelRequest(parts=[UserPromptPart(text, timestamp=moment)], timestamp=moment)
    if role == "system":
        return ModelRequest(parts=[SystemPromptPart(text, timestamp=moment)], timestamp=moment)
    return ModelResponse(parts=[TextPart(text)], timestamp=moment)


def _moment(native: ModelMessage) -> datetime | None:
    moment = native.timestamp
    return moment if moment is not None and moment.utcoffset() is not None else None


def _read_aloud(native: ModelMessage) -> Iterator[str]:
    """What a person reads: text, names of files, tool calls. Not what the model thought, nor instructions."""
    sender = choose_sender(native)
    for part in native.parts:
        if isinstance(part, UserPromptPart):
            yield from _read_prompt(part)
        elif isinstance(part, (TextPart, SpeechPart)) or (isinstance(part, SystemPromptPart) and sender == "system"):
            yield part.content
        elif isinstance(part, ToolCallPart):
            yield describe_call(part.tool_name, part.args_as_json_str())
        elif isinstance(part, (ToolReturnPart, RetryPromptPart)) and not isinstance(part, NativeToolReturnPart):
            yield part.model_response_str() if isinstance(part, ToolReturnPart) else part.model_response()
        elif isinstance(part, FilePart):
            yield f"[{part.content.media_type}]"
        elif isinstance(part, CompactionPart) and sender == "system":
            yield part.content or ""


def _read_prompt(part: UserPromptPart) -> Iterator[str]:
    if isinstance(part.content, str):
        yield part.content
        return
    for item in part.content:
        if isinstance(item, str):
            yield item
        elif isinstance(item, TextContent):
            yield item.content
        elif item.kind != "cache-point":
            yield f"[{item.kind}]"
