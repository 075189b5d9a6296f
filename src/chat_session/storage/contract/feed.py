"""The feed of a store: what has changed in a session since a watcher looked last, and when to look again."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from chat_session.message import Message
from chat_session.session import Session
from chat_session.storage.contract.replies import ReplyState

# Called on the event loop: with None when the session may have changed, with bytes when something was told that is
# not stored.
Wake = Callable[[bytes | None], None]


class Position(NamedTuple):
    """Up to where a watcher has been told. ``seq``: the last message; ``reply_id``, ``offset``: bytes of a reply."""

    seq: int
    reply_id: str = ""
    offset: int = 0


class Edit(NamedTuple):
    """A change of the history that was no append. ``first`` and ``last``: which messages; both 0: the whole history."""

    revision: int
    first: int
    last: int
    tag: str  # random: after a failover another change may have the same revision


class Observation(NamedTuple):
    """A session at one moment, as a watcher at a position needs it."""

    session: Session
    incarnation: str  # another one for each session that has had this id
    expires: bool  # whether it has a lifetime that may end
    first: int  # the oldest sequence number that is kept; last + 1 if none is
    last: int  # the newest that was given out
    trimmed: int  # the newest sequence number of a trimmed message that the customer could see, 0 for none
    edits: Sequence[Edit]  # the last 64, the oldest first
    told: Message | None  # the one at the position; None if it is no longer kept
    messages: Sequence[Message]  # those behind the position, in order, until they have the size that was asked for
    reply: ReplyState | None  # the last one that was begun


class FeedStore(Protocol):
    """Optional: a store that offers none of it has None in its place."""

    async def observe(self, session_id: str, position: Position, size: int) -> Observation | None:
        """The session now, in one step; None if there is none. ``size``: bytes of messages, but one at least.

        ``position.seq`` 0: from the oldest message that is kept; -1: no message. Raises StoreCorrupt.
        """
        ...

    def listen(self, session_id: str | None, wake: Wake) -> Callable[[], None]:
        """Call ``wake`` when the session may have changed, and at least once after this call; None: the desk.

        What is given back ends that. A change is told at once if notifications arrive, and within 2 s if they do not.
        ``wake`` may be called for no reason, and once for several changes.
        """
        ...

    async def tell(self, session_id: str, news: bytes) -> None:
        """Hand ``news`` to all who listen to the session now. It may be lost. Raises nothing for that."""
        ...

    async def close(self) -> None:
        """End what runs in the background."""
        ...
