"""The desk of the embedded store. Queue, seats and figures change in the same transaction as the session."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chat_session.desk_results import DeskEntry, DeskPage, DeskStats, Operator
from chat_session.errors import ChatSessionError, SessionNotFound, StoreCorrupt
from chat_session.handoff import Step
from chat_session.storage.contract import DeskSweep, Stepped
from chat_session.storage.sqlite import presences
from chat_session.storage.sqlite.desk_lists import list_assigned, list_waiting, read_stats, read_waiting_cursor
from chat_session.storage.sqlite.desk_steps import DeskRules, claim, take_step
from chat_session.storage.sqlite.desk_sweep import (
    Left,
    Silent,
    adopt_bypassed,
    find_bypassed,
    find_left,
    find_silent,
    forget_old,
    hand_back_silent,
    return_left,
)
from chat_session.storage.sqlite.worker import Worker

T = TypeVar("T")

_log = logging.getLogger("chat_session")


class SqliteDesk:
    """Keeps DeskStore's promises."""

    def __init__(self, reader: Worker, writer: Worker, rules: DeskRules) -> None:
        self._reader = reader
        self._writer = writer
        self._rules = rules

    async def take_step(self, session_id: str, step: Step) -> Stepped:
        return _require(await self._writer.call(take_step, session_id, step, self._rules))

    async def claim(self, operator_id: str, teams: Sequence[str]) -> Stepped | None:
        return _require(await self._writer.call(claim, operator_id, teams, self._rules))

    async def renew_presence(self, operator_id: str, capacity: int | None, available: bool) -> Operator:
        lease = self._rules.options.claim_lease
        return await self._writer.call(presences.renew_presence, operator_id, capacity, available, lease)

    async def list_waiting(self, team: str | None, limit: int, cursor: str | None) -> DeskPage:
        return await self._reader.call(list_waiting, team, limit, read_waiting_cursor(cursor))

    async def list_assigned(self, operator_id: str | None) -> list[DeskEntry]:
        return await self._reader.call(list_assigned, operator_id)

    async def list_operators(self) -> list[Operator]:
        return await self._reader.call(presences.list_operators)

    async def read_stats(self) -> DeskStats:
        return await self._reader.call(read_stats)

    async def sweep(self) -> DeskSweep:
        await self._adopt_bypassed()
        await self._writer.call(presences.mark_lapses)
        lapsed = await self._return_left()
        handed_back = await self._hand_back_silent()
        await self._writer.call(forget_old)
        return DeskSweep(lapsed, handed_back)

    async def _adopt_bypassed(self) -> None:
        last = b""
        while page := await self._reader.call(find_bypassed, last):
            await _each(page, lambda found: self._writer.call(adopt_bypassed, found, self._rules))
            last = page[-1]

    async def _return_left(self) -> list[str]:
        lapsed: list[str] = []
        last = Left(b"", b"", 0)
        while page := await self._reader.call(find_left, last):
            returned = await _each(page, lambda left: self._writer.call(return_left, left, self._rules))
            lapsed += [left.session_id.decode() for left in returned]
            last = page[-1]
        return lapsed

    async def _hand_back_silent(self) -> list[str]:
        handed_back: list[str] = []
        hand_back_after = self._rules.options.hand_back_after
        last = Silent(-(2**63), b"")
        while hand_back_after and (page := await self._reader.call(find_silent, last, hand_back_after)):
            returned = await _each(page, lambda silent: self._writer.call(hand_back_silent, silent, self._rules))
            handed_back += [silent.session_id.decode() for silent in returned]
            last = page[-1]
        return handed_back


def _require(found: T | ChatSessionError) -> T:
    """A refusal is given back by its job, so that the presence that the call renewed is kept."""
    if isinstance(found, ChatSessionError):
        raise found
    return found


async def _each(found: Sequence[T], change: Callable[[T], Awaitable[bool]]) -> list[T]:
    """Those that were changed. One that is gone or cannot be read is passed over."""
    outcomes = await asyncio.gather(*map(change, found), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, StoreCorrupt):
            facts = {"action": "sweep_failed", "session_id": outcome.session_id, "outcome": outcome.code}
            _log.error("The desk cannot look after a session: %s", outcome, extra=facts)
        elif isinstance(outcome, BaseException) and not isinstance(outcome, SessionNotFound):
            raise outcome
    return [each for each, outcome in zip(found, outcomes, strict=True) if outcome is True]
