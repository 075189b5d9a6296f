"""A call that waits for its reply, and a round trip with the calls that share it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from chat_session.storage.redis.faults import Lost
from chat_session.storage.redis.packed import Packed


class Waiting:
    """A command that was handed to the lane, its moment to give up, and who waits for it."""

    __slots__ = ("answer", "command", "expires")

    def __init__(self, command: Packed, expires: float, answer: asyncio.Future[Any]) -> None:
        self.command = command
        self.expires = expires
        self.answer = answer

    def give(self, reply: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(reply)

    def fail(self, error: Exception, *, sent: bool) -> None:
        if not self.answer.done():
            self.answer.set_exception(Lost(error, sent=sent))


class Flight:
    """A round trip under way, and how far its replies have been read: who reads may be relieved in the middle."""

    __slots__ = ("calls", "departed", "due", "held", "landed", "mark", "replies", "sent")

    def __init__(self, calls: Sequence[Waiting], mark: bytes, due: float) -> None:
        self.calls = calls
        self.mark = mark  # what the server says after its replies; empty: nothing
        self.due = due  # when its round trip has taken too long
        self.sent = False  # while it waits for a connection
        self.departed = 0.0
        self.landed = 0  # calls whose replies have been read
        self.replies: list[Any] = []  # of the next one
        self.held: list[tuple[Waiting, Any]] = []  # answers that are not given yet

    def __len__(self) -> int:
        return len(self.calls)

    def fail(self, error: Exception) -> None:
        for waiting in self.calls:
            waiting.fail(error, sent=self.sent)
