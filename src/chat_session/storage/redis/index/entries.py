"""What an index does, and the entries it reads."""

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, StrEnum, auto
from typing import Any, NamedTuple, Protocol, TypeVar

from chat_session.session import Session
from chat_session.storage.codec import EncodedMessage

T = TypeVar("T")


class Verdict(StrEnum):
    """What an index entry becomes, other than to get another score. The scripts take it in this form."""

    REAP = "reap"  # it is removed, and the death of its session counted
    MARK_DEAD = "mark_dead"  # it is left to the next sweep, which counts the death
    DISCARD = "discard"  # it is removed; nothing is counted


class DueEntry(NamedTuple):
    """An entry of the index of deadlines as it was read, at ``read_at`` milliseconds by its server's clock."""

    session_id: str
    user_id: str
    score: bytes
    read_at: int


class UserEntry(NamedTuple):
    """An entry of a user's list as it was read."""

    session_id: str
    user_id: str
    score: bytes


class Outcome(Enum):
    """What came of looking after an entry that was due."""

    CHANGED = auto()  # it has another score, or is marked, or another process changed it meanwhile: read it again
    REAPED = auto()  # it is removed, by this call alone
    LIVES = auto()  # a writer is changing the session, which lives; the entry is left to that writer
    DEAD = auto()  # as before, but the session does not live now


class Index(Protocol):
    """Keeps index entries truthful while sessions come, go and change their lifetime."""

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[EncodedMessage]) -> Any:
        """Run create_session with its entries. ``ttl``: as stored, from now.

        None if it was created; else the fields of the session that has the id.
        """
        ...

    async def assign(self, session_id: str, user_id: str, new_user: str) -> Any:
        """Run assign_session with the entries of both users; the session's fields. None if ``user_id`` is not its user.

        Raises SessionNotFound.
        """
        ...

    async def delete(self, session_id: str, user_id: str, expect_revision: int | None) -> int | None:
        """Run delete_session with its entries; how many keys went. None if the id is another user's now.

        Raises SequenceConflict.
        """
        ...

    async def set_ttl(self, session_id: str, ttl: int) -> None:
        """Run set_ttl with its entry. Raises SessionNotFound."""
        ...

    async def shorten(
        self, name: str, session_id: str, user_id: str, change: Callable[[Sequence[bytes]], Awaitable[T]]
    ) -> T:
        """Run ``change``, which may bring the session's deadline forward, with the indexes that have it as a score."""
        ...

    async def restore(self, session_id: str, user_id: str) -> None:
        """Put back the entries of a living session that has lost them."""
        ...

    async def reconcile(self, name: str, entries: Sequence[DueEntry], dead: Verdict) -> list[Outcome]:
        """Check whether the sessions of entries that are due live; give the living their new score."""
        ...

    async def mark_dead(self, name: str, entries: Sequence[UserEntry]) -> None:
        """Sessions that were in a user's list and do not live: mark them for the sweep, and take them off the list."""
        ...
