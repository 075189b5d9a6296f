"""What is in the store at rest, seen twice: as callers see it, and as it is stored."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class VisibleMessage:
    """A message as a reader gets it."""

    seq: int
    id: str
    text: str


@dataclass(slots=True)
class VisibleSession:
    """A session as a caller sees it."""

    user: str
    count: int
    epoch: int
    agent: str
    messages: list[VisibleMessage] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    revision: int = 0


@dataclass(slots=True)
class StoredSession:
    """A session as it is stored.

    ``deadlines`` has one entry for each key that exists: its deadline in milliseconds, or None if it has none.
    """

    deadlines: dict[str, int | None]
    user: str | None = None
    ttl: int | None = None
    count: int = 0
    length: int = 0
    current_agent: str = "ai"
    agent: str | None = None
    ids: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Snapshot:
    """The whole store at rest.

    ``visible``, ``listed``, ``scanned`` and ``counted`` are what callers see; all else is what is stored.
    ``due`` and ``by_user`` are the scores of the index entries: a deadline in milliseconds, a creation in microseconds.
    ``strays`` are index entries that name no session, or are in a bucket in which nobody looks for them.
    """

    visible: dict[str, VisibleSession] = field(default_factory=dict)
    listed: dict[str, set[str]] = field(default_factory=dict)
    scanned: set[str] = field(default_factory=set)
    counted: int = 0
    stored: dict[str, StoredSession] = field(default_factory=dict)
    due: dict[tuple[str, str], float] = field(default_factory=dict)
    by_user: dict[tuple[str, str], float] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    now: float = 0.0  # the server's clock, in milliseconds
    zero: float | None = None  # what that clock showed when the recorder began, if that is known
