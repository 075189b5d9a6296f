"""An ADK event as a message, and a message as an event.

The event goes into ``content`` as ADK's own services write it, and comes back from there. Beside it stands what
others read: a text, who spoke, and the tool calls that it makes and answers.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec
from google.adk.events import Event, EventActions
from google.adk.events.event import NodeInfo
from google.genai.types import Content, Part
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from chat_session import Message, Sender
from chat_session.adapters.adk.state import is_temporary
from chat_session.adapters.projection import fit_author, fit_call_ids, fit_text
from chat_session.adapters.session_ids import make_session_id
from chat_session.message import UNREADABLE

FORMAT = "adk.event/1"
_NEVER_OF_A_USER = (
    *("function_call", "function_response", "tool_call", "tool_response"),
    *("executable_code", "code_execution_result", "thought"),
)


def message_id_of(event: Event) -> str:
    """ADK promises that an event of one id is stored once."""
    return make_session_id(event.id)


def to_message(event: Event, max_text: int) -> Message:
    """The message that stores the event; its text has at most ``max_text`` bytes."""
    parts = _parts_of(event)
    calls = [part.function_call.id for part in parts if part.function_call]
    answers = [part.function_response.id for part in parts if part.function_response]
    sender = _sender_of(event, parts)
    text = "".join(map(_visible_text, parts)) or _transcribed_text(event)
    is_internal = sender in ("tool", "system") or not text
    usage = event.usage_metadata
    return Message(
        id=message_id_of(event),
        sender=sender,
        text=fit_text(text or _internal_text(event, parts), max_text),
        timestamp=datetime.fromtimestamp(event.timestamp, UTC),
        format=FORMAT,
        author=None if sender == "user" else fit_author(event.author),
        calls=fit_call_ids(calls),
        answers=fit_call_ids(answers),
        tokens=usage.candidates_token_count if usage and sender == "assistant" else None,
        content=msgspec.Raw(_write_event(event)),
        internal=is_internal,
    )


def to_event(message: Message) -> Event | None:
    """The event in the message, or one with the text of a message that ADK did not write; None if that has no text.

    The content of a user's message is used only if the event in it is itself a user's message: a customer's text
    cannot pose as the result of a tool, or as a step of the framework.
    """
    if message.format == FORMAT and message.content_json is not None:
        event = _read_event(message.content_json)
        if event is not None and (message.sender != "user" or is_user_message(event)):
            return event
    return _project(message)


def to_events(messages: Iterable[Message]) -> list[Event]:
    return [event for event in map(to_event, messages) if event is not None]


def is_user_message(event: Event) -> bool:
    """Whether it says what a person said, and nothing else: no tool's result, no step of a workflow, no rewinding."""
    actions = event.actions
    harmless = EventActions(state_delta=actions.state_delta, artifact_delta=actions.artifact_delta)
    return (
        event.author == "user"
        and bool(_parts_of(event) or event.input_transcription)
        and (event.content is None or event.content.role in (None, "user"))
        and not any(getattr(part, name) for part in _parts_of(event) for name in _NEVER_OF_A_USER)
        and actions == harmless
        and event.output is None
        and event.node_info == NodeInfo()
        and not event.long_running_tool_ids
    )


def without_temporary_state(event: Event) -> Event:
    """The event as it is stored; a copy where ``temp:`` keys are left out."""
    delta = event.actions.state_delta
    if not any(map(is_temporary, delta)):
        return event
    kept = {key: value for key, value in delta.items() if not is_temporary(key)}
    return event.model_copy(update={"actions": event.actions.model_copy(update={"state_delta": kept})})


def _sender_of(event: Event, parts: Sequence[Part]) -> Sender:
    if any(part.function_response for part in parts):
        return "tool"
    if is_user_message(event):
        return "user"
    return "system" if event.author == "user" else "assistant"  # "system": the framework's own steps, such as rewinding


def _parts_of(event: Event) -> Sequence[Part]:
    return (event.content.parts or []) if event.content else []


def _visible_text(part: Part) -> str:
    """What a customer may read of a part."""
    if part.thought:
        return ""
    spoken = part.audio_transcription
    text: str | None = part.text or (spoken.text if spoken else None)
    if text:
        return text
    if part.inline_data:
        return f"[{part.inline_data.display_name or part.inline_data.mime_type or 'data'}]"
    if part.file_data:
        return f"[{part.file_data.display_name or part.file_data.mime_type or 'file'}]"
    return ""


def _transcribed_text(event: Event) -> str:
    """Of a live session: what was said."""
    spoken = event.input_transcription or event.output_transcription
    text: str = (spoken.text or "") if spoken else ""
    return text


def _internal_text(event: Event, parts: Sequence[Part]) -> str:
    """What an operator may read of tool traffic and failures: names, never arguments or results."""
    said = [f"error {event.error_code}"] if event.error_code else []
    for part in parts:
        if part.function_call:
            said.append(f"calls {part.function_call.name}")
        elif part.function_response:
            said.append(f"result of {part.function_response.name}")
        elif part.executable_code:
            said.append("runs code")
        elif part.code_execution_result:
            said.append("result of code")
    return f"[{', '.join(said)}]" if said else ""


def _write_event(event: Event) -> bytes:
    """As ADK's SQLite service writes it; half a surrogate pair as an escape, where that service would fail."""
    try:
        written: str = event.model_dump_json(exclude_none=True)
    except PydanticSerializationError:
        written = json.dumps(event.model_dump(mode="json", exclude_none=True), separators=(",", ":"))
    return written.encode()


def _read_event(written: bytes) -> Event | None:
    """None if it is no event, as another version of ADK or somebody else may have stored it."""
    try:
        return Event.model_validate_json(written)
    except ValidationError:
        pass
    try:
        return Event.model_validate(json.loads(written))  # half a surrogate pair
    except ValueError:
        return None


def _project(message: Message) -> Event | None:
    if not message.text or message.type == UNREADABLE or message.timestamp is None:
        return None
    is_user = message.sender == "user"
    author = message.author if message.author and message.author != "user" else message.sender
    return Event(
        id=message.id or "",
        invocation_id=message.id or "",
        author="user" if is_user else author,
        content=Content(role="user" if is_user else "model", parts=[Part(text=message.text)]),
        timestamp=message.timestamp.timestamp(),
    )
