"""The guard that every public call enters, from whichever facade: the manager, the inspector."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from msgspec import Struct

from chat_session.errors import (
    ChatSessionError,
    ManagerClosed,
    StoreCorrupt,
    StoreError,
    UsedAfterFork,
    WrongEventLoop,
)
from chat_session.storage.contract import Store
from chat_session.telemetry.hooks import Hooks

CLOSE_TIMEOUT = 3.8  # seconds that close() gives to calls in flight; the rest of 5 s is for the connections


class Calls:
    """``async with calls("append_messages", session_id):`` surrounds every call to the store.

    It refuses calls after the close, after a fork and from another event loop, counts those in flight, and tells the
    hooks how each one ended.
    """

    def __init__(self, store: Store, hooks: Hooks) -> None:
        self.store = store
        self.hooks = hooks
        self.open_span = hooks.span if hooks.opens_spans else None
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store_up: bool | None = None
        self._idle = asyncio.Event()
        self.in_flight = 0
        self.closed = False
        self.before_close: set[Callable[[], Awaitable[None]]] = set()  # what close() awaits first

    def __call__(self, name: str, session_id: str | None = None) -> "_Call":
        """One call. ``name`` is that of the store's method; the session id completes errors that lack one."""
        return _Call(self, name, session_id)

    @property
    def is_left_open(self) -> bool:
        """Whether something may be open that this process can close."""
        return not self.closed and self._loop is not None and self._pid == os.getpid()

    def check_usable(self) -> None:
        """Raises ManagerClosed, UsedAfterFork, WrongEventLoop."""
        if self.closed:
            raise ManagerClosed
        if self._pid != os.getpid():
            raise UsedAfterFork
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise WrongEventLoop
            self._loop = loop

    async def close(self) -> None:
        """Let calls in flight finish, for a few seconds at most; then close the store."""
        if self.closed:
            return
        self.check_usable()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    for stop in tuple(self.before_close):
                        await stop()
                    self.closed = True
                    if self.in_flight:
                        await self._idle.wait()
        finally:
            self.closed = True
            await self.store.close()

    def end(self, outcome: str) -> None:
        """A call in flight has ended."""
        self.in_flight -= 1
        if self.closed and not self.in_flight:
            self._idle.set()
        if outcome == "ok" and not self._store_up:
            self._tell_store_up(True)

    def classify(self, error: BaseException, session_id: str | None) -> str:
        """The outcome that the hooks are given: "cancelled", "error", or the code of the error, which is completed."""
        if isinstance(error, ChatSessionError):
            error.session_id = error.session_id or session_id
            self._tell_store_up(not isinstance(error, StoreError) or isinstance(error, StoreCorrupt))
            return error.code
        return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"

    def _tell_store_up(self, up: bool) -> None:
        if up is not self._store_up:
            self._store_up = up
            self.hooks.store_up(up)


class _Call(Struct, gc=False):
    calls: Calls
    name: str
    session_id: str | None
    span: AbstractContextManager[object] | None = None
    started: float = 0.0

    async def __aenter__(self) -> None:
        calls = self.calls
        calls.check_usable()
        calls.in_flight += 1
        if calls.open_span is not None:
            self.span = calls.open_span(self.name, self.session_id)
            self.span.__enter__()
        self.started = time.perf_counter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        calls = self.calls
        outcome = "ok" if error is None else calls.classify(error, self.session_id)
        calls.end(outcome)
        calls.hooks.operation(self.name, self.session_id, time.perf_counter() - self.started, outcome)
        if self.span is not None:
            self.span.__exit__(kind, error, traceback)
