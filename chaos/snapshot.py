"""What is in the store at rest, seen twice: as callers see it, and as it is stored."""

from dataclasses import dataclass, field
from typing import Any

from chat_session.desk_status import OPEN, DeskStatus


@dataclass(slots=True)
class VisibleMessage:
    """A message as a reader gets it. ``marker``: the facts of a step of the desk, in a message of type "handoff".

    ``turn`` and ``answers`` are what a reply of a turn says of itself: which turn, and the ids of what it answers.
    """

    seq: int
    id: str
    text: str
    type: str = ""
    internal: bool = False
    at: float = 0.0  # its timestamp, in milliseconds
    marker: dict[str, Any] = field(default_factory=dict)
    sender: str = ""
    turn: str = ""
    answers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class VisibleSession:
    """A session as a caller sees it. ``ttl`` is its own one. ``in_turns``: whether workers find it."""

    user: str
    count: int
    epoch: int
    agent: str
    messages: list[VisibleMessage] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    revision: int = 0
    ttl: int | None = None
    desk: DeskStatus = OPEN
    in_turns: bool = False


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
class DeskLists:
    """What the desk lists after the last sweep.

    ``queue``: the sessions that wait, in the order of the queue of all; ``teams``: those of each team, "" for none.
    ``seats``: the sessions of each operator; ``taken``: how many each one has who is present. ``waiting`` and
    ``assigned`` are numbers from the statistics, ``lapses`` is how many were counted. ``lease`` is CLAIM_LEASE, and
    ``ttl`` is WAITING_TTL.
    """

    queue: list[str] = field(default_factory=list)
    teams: dict[str, list[str]] = field(default_factory=dict)
    seats: dict[str, list[str]] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    assigned: int = 0
    lapses: int = 0
    lease: float = 120.0
    ttl: int = 604_800


@dataclass(slots=True)
class Snapshot:
    """The whole store at rest.

    ``visible``, ``listed``, ``scanned``, ``counted`` and ``pending`` are what callers see; all else is what is stored.
    ``pending`` are the sessions that wait for a worker.
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
    pending: list[str] = field(default_factory=list)
    desk: DeskLists | None = None  # only where the desk was used
    now: float = 0.0  # the server's clock, in milliseconds
    zero: float | None = None  # what that clock showed when the recorder began, if that is known
