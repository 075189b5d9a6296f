"""A command that waits for its reply, and a batch of them that shares a round trip."""

import asyncio
from collections.abc import Sequence
from typing import Any

from chat_session.storage.redis.net.faults import NoReply
from chat_session.storage.redis.net.wire import WireCommand


class PendingCommand:
    """A command that was queued, when its caller gives up, and the future of its reply."""

    __slots__ = ("command", "expires", "reply")

    def __init__(self, command: WireCommand, expires: float, reply: asyncio.Future[Any]) -> None:
        self.command = command
        self.expires = expires  # a moment of the event loop's clock
        self.reply = reply

    def resolve(self, reply: Any) -> None:
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: Exception, *, sent: bool) -> None:
        if not self.reply.done():
            self.reply.set_exception(NoReply(error, sent=sent))


class Batch:
    """Commands that leave together and whose replies are delivered together.

    ``barrier``: what the server echoes after its replies; empty: nothing. ``confirmed``: a WAIT follows the commands.
    """

    __slots__ = ("barrier", "commands", "confirmed", "due", "sent_at")

    def __init__(self, commands: Sequence[PendingCommand], sent_at: float, due: float) -> None:
        self.commands = commands
        self.sent_at = sent_at
        self.due = due  # when its round trip has taken too long
        self.barrier = b""
        self.confirmed = False
