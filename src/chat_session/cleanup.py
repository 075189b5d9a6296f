"""SessionCleanup: sweeps what dead sessions leave behind, now and then."""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Self

from chat_session.clock import now
from chat_session.errors import ChatSessionError, NoEventLoop, SettingsError
from chat_session.manager import SessionManager
from chat_session.results import CleanupResult, CleanupStatus

_log = logging.getLogger("chat_session")

JITTER = 0.1  # each pause is up to 10 % shorter or longer, so that many processes spread out


class SessionCleanup:
    """Cleans at every ``interval`` seconds, CLEANUP_INTERVAL if left out.

    Any number of processes may run one on the same store: each dead session is counted by one of
    them. Closing the manager stops it. Raises SettingsError for an interval that is no positive number.
    """

    def __init__(self, manager: SessionManager, interval: float | None = None) -> None:
        self._manager = manager
        self._interval = manager.settings.cleanup_interval if interval is None else _check_interval(interval)
        self._before_close = manager._calls.before_close  # noqa: SLF001 - closing the manager stops it
        self._loop_task: asyncio.Task[None] | None = None
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
        if self._loop_task is None or self._loop_task.done():
            self._stopping.clear()
            self._plan()
            self._loop_task = loop.create_task(self._run(), name="chat-session cleanup")
            self._before_close.add(self.stop)
        begun = loop.create_future()
        begun.set_result(None)
        return begun

    async def stop(self) -> None:
        """End the loop; a run in progress is waited for. Without a start it does nothing."""
        self._stopping.set()
        self._before_close.discard(self.stop)
        if self._loop_task is not None:
            await asyncio.wait([self._loop_task])
            self._loop_task = None

    async def cleanup(self) -> CleanupResult:
        """Sweep once, now. Raises StoreError."""
        result = await self._manager.cleanup_expired_sessions()
        await self._manager.get_active_sessions_count()  # so that the gauge of living sessions is fresh
        return result

    def get_status(self) -> CleanupStatus:
        running = self._loop_task is not None and not self._loop_task.done()
        return CleanupStatus(is_running=running, interval=self._interval, next_cleanup=self._next if running else None)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def _run(self) -> None:
        while not await self._pause():
            try:
                await self.cleanup()
            except ChatSessionError as error:
                facts = {"action": "cleanup_failed", "outcome": error.code}
                _log.error("A cleanup failed (%s). The next run comes as planned.", error.code, extra=facts)
            self._plan()

    async def _pause(self) -> bool:
        """Wait until the planned moment; True when it is time to stop instead."""
        left = (self._next - now()).total_seconds() if self._next else 0.0
        try:
            await asyncio.wait_for(self._stopping.wait(), max(0.0, left))
        except TimeoutError:
            return False
        return True

    def _plan(self) -> None:
        pause = self._interval * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        self._next = now() + timedelta(seconds=pause)


def _check_interval(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise SettingsError("CLEANUP_INTERVAL", f"The value must be a number of seconds above 0, not {value!r:.60}.")
    return float(value)
