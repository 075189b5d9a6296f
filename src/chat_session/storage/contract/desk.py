"""The desk of a store: who has a session, the queue, and which operators are present."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from chat_session.desk_results import DeskEntry, DeskPage, DeskStats, Operator
from chat_session.handoff import Change, Read, Step
from chat_session.session import Session
from chat_session.storage.contract.sessions import Appended


class Stepped(NamedTuple):
    """What a step found, and what it did."""

    session: Session  # after it
    read: Read  # before it
    change: Change | None  # None: nothing was to be changed, or this call had been done before
    place: int  # in the queue of its team, from 1; 0 if it does not wait
    appended: Appended | None = None  # the operator's own message


class DeskSweep(NamedTuple):
    """What one sweep did."""

    lapsed: Sequence[str]  # sessions that went back to the queue
    handed_back: Sequence[str]  # sessions that went back to the AI


class DeskStore(Protocol):
    """Optional: a store that offers none of it has None in its place.

    A session's own facts are the truth. Queue, seats and figures follow in the same call; after a crash in between
    the next sweeps correct them.
    """

    async def take_step(self, session_id: str, step: Step) -> Stepped:
        """Read, decide, and apply in one atomic step: facts, agent and epoch, ttl, marker, the operator's message.

        The presence of ``step.actor`` is renewed, or begun; that of ``step.holder`` is begun if there is none. If
        others have changed the session meanwhile it decides again. A repeat of the call changes nothing, also if
        another operator has the session since. If the id of ``step.message`` is stored, nothing but that answer
        happens; if the same id is stored with other content, MessageConflict. If it changes something, it stamps the
        activity and slides the deadline. Raises SessionNotFound, and what ``step.decide`` raises: then nothing but a
        presence has changed.
        """
        ...

    async def claim(self, operator_id: str, teams: Sequence[str]) -> Stepped | None:
        """Assign the first waiting session of these teams to the operator; of all teams, if none are named.

        The first is that of the highest priority, and of these the one that has waited longest. No two calls get the
        same one. Renews the operator's presence. None if nobody waits. Raises OperatorFull.
        """
        ...

    async def renew_presence(self, operator_id: str, capacity: int | None, available: bool) -> Operator:
        """The operator is here: for CLAIM_LEASE seconds from now. ``capacity`` None: as before, at first 5.

        A renewal before a sweep has met a lapse keeps the operator's sessions.
        """
        ...

    async def list_waiting(self, team: str | None, limit: int, cursor: str | None) -> DeskPage:
        """A page of the queue in its order, of one team or of all. Raises InvalidInput for another's cursor."""
        ...

    async def list_assigned(self, operator_id: str | None) -> list[DeskEntry]:
        """The sessions that an operator has, or all known operators: by the operators' names, then since when."""
        ...

    async def list_operators(self) -> list[Operator]:
        """Those who are present, by name."""
        ...

    async def read_stats(self) -> DeskStats:
        """The state of the queue, and what was counted in the last hour and day."""
        ...

    async def sweep(self) -> DeskSweep:
        """Return the sessions of operators who went away to the queue; hand back those that nobody answers in time.

        Also put right what a crash, a failover or a switch without the desk has left. Any number may run at once: each
        session is returned by one of them, each lapse is counted once.
        """
        ...
