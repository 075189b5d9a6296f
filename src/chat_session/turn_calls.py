"""Turns: one worker at a time answers a session. No message is answered twice, and none is left without an answer."""

import asyncio
import random
from collections.abc import AsyncGenerator

from chat_session.calls import Calls
from chat_session.checks import brief
from chat_session.errors import CapabilityMissing, InvalidInput
from chat_session.message import Limits
from chat_session.paging import check_limit
from chat_session.results import Result
from chat_session.session import check_session_id
from chat_session.storage.contract import TurnStore
from chat_session.telemetry.hooks import Hooks
from chat_session.turns import Turn

MAX_SECONDS = 86_400.0  # of a lease, a wait or a debounce
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks for work


class TurnCalls:
    """What SessionManager offers for turns."""

    _calls: Calls
    _hooks: Hooks
    _limits: Limits

    def turn(self, session_id: str, *, lease: float = 30, wait: float = 0, debounce: float = 0) -> Turn:
        """``async with manager.turn(session_id) as turn:`` makes this task the only one that answers the session.

        ``lease``: seconds after which others may answer if this process stops; it is renewed as long as the block runs.
        ``wait``: seconds to wait while another worker has the turn; among those who wait no order is promised.
        ``debounce``: the turn begins when no message has come for so many seconds, after five times that at the latest.

        Entering raises SessionNotFound; AgentConflict while a person has the session or it waits for one with the AI
        silenced; TurnBusy; TurnLost if the turn is lost while it waits for the debounce. The block is cancelled, and
        leaving it raises TurnLost, when the lease is lost, a person takes over, or ``stop_turn`` is called.
        """
        return Turn(
            self,  # type: ignore[arg-type]  # it is mixed into the manager
            check_session_id(session_id),
            lease=_check_seconds("lease", lease, lowest=0.1),
            wait=_check_seconds("wait", wait),
            debounce=_check_seconds("debounce", debounce),
        )

    async def stop_turn(self, session_id: str) -> Result:
        """End the turn on a session: its worker's block is cancelled. ``success``: whether there was one.

        One round trip. Raises SessionNotFound.
        """
        session_id = check_session_id(session_id)
        async with self._calls("stop_turn", session_id):
            return Result(success=await self._turns.stop_turn(session_id))

    async def pending_turns(self, limit: int = 100) -> list[str]:
        """Up to ``limit`` sessions with messages that nobody has answered and no worker, who has waited longest first.

        Of the sessions that were created with ``turns=True`` or by the setting TURNS. Costs what it returns, and a look
        at each session whose turn has ended since the last call.
        """
        limit = check_limit(limit)
        async with self._calls("list_pending_turns"):
            return await self._turns.list_pending_turns(limit)

    async def wait_for_turns(self) -> AsyncGenerator[str, None]:
        """The sessions of ``pending_turns``, as they come. For a worker; any number may wait at once.

        Take the turn of each with ``turn``, and go on if it raises TurnBusy or AgentConflict. One that is not answered
        comes again.
        """
        pause = FIRST_PAUSE
        while True:
            found = await self.pending_turns()
            random.shuffle(found)  # so that many workers begin with different ones
            for session_id in found:
                yield session_id
            pause = FIRST_PAUSE if found else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter

    @property
    def _turns(self) -> TurnStore:
        turns: TurnStore | None = getattr(self._calls.store, "turns", None)
        if turns is None:
            raise CapabilityMissing("turn")
        return turns


def _check_seconds(argument: str, value: object, lowest: float = 0) -> float:
    allowed = f"a number of seconds from {lowest:g} to {MAX_SECONDS:,.0f}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= MAX_SECONDS:
        raise InvalidInput(argument, allowed, brief(value))
    return float(value)
