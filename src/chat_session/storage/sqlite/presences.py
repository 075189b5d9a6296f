"""Which operators are present: one lease each, with a generation that grows whenever a presence begins again.

Moments are microseconds since 2025.
"""

import sqlite3

from msgspec import Struct
from msgspec.structs import replace

from chat_session.clock import from_us, now_ms, now_us
from chat_session.desk_figures import bucket_of
from chat_session.desk_options import DEFAULT_CAPACITY
from chat_session.desk_results import Operator
from chat_session.storage.sqlite.counts import add_count
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import decode_name

DAY = 86_400_000_000
KEPT_FOR = 30 * DAY  # after an operator was last seen


class Presence(Struct, frozen=True):
    """``present_until`` None: it has lapsed, and a sweep has met that. ``seen_at`` None: was only given a session."""

    generation: int = 0
    present_until: int | None = None
    capacity: int | None = None
    available: int = 1
    seen_at: int | None = None

    def begun(self, moment: int, lease: float) -> "Presence":
        """Present for ``lease`` seconds from now. A generation that no sweep has met as lapsed goes on."""
        generation = max(moment, self.generation + 1) if self.present_until is None else self.generation
        return replace(self, generation=generation, present_until=moment + round(lease * 1_000_000))


def find_presence(db: sqlite3.Connection, operator_id: str) -> Presence:
    row = db.execute(SQL["find_operator"], (operator_id,)).fetchone()
    return Presence() if row is None else Presence(*row)


def save_presence(db: sqlite3.Connection, operator_id: str, presence: Presence) -> None:
    values = {name: getattr(presence, name) for name in presence.__struct_fields__}
    db.execute(SQL["save_operator"], {"operator_id": operator_id, **values})


def renew(db: sqlite3.Connection, operator_id: str, moment: int, lease: float) -> Presence:
    """After a step of the operator, who is available then if the operator was away."""
    before = find_presence(db, operator_id)
    was_here = before.present_until is not None and before.seen_at is not None
    renewed = replace(before.begun(moment, lease), seen_at=moment, available=before.available if was_here else 1)
    save_presence(db, operator_id, renewed)
    return renewed


def renew_presence(
    db: sqlite3.Connection, operator_id: str, capacity: int | None, available: bool, lease: float
) -> Operator:
    moment = now_us()
    before = find_presence(db, operator_id).begun(moment, lease)
    capacity = before.capacity if capacity is None else capacity
    renewed = replace(before, seen_at=moment, capacity=capacity, available=int(available))
    save_presence(db, operator_id, renewed)
    return _show(operator_id, renewed, count_assigned_to(db, operator_id))


def find_holder(db: sqlite3.Connection, operator_id: str, moment: int, lease: float) -> Presence:
    """The presence of one who is to have a session: as it is, or a new one, which is not stored yet.

    Without a sign of the operator, a new one is not available. A presence that is over, although no sweep has met
    that, is not used: the next sweep would take the session away at once.
    """
    presence = find_presence(db, operator_id)
    if presence.present_until is not None and presence.present_until > moment:
        return presence
    return replace(presence, present_until=None, available=0).begun(moment, lease)


def save_holder(db: sqlite3.Connection, operator_id: str, presence: Presence, moment: int) -> None:
    """Store what ``find_holder`` gave. If it replaces a presence that is over, that one has lapsed now."""
    before = find_presence(db, operator_id)
    if before.generation != presence.generation or before.present_until is None:
        if before.present_until is not None and count_assigned_to(db, operator_id):
            add_count(db, bucket_of(moment), "lapses")
        save_presence(db, operator_id, presence)


def count_assigned_to(db: sqlite3.Connection, operator_id: str) -> int:
    [count] = db.execute(SQL["count_assigned_to"], (operator_id, now_ms())).fetchone()
    return int(count)


def capacity_of(presence: Presence) -> int:
    return DEFAULT_CAPACITY if presence.capacity is None else presence.capacity


def list_operators(db: sqlite3.Connection) -> list[Operator]:
    rows = db.execute(SQL["list_operators"], (now_ms(),)).fetchall()
    return [_show(decode_name(row[0]), Presence(0, *row[1:5]), row[5]) for row in rows]


def mark_lapses(db: sqlite3.Connection) -> None:
    """Mark each presence that is over as lapsed, and count it if its operator had sessions."""
    moment = now_us()
    had_sessions = [had for [had] in db.execute(SQL["mark_lapses"], {"moment": moment, "now": now_ms()}).fetchall()]
    if any(had_sessions):
        add_count(db, bucket_of(moment), "lapses", sum(had_sessions))


def forget_operators(db: sqlite3.Connection, moment: int) -> None:
    """Those who have no sessions and were not seen for 30 days."""
    db.execute(SQL["delete_old_operators"], (moment - KEPT_FOR,))


def _show(operator_id: str, presence: Presence, assigned: int) -> Operator:
    seen_at = presence.seen_at
    return Operator(
        operator_id=operator_id,
        available=bool(presence.available),
        capacity=capacity_of(presence),
        assigned=assigned,
        seen_at=None if seen_at is None else from_us(seen_at),
        present_until=from_us(presence.present_until or 0),
    )
