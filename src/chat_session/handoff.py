"""The steps of the desk: what each one does to a session. Pure functions, which every store applies in one step.

A step is decided on what was read of the session. A store applies what was decided if all of that is still so;
else it reads and decides again.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from chat_session.clock import from_us
from chat_session.desk_status import HIGHEST_PRIORITY, NEVER_HANDLED, DeskFacts, own_ttl
from chat_session.errors import DeskConflict
from chat_session.markers import Marker
from chat_session.message import Draft
from chat_session.session import Agent

PRIORITY_STEP = 9 * 10**14  # microseconds, until 2053: with 10^15 those of priority 0 would be beyond 2^53


class Read(NamedTuple):
    """What a step is decided on."""

    session_id: str
    facts: DeskFacts  # as they are now, see ``current_facts``
    epoch: int
    now: int  # microseconds since 2025, by the clock of the session's server
    presence: int = 0  # the generation of the operator who is to have the session


class Change(NamedTuple):
    """What a step changes, in one step. The store gives the stamp, the ttl and the epoch of ``facts``."""

    facts: DeskFacts
    agent: Agent | None  # who answers from then on, in a new epoch; None: the epoch stays
    event: str | None  # the name of its marker; None: it has none
    messages: tuple[Draft, ...] = ()  # the marker, then what the customer is told


Decide = Callable[[Read], Change | None]
"""None: there is nothing to change. Raises DeskConflict."""


class Step(NamedTuple):
    """One call of the desk on a session, for ``DeskStore.take_step``."""

    name: str  # of the facade's method
    decide: Decide
    actor: str | None = None  # the operator whose presence this renews
    holder: str | None = None  # the operator who is to have the session, if there is one
    message: Draft | None = None  # the operator's own; if its id is stored, the step was done before
    is_checked: bool = True  # False: a crash before the queue follows the session is put right in another way


def request(*, reason: str | None, priority: int, team: str | None, say: Draft | None, hold_ai: bool) -> Decide:
    """Into the queue. If it waits already, only a higher priority counts; if a person has it, nothing."""

    def decide(read: Read) -> Change | None:
        facts = read.facts
        if facts.state == "assigned" or (facts.state == "waiting" and priority <= facts.priority):
            return None
        if facts.state == "waiting":
            raised = msgspec.structs.replace(facts, priority=priority)
            return _change(raised, None, Marker("raised", priority=priority))
        waiting = msgspec.structs.replace(
            _fresh(facts),
            state="waiting",
            since=read.now,
            waiting_since=read.now,
            asked=True,
            reason=reason,
            priority=priority,
            team=team,
        )
        marker = Marker("requested", reason=reason, priority=priority, team=team)
        return _change(waiting, "human" if hold_ai else None, marker, say)

    return decide


def assign(operator: str, event: str, allow: Callable[[Read], bool]) -> Decide:
    """To this operator. Raises DeskConflict unless ``allow`` is true, or the operator has it already."""

    def decide(read: Read) -> Change | None:
        facts = read.facts
        if facts.state == "assigned" and facts.operator == operator:
            if facts.presence == read.presence:
                return None
            return Change(msgspec.structs.replace(facts, presence=read.presence), None, None)
        if not allow(read):
            raise _conflict(read)
        return _change(_assigned(read, operator), "human", _taking_marker(event, read, operator))

    return decide


def answer(operator: str, *, polite: bool) -> Decide:
    """As ``assign``, and the operator's message is the newest answer."""
    taking = assign(operator, "answered", lambda _: not polite)

    def decide(read: Read) -> Change:
        change = taking(read) or Change(read.facts, None, None)
        return change._replace(facts=msgspec.structs.replace(change.facts, answered=read.now))

    return decide


def transfer_to_operator(operator: str, to: str, note: str | None) -> Decide:
    def decide(read: Read) -> Change:
        _require_holder(read, operator)
        marker = Marker("transferred", operator_id=operator, to=to, note=note)
        return _change(_assigned(read, to), "human", marker)

    return decide


def transfer_to_team(operator: str, team: str, note: str | None) -> Decide:
    """Into the queue of a team, behind those of equal priority who wait there."""

    def decide(read: Read) -> Change:
        _require_holder(read, operator)
        waiting = _waiting_again(read, waiting_since=read.now, team=team)
        marker = Marker("transferred", operator_id=operator, team=team, note=note)
        return _change(waiting, "human", marker)

    return decide


def decline(operator: str) -> Decide:
    """Back to its old place in the queue."""

    def decide(read: Read) -> Change:
        _require_holder(read, operator)
        return _change(_waiting_again(read), "human", Marker("declined", operator_id=operator))

    return decide


