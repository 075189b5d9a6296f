"""Turns: one worker at a time answers a session."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from chat_session.message import Draft
from chat_session.storage.contract.sessions import Appended


class TurnState(NamedTuple):
    """What a worker needs to know of a session whose turn it has. Sequence numbers; 0 if there is none."""

    epoch: int
    customer: int  # of the newest customer message
    answered: int | None  # up to which all is answered; None: nothing says so, in a session without ``turns``
    last: int  # the newest that was given out


class TurnStore(Protocol):
    """Optional: a store that offers none of it has None in its place.

    A turn is a lease: a token with a deadline by the store's clock and the session's epoch of that moment. It is lost
    when the deadline has passed, when the epoch is another one, and when it was stopped. All calls but ``stop_turn``
    are safe to repeat by their token.
    """

    async def take_turn(self, session_id: str, token: str, lease: float) -> TurnState:
        """Begin a turn of ``lease`` seconds. Raises SessionNotFound; TurnBusy if another token has it.

        Raises AgentConflict while a person has the session, or it waits for one with the AI silenced.
        """
        ...

    async def renew_turn(self, session_id: str, token: str, lease: float) -> TurnState:
        """The turn lasts for ``lease`` seconds from now. Raises SessionNotFound, TurnLost."""
        ...

    async def append_in_turn(
        self, session_id: str, token: str, drafts: Sequence[Draft], read_to: int
    ) -> list[Appended]:
        """Append as ``append_messages`` does, if the turn is not lost.

        If one of the messages is visible to the customer, all up to the sequence number ``read_to`` is answered, in the
        same step. Raises SessionNotFound, TurnLost, MessageConflict.
        """
        ...

    async def release_turn(self, session_id: str, token: str, read_to: int | None, *, unless_newer: bool) -> bool:
        """End the turn; whether it is over. With ``read_to`` all up to there is answered.

        ``unless_newer``: if there is a customer message behind ``read_to`` the turn stays, and lasts as long as before.
        Raises SessionNotFound; TurnLost, and nothing is marked.
        """
        ...

    async def stop_turn(self, session_id: str) -> bool:
        """End whatever turn there is; whether there was one. Its worker is told that it was stopped.

        Raises SessionNotFound.
        """
        ...

    async def list_pending_turns(self, limit: int) -> list[str]:
        """Up to ``limit`` sessions with an unanswered customer message and no worker, who has waited longest first.

        Only of sessions that were created with ``turns``. None while a person has the session.
        """
        ...
