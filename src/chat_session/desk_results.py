"""What the calls of the desk return. ``to_dict()`` gives camelCase names and ISO times."""

from datetime import datetime
from typing import Any

import msgspec

from chat_session.desk_status import DeskState, DeskStatus


class _Value(msgspec.Struct, frozen=True, rename="camel"):
    def to_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


class Ticket(_Value, frozen=True, rename="camel"):
    """Where a session is after a person was asked for.

    ``place`` counts from 1 within the team; 0 when a person has the session. ``waiting_since``: None if nobody asked.
    """

    state: DeskState
    place: int
    waiting_since: datetime | None


class DeskEntry(DeskStatus, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A session in a list of the desk, as it was after its last step."""

    session_id: str

    @classmethod
    def of(cls, session_id: str, status: DeskStatus) -> "DeskEntry":
        return cls(session_id=session_id, **msgspec.structs.asdict(status))


class DeskPage(list[DeskEntry]):
    """A part of the queue. ``cursor`` asks for the next part; None: this is the last one."""

    def __init__(self, entries: list[DeskEntry] | tuple[DeskEntry, ...] = (), cursor: str | None = None) -> None:
        super().__init__(entries)
        self.cursor = cursor


class Operator(_Value, frozen=True, kw_only=True, rename="camel"):
    """An operator who is present, or whose absence no sweep has met yet.

    ``assigned``: how many sessions the operator has. ``seen_at``: the operator's last step; None for one who was only
    given a session. ``present_until``: then the presence lapses, unless it is renewed.
    """

    operator_id: str
    available: bool
    capacity: int
    assigned: int
    seen_at: datetime | None
    present_until: datetime


class DeskFigures(_Value, frozen=True, kw_only=True, rename="camel"):
    """What happened in the last hour or day. Times are in seconds, None if there was no such case.

    ``takeovers``: how often a person took a session, by how: "claimed" from the queue, "taken_over", "answered" by
    simply writing. ``lapses``: operators who went away while they had sessions.
    ``sessions_handled``: of those created in this time, how many had a person asked for or taking over.
    ``first_response``: from the request to the first answer.
    """

    requests: int
    takeovers: dict[str, int]
    hand_backs: int
    lapses: int
    sessions_created: int
    sessions_handled: int
    wait_median: float | None
    wait_p95: float | None
    first_response_median: float | None
    first_response_p95: float | None


class DeskStats(_Value, frozen=True, kw_only=True, rename="camel"):
    """``waiting``: how many wait, by team, "" for those without one. ``longest_wait`` is in seconds, 0 if nobody waits.

    ``assigned``: how many sessions operators have. ``hour`` and ``day`` are approximate after a crash.
    """

    waiting: dict[str, int]
    longest_wait: float
    assigned: int
    hour: DeskFigures
    day: DeskFigures