def hand_back(operator: str | None, *, note: str | None, say: Draft | None, resolved: bool) -> Decide:
    """To the AI. Raises DeskConflict if another operator has it. ``operator`` None: whoever has it, by a sweep."""

    def decide(read: Read) -> Change | None:
        facts = read.facts
        if facts.state == "open":
            return None
        if operator is not None and facts.operator not in (None, operator):
            raise _conflict(read)
        seconds = None if facts.since is None or facts.state == "waiting" else (read.now - facts.since) // 1_000_000
        marker = Marker(
            "handed_back",
            operator_id=operator or facts.operator,
            seconds=None if seconds is None else max(seconds, 0),
            note=note,
            resolved=resolved,
            automatic=operator is None,
        )
        given_back = msgspec.structs.replace(_fresh(facts), since=read.now)
        return _change(given_back, "ai", marker, say)

    return decide


def hand_back_if_silent(seconds: float) -> Decide:
    """To the AI, if the operator who has it has written nothing to the customer for so long."""
    giving_back = hand_back(None, note=None, say=None, resolved=False)

    def decide(read: Read) -> Change | None:
        facts = read.facts
        if facts.state != "assigned" or read.now < last_sign(facts) + seconds * 1_000_000:
            return None
        return giving_back(read)

    return decide


def last_sign(facts: DeskFacts) -> int:
    """When the operator took the session, or last wrote to the customer."""
    return max(facts.since or 0, facts.answered or 0)


def lapse(operator: str, generation: int) -> Decide:
    """Back to its old place in the queue, if the operator has it since a presence that has lapsed."""

    def decide(read: Read) -> Change | None:
        facts = read.facts
        if facts.state != "assigned" or facts.operator != operator or facts.presence > generation:
            return None
        return _change(_waiting_again(read), "human", Marker("lapsed", operator_id=operator))

    return decide


def keep(read: Read) -> None:
    """Nothing changes but what the operator writes."""


def adopt(read: Read) -> Change:
    """What a switch of the agent without the desk has made of the session becomes what the desk stores."""
    return Change(read.facts, None, None)


def _change(facts: DeskFacts, agent: Agent | None, marker: Marker, say: Draft | None = None) -> Change:
    return Change(facts, agent, marker.event, (marker.draft(),) if say is None else (marker.draft(), say))


def _fresh(facts: DeskFacts) -> DeskFacts:
    """Nothing but what stays with a session."""
    return msgspec.structs.replace(NEVER_HANDLED, stamp=facts.stamp, own_ttl=facts.own_ttl, desk_ttl=facts.desk_ttl)


def _assigned(read: Read, operator: str) -> DeskFacts:
    before = read.facts if read.facts.state != "open" else _fresh(read.facts)
    return msgspec.structs.replace(
        before,
        state="assigned",
        since=read.now,
        waiting_since=read.now if before.waiting_since is None else before.waiting_since,
        operator=operator,
        presence=read.presence,
    )


def _waiting_again(read: Read, *, waiting_since: int | None = None, team: str | None = None) -> DeskFacts:
    facts = read.facts
    return msgspec.structs.replace(
        facts,
        state="waiting",
        since=read.now,
        waiting_since=waiting_since or facts.waiting_since or read.now,
        operator=None,
        presence=0,
        asked=True,
        team=facts.team if team is None else team,
    )


def _taking_marker(event: str, read: Read, operator: str) -> Marker:
    facts = read.facts
    before = facts.operator if facts.state == "assigned" else None
    waited = None
    if facts.state == "waiting" and facts.waiting_since is not None:
        waited = max((read.now - facts.waiting_since) // 1_000_000, 0)
    return Marker(event, operator_id=operator, before=before, waited=waited)


def _require_holder(read: Read, operator: str) -> None:
    if read.facts.state != "assigned" or read.facts.operator != operator:
        raise _conflict(read)


def _conflict(read: Read) -> DeskConflict:
    facts = read.facts
    since = None if facts.since is None else from_us(facts.since)
    return DeskConflict(read.session_id, facts.state, facts.operator, since, read.epoch)


def complete(read: Read, change: Change, stored_ttl: int | None, waiting_ttl: int) -> tuple[DeskFacts, int | None]:
    """The facts to be stored, with the stamp of before; and the ttl that the session then has. None: never expires.

    While people depend on a session it has at least ``waiting_ttl`` seconds. A ttl that was set meanwhile by a process
    that knows no desk is the session's own.
    """
    own = own_ttl(read.facts, stored_ttl)
    epoch = read.epoch + (change.agent is not None)
    facts = msgspec.structs.replace(change.facts, stamp=read.facts.stamp, epoch=epoch, own_ttl=None, desk_ttl=None)
    if facts.state == "open" or own is None or own >= waiting_ttl:
        return facts, own
    return msgspec.structs.replace(facts, own_ttl=own, desk_ttl=waiting_ttl), waiting_ttl


def queue_place(facts: DeskFacts) -> int:
    """The score in the queue: the highest priority first, then who has waited longest."""
    return (HIGHEST_PRIORITY - facts.priority) * PRIORITY_STEP + (facts.waiting_since or 0)
