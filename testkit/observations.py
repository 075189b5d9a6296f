"""Observations of a session that are made by hand, and what a watcher is told of them."""

from datetime import UTC, datetime
from typing import Any

from chat_session.events import (
    Event,
    Gap,
    MessageAppended,
    MessageReplaced,
    MessageRetracted,
    ReplyAborted,
    ReplyDelta,
    Reset,
)
from chat_session.feed_cursor import Cursor
from chat_session.follower import Follower
from chat_session.message import Message
from chat_session.session import Session
from chat_session.storage.contract import Observation, ReplyState

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
SMILE = "\N{SLIGHTLY SMILING FACE}"  # four bytes


def message(seq: int, message_id: str | None = None, **fields: Any) -> Message:
    given = {"id": message_id or f"m{seq}", "sender": "user", "text": f"text {seq}", "timestamp": MOMENT, **fields}
    return Message(seq=seq, **given)


def session(**fields: Any) -> Session:
    known = {"session_id": "s", "user_id": "u", "created_at": MOMENT, "last_active_at": MOMENT, "ttl": 600}
    return Session(**{**known, "message_count": 0, "agent_epoch": 0, "current_agent": "ai", "metadata": {}, **fields})


def seen(last: int, *messages: Message, **facts: Any) -> Observation:
    """What a look finds of a session whose newest message is the one at ``last``; of the others it keeps all."""
    known: dict[str, Any] = {"revision": facts.pop("revision", 0), "fields": facts.pop("fields", {})}
    first = facts.pop("first", 1)
    usual: dict[str, Any] = {"incarnation": "aa", "expires": True, "first": first, "last": last, "trimmed": first - 1}
    usual |= {"edits": (), "told": None, "messages": messages, "reply": None}
    return Observation(session=session(revision=known["revision"], **known["fields"]), **{**usual, **facts})


def follower_at(seq: int = 0, *, inside: bool = False, **cursor: Any) -> Follower:
    """One who was told the message at ``seq`` last, and the State."""
    follower = Follower("s", Cursor("aa", seq, **cursor), include_internal=inside)
    follower.starts = False
    return follower


def look(follower: Follower, observation: Observation) -> list[Event]:
    """The events of one look, as the feed tells them; edits are those of messages that the observation has."""
    events: list[Event] = []
    if follower.begins:
        follower.begin(observation)
    if follower.starts:
        events += follower.start(observation)
    if (reason := follower.find_reset(observation)) is not None:
        return [*events, *follower.reset(observation, reason)]
    return [*events, *follower.follow(observation)]


def shape(events: list[Event]) -> list[Any]:
    """The events in short: a name, and what tells them apart."""
    found: list[Any] = []
    for event in events:
        match event:
            case MessageAppended() | MessageReplaced() | MessageRetracted():
                found.append((event.name, event.message.seq))
            case Gap():
                found.append((event.from_seq, event.to_seq))
            case ReplyDelta():
                found.append((event.offset, event.text))
            case Reset() | ReplyAborted():
                found.append((event.name, event.reason))
            case _:
                found.append(event.name)
    return found


def growing(text: bytes, offset: int = 0, reply_id: str = "r", **facts: Any) -> ReplyState:
    return ReplyState(reply_id, "growing", offset=offset, text=text, **facts)
