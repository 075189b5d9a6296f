"""Who listens to which sessions, and the task that looks for changes while somebody does.

What this process writes is looked at as soon as it is committed. That others wrote is known by the number that SQLite
gives to each state of the file (``PRAGMA data_version``), which is read every 50 ms. Every 2 s all sessions are looked
at, because a session or a reply can end without a write.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import chain
from time import monotonic

from chat_session.clock import now_ms
from chat_session.errors import ManagerClosed, StoreError
from chat_session.storage.contract import Wake
from chat_session.storage.sqlite.changes import Changes
from chat_session.storage.sqlite.marks import Question, Seen, look
from chat_session.storage.sqlite.worker import Worker

POLL_EVERY = 0.05  # seconds: half of what is promised, for a busy machine
DESK_EVERY = 0.1  # at most
COMPARE_EVERY = 2.0


class _Listener:
    __slots__ = ("mark", "wake")

    def __init__(self, wake: Wake) -> None:
        self.wake = wake
        self.mark: int | None = None  # of the session, when it was looked at last


class Listening:
    """Runs on one event loop. While nobody listens there is no task."""

    def __init__(self, reader: Worker, changes: Changes) -> None:
        self._reader = reader
        self._changes = changes
        self._listeners: dict[str | None, list[_Listener]] = {}  # by session; None: the desk
        self._task: asyncio.Task[None] | None = None
        self._due = asyncio.Event()  # something is to be done before the next poll
        self._changed: set[str] = set()  # sessions to look at
        self._is_desk_due = False

    def add(self, session_id: str | None, wake: Wake) -> Callable[[], None]:
        """What is given back ends it, and may be called again. The first look wakes the new listener."""
        if self._task is None or self._task.done() or self._task.cancelling():
            self._changes.listen(self._take_commit)
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="chat-session feed")
        listener = _Listener(wake)
        self._listeners.setdefault(session_id, []).append(listener)
        self._take_changed([session_id])
        return partial(self._remove, session_id, listener)

    async def close(self) -> None:
        self._listeners.clear()
        self._stop()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    def _remove(self, session_id: str | None, listener: _Listener) -> None:
        listeners = self._listeners.get(session_id, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop(session_id, None)
        if not self._listeners:
            self._stop()

    def _stop(self) -> None:
        self._changes.stop()
        if self._task is not None:
            self._task.cancel()

    def _take_commit(self, session_ids: Iterable[str]) -> None:
        self._take_changed(chain(session_ids, (None,)))

    def _take_changed(self, session_ids: Iterable[str | None]) -> None:
        for session_id in session_ids:
            if session_id not in self._listeners:
                continue
            if session_id is None:
                self._is_desk_due = True
            else:
                self._changed.add(session_id)
            self._due.set()

    async def _watch(self) -> None:
        known = _Known(now_ms())
        with suppress(ManagerClosed):
            while True:
                await self._wait(known.next_poll - monotonic())
                try:
                    await self._look(known)
                except StoreError:
                    for listener in self._all_listeners():  # their own calls tell them what is wrong
                        listener.wake(None)
                    known.next_compare = 0
                    await asyncio.sleep(COMPARE_EVERY)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._due.wait()
        self._due.clear()

    async def _look(self, known: "_Known") -> None:
        now = monotonic()
        is_compare, is_poll = now >= known.next_compare, now >= known.next_poll
        changed, self._changed = self._changed, set()
        if is_compare or is_poll or changed:
            listened = [session_id for session_id in self._listeners if session_id is not None]
            seen = await self._reader.call(
                look,
                Question(
                    some=listened if is_compare else list(changed),
                    all=listened if is_poll else None,
                    version=known.version,
                    since=known.since,
                    from_ms=known.from_ms,
                ),
            )
            self._wake(seen)
            known.since = seen.news[-1][0] if seen.news else known.since
        if is_poll:
            self._is_desk_due |= is_compare or seen.version != known.version
            known.version, known.next_poll = seen.version, now + POLL_EVERY
        if is_compare:
            known.next_compare = now + COMPARE_EVERY
        if self._is_desk_due and now >= known.next_desk:
            self._is_desk_due, known.next_desk = False, now + DESK_EVERY
            for listener in tuple(self._listeners.get(None, ())):
                listener.wake(None)

    def _wake(self, seen: Seen) -> None:
        for session_id, mark in seen.marks.items():
            for listener in tuple(self._listeners.get(session_id, ())):
                if listener.mark != mark:
                    listener.mark = mark
                    listener.wake(None)
        for _, session_id, news in seen.news:
            for listener in tuple(self._listeners.get(session_id, ())):
                listener.wake(news)

    def _all_listeners(self) -> list[_Listener]:
        return [listener for listeners in self._listeners.values() for listener in listeners]


class _Known:
    """What one task knows of the file, and when it looks again (by the monotonic clock)."""

    def __init__(self, from_ms: int) -> None:
        self.version: int | None = None
        self.since = 0  # the last news that was read
        self.from_ms = from_ms
        self.next_poll = self.next_compare = self.next_desk = 0.0
