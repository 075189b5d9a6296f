"""The sessions of a store: what every store has. The manager checks arguments and speaks to this.

Arguments have been checked when they arrive here. Every method is one atomic step: it happens completely or not at
all, and is safe to repeat. A method may raise any StoreError besides those it names.
"""

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from chat_session.message import Draft, Message
from chat_session.results import SessionPage
from chat_session.session import Agent, Session

RemainingTtl = int | EllipsisType | None  # seconds; None for ever; left out: the session's own ttl


class Appended(Struct, frozen=True, gc=False):
    """One message of an append as it is stored now; a duplicate as it was stored before."""

    message: Message
    duplicate: bool


class Conditional(Struct, frozen=True, kw_only=True):
    """What an append compares before it writes anything, and what it writes in the same step.

    ``expect_seq``: the newest sequence number given out. Of metadata None stands for an entry that is not there: when
    it is compared it must be missing, when it is written it is removed. ``state``: by scope, as in StateStore.
    """

    expect_seq: int | None = None
    expect_revision: int | None = None
    expect_metadata: Mapping[str, Any] = {}
    metadata: Mapping[str, Any] = {}
    state: Mapping[str, Mapping[str, Any]] = {}


class Switched(NamedTuple):
    """The agent that is current now, the epoch that began with it, and whether a note was newly stored."""

    agent: Agent
    epoch: int
    noted: bool


