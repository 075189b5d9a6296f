"""SessionCleanup: sweeps what dead sessions leave behind, now and then."""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import Context
from datetime import datetime, timedelta
from typing import Self

from chat_session.clock import now
from chat_session.desk import Desk
from chat_session.errors import ChatSessionError, NoEventLoop, SettingsError, StoreDenied
from chat_session.manager import SessionManager
from chat_session.results import CleanupResult, CleanupStatus

_log = logging.getLogger("chat_session")

JITTER = 0.1  # each pause is up to 10 % shorter or longer, so that many processes spread out


class SessionCleanup:
    """Cleans at every ``interval`` seconds, CLEANUP_INTERVAL if left out; the desk twice in CLAIM_LEASE seconds.

    Any number of processes may run one on the same store: each dead session is counted by one of
    them. Closing the manager stops it. Raises SettingsError for an interval that is no positive number.
    """

    def __init__(self, manager: SessionManager, interval: float | None = None) -> None:
        self._manager = manager
        self._interval = manager.settings.cleanup_interval if interval is None else _check_interval(interval)
        self._before_close = manager._calls.before_close  # noqa: SLF001 - closing the manager stops it
        self._desk_interval = min(self._interval, manager.settings.claim_lease / 2)
        self._loops: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._next: datetime | None = None

    def start(self) -> Awaitable[None]:
        """Begin; the first run comes after one interval. A second start changes nothing.

        It has begun when this returns: awaiting the answer is allowed, not needed. Raises NoEventLoop.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise NoEventLoop from None
        if not self._is_running:
            self._stopping.clear()
            self._plan()
            # They have empty contexts: what is current where they are started, such as a span, ends before they do.
            self._loops = [
                loop.create_task(self._run(), name="chat-session cleanup", context=Context()),
                loop.create_task(self._sweep_desk(), name="chat-session sweep of the desk", context=Context()),
            ]
            self._before_close.add(self.stop)
        begun = loop.create_future()
        begun.set_result(None)
        return begun

    async def stop(self) -> None:
        """End the loop; a run in progress is waited for. Without a start it does nothing."""
        self._stopping.set()
        self._before_close.discard(self.stop)
        if self._loops:
            await asyncio.wait(self._loops)
            self._loops = []

    async def cleanup(self) -> CleanupResult:
        """Sweep once, now. Raises StoreError."""
        result = await self._manager.cleanup_expired_sessions()
        await self._read_gauges()
        return result

    def get_status(self) -> CleanupStatus:
        planned = self._next if self._is_running else None
        return CleanupStatus(is_running=self._is_running, interval=self._interval, next_cleanup=planned)

    @property
    def _is_running(self) -> bool:
        return bool(self._loops) and not self._loops[0].done()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def _read_gauges(self) -> None:
        """Count what the hooks show as gauges: living sessions, and those at the desk if the store has one."""
        await self._manager.get_active_sessions_count()
        if getattr(self._manager._calls.store, "desk", None) is not None:  # noqa: SLF001 - another facade of it
            with suppress(StoreDenied):  # the user may have no right to the keys of the desk
                await Desk(self._manager).stats()

    async def _run(self) -> None:
        while not await self._pause():
            try:
                await self.cleanup()
            except ChatSessionError as error:
                _log_failure(error)
            self._plan()

    async def _sweep_desk(self) -> None:
        """More often: customers wait for the sessions of an operator who went away."""
        while not await self._wait(_jitter(self._desk_interval)):
            try:
                await self._manager._sweep_desk()  # noqa: SLF001 - a part of its cleanup
            except ChatSessionError as error:
                _log_failure(error)

    async def _pause(self) -> bool:
        """Wait until the planned moment; True when it is time to stop instead."""
        left = (self._next - now()).total_seconds() if self._next else 0.0
        return await self._wait(max(0.0, left))

    async def _wait(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _plan(self) -> None:
        self._next = now() + timedelta(seconds=_jitter(self._interval))


def _jitter(interval: float) -> float:
    return interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret


def _log_failure(error: ChatSessionError) -> None:
    facts = {"action": "cleanup_failed", "outcome": error.code}
    _log.error("A cleanup failed (%s). The next run comes as planned.", error.code, extra=facts)


def _check_interval(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise SettingsError("CLEANUP_INTERVAL", f"The value must be a number of seconds above 0, not {value!r:.60}.")
    return float(value)
