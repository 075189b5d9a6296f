"""Who has a session: what the desk shows of it, and what is stored of it."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from chat_session.checks import kind_of
from chat_session.clock import from_us, to_us
from chat_session.errors import InvalidInput

DeskState = Literal["open", "waiting", "assigned"]
HIGHEST_PRIORITY = 9


class DeskStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Whether the AI has the session ("open"), it waits for a person ("waiting"), or one has it ("assigned").

    ``operator_id``: who has it; None while it is assigned if the agent was switched without the desk. ``since``: when
    the state began. ``waiting_since``: the place in the queue, also that to which an assigned session returns.
    """

    state: DeskState = "open"
    operator_id: str | None = None
    since: datetime | None = None
    waiting_since: datetime | None = None
    reason: str | None = None
    priority: int = 0
    team: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """camelCase names and ISO times; only what is set."""
        shown: dict[str, Any] = msgspec.to_builtins(self)
        return {"state": self.state, **shown}


OPEN = DeskStatus()


class DeskFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is stored with a session that the desk has handled, as JSON. Moments are microseconds since 2025.

    ``stamp``: the moment of the last step, by the clock of the session's server; each step has a higher one.
    ``epoch``: the session's epoch after that step; with another one the agent was switched without the desk.
    ``own_ttl``, ``desk_ttl``: the session's own ttl, and the longer one that it has while people depend on it.
    ``presence``: the generation of the presence of the operator who has it. ``answered``: when that operator, or the
    one before, last wrote to the customer. ``asked``: whether a person was asked for; else one just took over.
    """

    stamp: int  # the first in the JSON: scripts read it there, and then both lifetimes
    own_ttl: int | None = None
    desk_ttl: int | None = None
    epoch: int = 0
    state: DeskState = "open"
    since: int | None = None
    waiting_since: int | None = None
    operator: str | None = None
    presence: int = 0
    answered: int | None = None
    asked: bool = False
    reason: str | None = None
    priority: int = 0
    team: str | None = None

    @property
    def status(self) -> DeskStatus:
        if self.state == "open":
            return OPEN if self.since is None else DeskStatus(since=from_us(self.since))
        return DeskStatus(
            state=self.state,
            operator_id=self.operator,
            since=_moment(self.since),
            waiting_since=_moment(self.waiting_since),
            reason=self.reason,
            priority=self.priority,
            team=self.team,
        )


NEVER_HANDLED = DeskFacts(stamp=0)

encode_facts = msgspec.json.Encoder().encode
_decode_facts = msgspec.json.Decoder(DeskFacts).decode


def decode_facts(stored: bytes) -> DeskFacts:
    """Raises ValueError for what is not such facts."""
    try:
        facts = _decode_facts(stored)
        facts.status  # noqa: B018 - moments that no calendar has
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError("it is not what the desk stores") from error
    if (
        not 0 <= facts.priority <= HIGHEST_PRIORITY
        or facts.stamp < 0
        or (facts.own_ttl is not None and facts.own_ttl < 1)
    ):
        raise ValueError("it is not what the desk stores")
    return facts


def current_facts(facts: DeskFacts | None, agent: str, epoch: int, switched_at: datetime | None) -> DeskFacts:
    """What is true of a session now: the agent may have been switched without the desk since the facts were stored."""
    if facts is not None and facts.epoch == epoch:
        return facts
    stored = facts or NEVER_HANDLED
    since = None if switched_at is None else to_us(switched_at)
    if agent == "ai":
        return DeskFacts(
            stamp=stored.stamp,
            own_ttl=stored.own_ttl,
            desk_ttl=stored.desk_ttl,
            epoch=epoch,
            since=since if facts else None,
        )
    waiting_since = since if stored.state == "open" else stored.waiting_since
    return msgspec.structs.replace(
        stored, epoch=epoch, state="assigned", operator=None, presence=0, since=since, waiting_since=waiting_since
    )


def find_status(facts: DeskFacts | None, agent: str, epoch: int, switched_at: datetime | None) -> DeskStatus:
    if facts is None and agent == "ai":
        return OPEN
    return current_facts(facts, agent, epoch, switched_at).status


def read_status(argument: str, value: object) -> DeskStatus:
    """Read the shape that ``to_dict`` gives. Raises InvalidInput."""
    try:
        return msgspec.convert(value, DeskStatus)
    except msgspec.ValidationError as error:
        problem = str(error)
    raise InvalidInput(argument, "what a session's to_dict gives for it", f"{kind_of(value)}: {problem}")


def own_ttl(facts: DeskFacts | None, stored: int | None) -> int | None:
    """The session's own ttl: the desk may have raised the one that is stored."""
    if facts is None or facts.own_ttl is None or stored != facts.desk_ttl:
        return stored
    return facts.own_ttl


def facts_of(status: DeskStatus, epoch: int) -> DeskFacts | None:
    """For a session that is stored as it was elsewhere. Its operator's presence is unknown here.

    None if the session's agent and the moment of its switch say the same without them.
    """
    if status == OPEN or _is_of_a_switch(status):
        return None
    since = None if status.since is None else to_us(status.since)
    stamp = max(since or 0, 0)
    if status.state == "open":
        return DeskFacts(stamp=stamp, epoch=epoch, since=since)
    return DeskFacts(
        stamp=stamp,
        epoch=epoch,
        state=status.state,
        since=since,
        waiting_since=since if status.waiting_since is None else to_us(status.waiting_since),
        operator=status.operator_id,
        asked=True,
        reason=status.reason,
        priority=status.priority,
        team=status.team,
    )


def _is_of_a_switch(status: DeskStatus) -> bool:
    """Whether a session shows this that the desk has never handled, after a switch of its agent."""
    return status == DeskStatus(state="assigned", since=status.since, waiting_since=status.since)


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