class SessionStore(Protocol):
    """Sessions, their messages and their indexes in one place.

    A session exists while its own record does and its deadline, by the store's clock, is ahead.
    What remains of a dead one belongs to no session: a new session of that id starts empty.
    """

    async def create_session(
        self, session: Session, history: Sequence[Draft] = (), remaining: RemainingTtl = ...
    ) -> Session:
        """Store ``session`` as given and index it. Raises SessionExists.

        ``history`` ends with the message that ``message_count`` counts last. ``remaining``: the seconds that it
        lives from now if nothing happens, None for ever; left out, its ttl.

        The same call repeated after a lost answer succeeds. A dead session of that id, swept or
        not, is no obstacle. With ``max_history`` the session keeps so many messages, whatever the store's own bound.
        """
        ...

    async def get_or_create_session(self, session: Session) -> tuple[Session, bool]:
        """Store ``session`` as ``create_session`` does, or read the one of that id; whether it was created.

        Raises SessionExists if that one is another user's.
        """
        ...

    async def assign_session(self, session_id: str, user_id: str) -> Session:
        """Make it the session of another user, in the index, too.

        It is in one user's list at a time. A count meets it once, and no sweep takes it for dead. Neither the deadline
        nor the last activity moves. Raises SessionNotFound.
        """
        ...

    async def get_session(self, session_id: str) -> Session | None:
        """Read it; reading extends nothing."""
        ...

    async def get_agent(self, session_id: str) -> Agent | None:
        """The current agent, or None where there is no session; the cheapest way to ask if it lives."""
        ...

    async def update_session(
        self, session_id: str, metadata: Mapping[str, Any], expect: Mapping[str, Any] = {}
    ) -> Session:
        """Merge metadata; None removes an entry, and removing what is not there is no error.

        ``expect`` is compared before: each entry must be as given, None stands for a missing one. Raises
        MetadataConflict.

        Neither the deadline nor the last activity moves. The limits on metadata hold for the merged
        whole: InvalidInput, nothing changed. Raises SessionNotFound.
        """
        ...

    async def increment(self, session_id: str, name: str, by: int) -> int:
        """Add to a whole number in the metadata, from 0 if the entry is missing; the new number.

        A repeat adds nothing. Neither the deadline nor the last activity moves. Raises SessionNotFound; InvalidInput if
        the entry is not a whole number, or the sum is beyond ±(2^53 - 1), or the metadata would be over its limits.
        """
        ...

    async def delete_session(self, session_id: str, expect_revision: int | None = None) -> int:
        """Remove it and its index entries; the number of keys or rows removed. Gone already is 0, not an error.

        Raises SequenceConflict if ``expect_revision`` is not the current one.

        If the answer was lost and the call repeated, the repeat finds nothing and says 0.
        """
        ...

    async def check_epoch(self, session_id: str, epoch: int) -> None:
        """Raises SessionNotFound; AgentConflict if ``epoch`` is not the current one."""
        ...

    async def extend_session(self, session_id: str) -> None:
        """Stamp the activity and slide the deadline by the session's own ttl. Raises SessionNotFound."""
        ...

    async def append_messages(
        self, session_id: str, drafts: Sequence[Draft], epoch: int | None, conditional: Conditional | None = None
    ) -> list[Appended]:
        """Append in order, all or none; trim to the bound; stamp the activity and slide the deadline.

        A message whose id is stored with the same content is not stored again and answers as the
        first time, even when the epoch has moved since. "The same content": timestamps count where
        both callers gave one, so a message as it was read is the same, too.
        A repeat slides the deadline, too. Ids are known for the retained messages; within one call they
        are distinct. Messages that are all ``internal`` are stored whatever the epoch is: what a tool did must be
        recorded. Raises SessionNotFound, AgentConflict (``epoch`` is not the current one), MessageConflict.

        With ``conditional`` the epoch is one condition more, also for internal messages, and there may be no messages.
        A repeat, known by the ids or by the call itself, compares and writes nothing. Raises SequenceConflict,
        MetadataConflict; InvalidInput if the metadata or a state would be over its limits.
        """
        ...

    async def get_history(self, session_id: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        """Up to ``limit`` of the retained messages with ``after < seq < before``, oldest first.

        The newest of them, or with ``after`` alone the oldest of them, so that a reader can page forward.
        No session: an empty list. A damaged message is given in its place with type "unreadable", a retracted one as
        what is left of it, with type "retracted".
        """
        ...

    async def retract_message(self, session_id: str, message_id: str, epoch: int | None) -> Message | None:
        """Erase a message and leave a tombstone: the message with type "retracted" and without its text and content.

        The tombstone; None if there is no such message. It keeps its place, its seq and its id, so a repeated
        delivery of the message is a duplicate. The session's revision grows. Stamps the activity and slides the
        deadline. If it was retracted before, nothing changes. Raises SessionNotFound; AgentConflict if
        there is something to change and ``epoch`` is not the current one.
        """
        ...

    async def pop_messages(self, session_id: str, count: int, epoch: int | None) -> list[Message]:
        """Retract the newest ``count`` messages in one step; as they were, oldest first.

        Tombstones are passed over. What is returned was the newest at that moment. A repeat pops nothing more.
        Otherwise as ``retract_message``.
        """
        ...

    async def replace_message(
        self, session_id: str, draft: Draft, expect: Message | None, epoch: int | None
    ) -> Message:
        """Put ``draft`` in the place of the message of its id, whose seq, ``internal`` and fingerprint it keeps.

        If its timestamp was generated it keeps that, too. The stored message. ``expect``: the message as it was read.
        The session's revision grows. Stamps the activity and slides the deadline. Raises SessionNotFound,
        AgentConflict; MessageNotFound, also for a retracted one; MessageConflict if the stored one is not as expected.
        """
        ...

    async def clear_history(self, session_id: str, epoch: int | None) -> int:
        """Remove all messages and forget their ids; how many there were, tombstones aside. ``message_count`` stays.

        A repeat removes nothing of what was stored since. The revision grows, also if there were none. Stamps the
        activity and slides the deadline. Raises SessionNotFound, AgentConflict.
        """
        ...

    async def replace_history(
        self,
        session_id: str,
        drafts: Sequence[Draft],
        expect_revision: int | None,
        epoch: int | None,
        expect_seq: int | None = None,
    ) -> list[Message]:
        """Clear the history and append ``drafts``, of more than the bound the last, in one step. The stored messages.

        Ids are distinct; those from before are forgotten. ``expect_seq``: the newest sequence number given out.
        Otherwise as ``clear_history``. Raises SequenceConflict, too.
        """
        ...

    async def switch_agent(
        self, session_id: str, agent: Agent, expect: int | Agent | None, note: Draft | None
    ) -> Switched:
        """Make ``agent`` current and begin the next epoch, also when it was current before.

        ``expect``: the epoch or the agent that the caller saw. ``note`` is appended in the same step.
        Slides the deadline. Raises SessionNotFound, AgentConflict, MessageConflict.
        """
        ...

    async def set_ttl(self, session_id: str, ttl: int | None) -> None:
        """The deadline is ``ttl`` seconds from now, and slides by that from here on. Raises SessionNotFound."""
        ...

    async def get_ttl(self, session_id: str) -> int:
        """Seconds left, rounded up, so a living session never shows 0; -1 never expires, -2 no session."""
        ...

    async def list_user_sessions(self, user_id: str, limit: int, cursor: str | None) -> SessionPage:
        """Up to ``limit`` of the user's living sessions, the newest by creation first.

        The page is full as long as there are sessions to fill it. The order never changes, so following the
        cursors meets each session that lives all the while exactly once. Sessions created in the same
        millisecond keep the order of their creation. ``cursor``: of the page before, None for the first page.
        Costs what the page holds, however many sessions the user has. A damaged session is reported in
        ``damaged`` and counts towards ``limit``. Raises InvalidInput for a cursor that is none of its own.
        """
        ...

    async def count_sessions(self) -> int:
        """The living sessions, exact. It may mark the dead it meets, but leaves counting them to sweep."""
        ...

    async def sweep(self) -> int:
        """Remove what is left of dead sessions from the indexes; how many this call removed.

        Any number of processes may sweep at once: each death is counted by one of them. A deleted
        session is not a death. No key of a living session is ever removed.
        """
        ...
