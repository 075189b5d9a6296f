"""The steps of the desk on one session, each in one transaction with its queue, seat, presence and figures."""

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from chat_session.clock import now, now_ms, now_us
from chat_session.desk_options import DeskOptions
from chat_session.desk_status import DeskFacts
from chat_session.errors import Conflict, OperatorFull, SessionNotFound, StoreCorrupt
from chat_session.handoff import Change, Read, Step, assign, queue_place
from chat_session.message import Draft
from chat_session.storage.contract import Appended, Stepped
from chat_session.storage.sqlite.counts import count_step
from chat_session.storage.sqlite.desk_rows import DeskRow, require_desk_row, store_change
from chat_session.storage.sqlite.lifetimes import save_session, slide_deadline
from chat_session.storage.sqlite.messages import find_duplicate, insert_messages
from chat_session.storage.sqlite.presences import capacity_of, count_assigned_to, find_holder, renew, save_holder
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import require_session

BEFORE_ALL = -(2**63)  # a place in the queue

Refused = SessionNotFound | Conflict
"""Given back, not raised: the presence that the call renewed stays renewed."""


class DeskRules(Struct, frozen=True):
    options: DeskOptions
    max_history: int


def take_step(db: sqlite3.Connection, session_id: str, step: Step, rules: DeskRules) -> Stepped | Refused:
    moment, lease = now_us(), rules.options.claim_lease
    if step.actor is not None:
        renew(db, step.actor, moment, lease)
    try:
        stepped = _take(db, require_desk_row(db, session_id), step, moment, rules)
    except (SessionNotFound, Conflict) as error:  # raised before anything of the session was written
        return error.with_traceback(None)
    desk = stepped.session.desk
    if desk.state != "waiting":
        return stepped
    return stepped._replace(place=_find_place(db, require_desk_row(db, session_id).read(moment).facts, session_id))


def sweep_step(db: sqlite3.Connection, session_id: str, step: Step, rules: DeskRules) -> bool:
    """Whether there was something to change. Raises SessionNotFound, StoreCorrupt."""
    row = require_desk_row(db, session_id)
    read = row.read(now_us())
    change = step.decide(read)
    if change is not None:
        _apply(db, row, read, change, (), rules)
    return change is not None


def claim(db: sqlite3.Connection, operator_id: str, teams: Sequence[str], rules: DeskRules) -> Stepped | Refused | None:
    moment = now_us()
    presence = renew(db, operator_id, moment, rules.options.claim_lease)
    assigned, capacity = count_assigned_to(db, operator_id), capacity_of(presence)
    if assigned >= capacity:
        return OperatorFull(operator_id, assigned, capacity)
    decide = assign(operator_id, "claimed", lambda read: read.facts.state == "waiting")
    step = Step("claim_next", decide, actor=operator_id, holder=operator_id)
    for session_id in _find_waiting(db, teams):
        try:
            row = require_desk_row(db, session_id.decode())
        except (StoreCorrupt, UnicodeDecodeError):
            continue  # it must not hold up those who wait behind it
        if row.read(moment).facts.state == "waiting":  # else it was switched without the desk
            return _take(db, row, step, moment, rules)
    return None


def _take(db: sqlite3.Connection, row: DeskRow, step: Step, moment: int, rules: DeskRules) -> Stepped:
    """Raises only before it has written anything."""
    session = row.session
    holder = None if step.holder is None else find_holder(db, step.holder, moment, rules.options.claim_lease)
    read = row.read(moment, 0 if holder is None else holder.generation)
    if step.message is not None and (known := find_duplicate(db, session.session_id, step.message)) is not None:
        slide_deadline(db, session.session_id)  # a repeat keeps the session alive, too
        return Stepped(session, read, None, 0, Appended(known, duplicate=True))
    change = step.decide(read)
    if step.holder is not None and holder is not None:
        save_holder(db, step.holder, holder, moment)
    if change is None and step.message is None:
        return Stepped(session, read, None, 0)
    appended = _apply(db, row, read, change, () if step.message is None else (step.message,), rules)
    after = require_session(db, session.session_id)
    return Stepped(after, read, change, 0, appended[-1] if step.message is not None else None)


def _apply(
    db: sqlite3.Connection, row: DeskRow, read: Read, change: Change | None, own: tuple[Draft, ...], rules: DeskRules
) -> list[Appended]:
    """``own``: the operator's own message, behind those of the change."""
    session = row.session
    drafts = own if change is None else (*change.messages, *own)
    appended = insert_messages(db, session, drafts, rules.max_history) if drafts else []
    fresh = sum(not done.duplicate for done in appended)
    session = msgspec.structs.replace(session, message_count=session.message_count + fresh)
    if change is not None:
        store_change(db, row, read, change, rules.options.waiting_ttl)
        count_step(db, session, read, change)
        if change.agent is not None:
            epoch = read.epoch + 1
            session = msgspec.structs.replace(
                session, current_agent=change.agent, agent_epoch=epoch, agent_switched_at=now()
            )
    save_session(db, session)
    return appended


def _find_waiting(db: sqlite3.Connection, teams: Sequence[str]) -> Iterator[bytes]:
    """The ids of the sessions that wait, the first of the queue first. One index entry per team for each."""
    place: tuple[int, bytes] | None = (BEFORE_ALL, b"")
    while place is not None:
        after = {"now": now_ms(), "place": place[0], "session_id": place[1]}
        found = [db.execute(SQL["find_first_waiting_in_team"], {**after, "team": team}).fetchone() for team in teams]
        if not teams:
            found = [db.execute(SQL["find_first_waiting"], after).fetchone()]
        place = min((row for row in found if row is not None), default=None)
        if place is not None:
            yield place[1]


def _find_place(db: sqlite3.Connection, facts: DeskFacts, session_id: str) -> int:
    """Within the team, from 1."""
    values = {
        "team": facts.team or "",
        "place": queue_place(facts),
        "session_id": session_id,
        "now": now_ms(),
    }
    [before] = db.execute(SQL["count_before"], values).fetchone()
    return int(before) + 1
