"""What the tests of streaming replies share: workers at the store's own calls, and what a watcher would see."""

from typing import NamedTuple

from chat_session.desk import Desk
from chat_session.errors import TurnLost
from chat_session.manager import SessionManager
from chat_session.message import UNLIMITED, Draft, check_message
from chat_session.replies import Reply
from chat_session.storage.contract import FeedStore, Position, ReplyState, ReplyStore
from chat_session.telemetry.hooks import Hooks
from chat_session.testing.turns.scene import LONG_LEASE, create_asking
from chat_session.testing.waiting import until

REPLY, OTHER = "a" * 32, "b" * 32  # ids of replies


def replies_of(manager: SessionManager) -> ReplyStore:
    """The capability itself."""
    replies: ReplyStore | None = manager._store.replies  # noqa: SLF001 - the contract is about the store
    assert replies is not None, "the store has no streaming replies"
    return replies


class Worker(NamedTuple):
    """Holds the turn on session "s", and makes the store's calls one by one. Nobody renews the turn."""

    manager: SessionManager
    replies: ReplyStore
    token: str

    async def begin(self, reply_id: str = REPLY, author: str | None = None) -> None:
        await self.replies.begin_reply("s", self.token, reply_id, author)

    async def write(self, offset: int, text: bytes, reply_id: str = REPLY) -> int:
        return await self.replies.write_reply("s", self.token, reply_id, offset, text)

    async def commit(self, text: str, reply_id: str = REPLY) -> int:
        """The sequence number of the message."""
        appended = await self.replies.commit_reply("s", self.token, make_draft(text, reply_id), 1)
        return appended.message.seq or 0

    async def commit_partial(self, text: str, length: int | None = None, reply_id: str = REPLY) -> int | None:
        """The sequence number of the message. ``length``: what the text has, if it is not given."""
        size = len(text.encode()) if length is None else length
        draft = make_draft(text, reply_id, type="partial")
        appended = await self.replies.commit_partial("s", draft, size, "failed")
        return None if appended is None else appended.message.seq

    async def abort(self, reason: str = "failed", reply_id: str = REPLY) -> None:
        await self.replies.abort_reply("s", reply_id, reason)

    async def count_bytes(self, reply_id: str = REPLY) -> int:
        return await self.write(0, b"", reply_id)

    async def release(self) -> None:
        await self.manager._turns.release_turn("s", self.token, None, unless_newer=False)  # noqa: SLF001 - as above


async def take(manager: SessionManager, token: str = "worker", lease: float = LONG_LEASE) -> Worker:  # noqa: S107 - no secret
    """Take the turn on session "s", which is there."""
    replies = replies_of(manager)
    await manager._turns.take_turn("s", token, lease)  # noqa: SLF001 - the facade would renew it
    return Worker(manager, replies, token)


async def begin(manager: SessionManager, text: bytes = b"", lease: float = LONG_LEASE) -> Worker:
    """Create session "s" with a question; a worker has begun a reply, and written that."""
    await create_asking(manager, "s")
    worker = await take(manager, lease=lease)
    await worker.begin()
    assert await worker.write(0, text) == len(text)
    return worker


def make_draft(text: str, reply_id: str = REPLY, **fields: str) -> Draft:
    return check_message({"id": reply_id, "from": "assistant", "text": text, **fields}, UNLIMITED)


async def lose(manager: SessionManager, how: str) -> None:
    """Let the turn on session "s" be lost: "taken_over", "handed_back" (after that), or "stopped"."""
    if how == "stopped":
        await manager.stop_turn("s")
        return
    await Desk(manager).take_over("s", "anna")
    if how == "handed_back":
        await Desk(manager).hand_back("s", "anna")


async def until_shown(reply: Reply, size: int) -> None:
    """Until so many bytes of the reply are in the store."""

    async def is_shown() -> bool:
        return reply._text.shown >= size  # noqa: SLF001 - what has arrived is no part of the facade

    await until(is_shown)


async def until_over(worker: Worker, reply_id: str = REPLY) -> TurnLost:
    """Until the store refuses text for the reply; how."""
    refused: list[TurnLost] = []

    async def is_over() -> bool:
        try:
            await worker.count_bytes(reply_id)
        except TurnLost as lost:
            refused.append(lost)
        return bool(refused)

    await until(is_over)
    return refused[0]


async def look(manager: SessionManager) -> ReplyState | None:
    """What a watcher of session "s" sees of its last reply; None for a store without a feed."""
    feed: FeedStore | None = manager._store.feed  # noqa: SLF001 - as above
    if feed is None:
        return None
    seen = await feed.observe("s", Position(-1), 1 << 20)
    return seen and seen.reply


async def expect_end(manager: SessionManager, state: str, reason: str = "") -> None:
    """A watcher sees how the last reply of session "s" ended, if the store has a feed."""
    seen = await look(manager)
    assert seen is None or (seen.state, seen.reason, seen.text) == (state, reason, b"")


class Listener(Hooks):
    """Keeps what it is told of replies, and counts the deltas that were sent."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.deltas = 0

    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:  # noqa: ARG002
        self.deltas += name == "write_reply"

    def reply_begun(self, session_id: str) -> None:
        self.told.append(f"{session_id} begun")

    def reply_ended(self, session_id: str, outcome: str) -> None:
        self.told.append(f"{session_id} {outcome}")
