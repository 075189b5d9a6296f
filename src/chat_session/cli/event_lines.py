"""The events of a session's feed in words, a line each."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from chat_session.desk_status import DeskStatus
from chat_session.events import (
    AgentSwitched,
    DeskChanged,
    Event,
    Gap,
    MessageAppended,
    MessageReplaced,
    MessageRetracted,
    ReplyAborted,
    ReplyCommitted,
    ReplyDelta,
    ReplyStarted,
    Reset,
    SessionUpdated,
    State,
    Typing,
)
from chat_session.message import Message
from chat_session.session import Session

_LINE_END = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_NAME_WIDTH = len(MessageRetracted.name)  # the longest

_RESETS = {
    "recreated": "another session has this id now",
    "rewritten": "a failover took back what was told",
    "too_old": "more was changed than is remembered",
}


def event_line(event: Event, at: datetime) -> str:
    """When, what, and the rest. What people wrote is in it as it is, but for line breaks."""
    words = _WORDS.get(type(event), lambda _: "")(event)
    return f"{event_head(event, at)}  {in_one_line(words)}".rstrip()


def event_head(event: Event, at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}  {event.name:{_NAME_WIDTH}}"


def in_one_line(text: str) -> str:
    """Each line break as a space, also at the end: parts of a text stay parts of it."""
    return _LINE_END.sub(" ", text)


def _speaker(message: Message) -> str:
    marks = [*([] if message.type is None else [message.type]), *(["internal"] if message.internal else [])]
    who = message.sender if message.author is None else f"{message.sender} {message.author}"
    return f"{message.seq} {who}" + (f" ({'; '.join(marks)})" if marks else "")


def _state(session: Session) -> str:
    return f"agent {session.current_agent}, epoch {session.agent_epoch}, desk {_desk(session.desk)}"


def _desk(desk: DeskStatus) -> str:
    words: list[str] = [desk.state if desk.operator_id is None else f"{desk.state} to {desk.operator_id}"]
    words += [f"{name} {value}" for name, value in (("team", desk.team), ("reason:", desk.reason)) if value]
    return ", ".join(words)


def _lifetime(ttl: int | None) -> str:
    return "never" if ttl is None else f"{ttl} s"


def _said(event: MessageAppended | MessageReplaced) -> str:
    return f"{_speaker(event.message)}: {event.message.text or ''}"


_WORDS: dict[type[Event], Callable[[Any], str]] = {
    State: lambda it: _state(it.session),
    MessageAppended: _said,
    MessageReplaced: _said,
    MessageRetracted: lambda it: _speaker(it.message),
    AgentSwitched: lambda it: f"agent {it.agent}, epoch {it.epoch}",
    DeskChanged: lambda it: _desk(it.desk),
    SessionUpdated: lambda it: f"user {it.session.user_id}, ttl {_lifetime(it.session.ttl)}",
    ReplyStarted: lambda it: "assistant" if it.author is None else f"assistant {it.author}",
    ReplyDelta: lambda it: it.text,
    ReplyCommitted: lambda it: f"message {it.seq}",
    ReplyAborted: lambda it: it.reason,
    Typing: lambda it: it.who,
    Gap: lambda it: f"messages {it.from_seq} to {it.to_seq} were trimmed before they could be shown",
    Reset: lambda it: f"{it.reason}: {_RESETS.get(it.reason, 'begin again')}",
}
