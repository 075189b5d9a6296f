"""A caller that watches a session, and records each event that it is told as an operation "told"."""

import asyncio
from zlib import crc32

import msgspec

from chaos.history import Operation
from chaos.workload import Caller
from chat_session import SessionNotFound, StoreError
from chat_session.events import (
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
    SessionDeleted,
    SessionExpired,
    State,
)
from chat_session.feed_cursor import Cursor
from chat_session.message import Message

SECRET = "for-the-staff-only"  # is part of all that a customer must not be told
LEAVES = 0.1  # the chance that one who comes and goes leaves behind an event
PAUSE = 0.05  # seconds at most until it is back


class Watcher(Caller):
    """Watches sessions without end. Each one is a feed of its own, with the name of this caller and of the session.

    ``inside``: it is told all. ``comes_and_goes``: it ends the feed now and then, and goes on with the last cursor.
    """

    inside = False
    comes_and_goes = False

    async def watch(self, session: str, after: str | None = None) -> None:
        """``after``: the cursor of another watcher whose feed this one continues."""
        while True:
            feed = self.manager.watch(session, after=after, include_internal=self.inside)
            try:
                async for event in feed:
                    after = event.cursor
                    self.record(event)
                    if self.comes_and_goes and self.rng.random() < LEAVES:
                        break
            except (StoreError, SessionNotFound):  # it comes back, or it is created again
                pass
            finally:
                await feed.aclose()
            await asyncio.sleep(self.rng.uniform(0, PAUSE))

    def record(self, event: Event) -> Operation:
        facts = {"event": event.name, "cursor": event.cursor, "at": Cursor.parse(event.cursor).seq, **describe(event)}
        if not self.inside and is_secret(event):
            facts["secret"] = True
        writer = f"{self.name}/{event.session_id}"
        return self.recorder.note("told", event.session_id, writer, asked={"inside": self.inside}, told=facts)


def is_secret(event: Event) -> bool:
    """Whether a customer must not be told this."""
    if isinstance(event, State) and event.session.metadata:
        return True
    message = getattr(event, "message", None)
    is_internal = isinstance(message, Message) and message.internal
    return is_internal or SECRET.encode() in msgspec.json.encode(event.to_dict())


def describe(event: Event) -> dict[str, object]:
    """What the rules need of an event."""
    match event:
        case MessageAppended() | MessageReplaced() | MessageRetracted():
            return {"id": event.message.id, "seq": event.message.seq}
        case Gap():
            return {"from": event.from_seq, "to": event.to_seq}
        case Reset():
            return {"reason": event.reason}
        case ReplyStarted():
            return {"reply": event.reply_id}
        case ReplyDelta():
            text = event.text.encode()
            return {"reply": event.reply_id, "offset": event.offset, "size": len(text), "checksum": crc32(text)}
        case ReplyCommitted():
            return {"reply": event.reply_id, "seq": event.seq}
        case ReplyAborted():
            return {"reply": event.reply_id, "reason": event.reason}
    return {}


ENDS = (SessionDeleted.name, SessionExpired.name)
