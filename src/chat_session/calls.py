"""What every call to the store goes through, from whichever facade: the manager, the inspector."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

from chat_session.errors import (
    ChatSessionError,
    ManagerClosed,
    StoreCorrupt,
    StoreError,
    UsedAfterFork,
    WrongEventLoop,
)
from chat_session.storage.contract import SessionStore
from chat_session.telemetry.hooks import Hooks

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_TIMEOUT = 3.8  # seconds that close() gives to calls in flight; the rest of 5 s is for the connections


class Calls:
    """Refuses calls after the close, after a fork and from another event loop. Tells the hooks how each call went."""

    def __init__(self, store: SessionStore, hooks: Hooks) -> None:
        self.store = store
        self._hooks = hooks
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._store_up: bool | None = None
        self._idle = asyncio.Event()
        self.in_flight = 0
        self.closed = False
        self.before_close: set[Callable[[], Awaitable[None]]] = set()  # what close() awaits first

    @property
    def is_left_open(self) -> bool:
        """Whether something may be open that this process can close."""
        return not self.closed and self._loop is not None and self._pid == os.getpid()

    async def run(
        self, name: str, session_id: str | None, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Ask the store, and tell the hooks how it went."""
        self.check_usable()
        outcome = "error"
        self.in_flight += 1
        started = time.perf_counter()
        try:
            answer = await method(*args, **kwargs)
            outcome = "ok"
            if not self._store_up:
                self._tell_store_up(True)
            return answer
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except ChatSessionError as error:
            outcome = error.code
            error.session_id = error.session_id or session_id
            self._tell_store_up(not isinstance(error, StoreError) or isinstance(error, StoreCorrupt))
            raise
        finally:
            self.in_flight -= 1
            if self.closed and not self.in_flight:
                self._idle.set()
            self._hooks.operation(name, session_id, time.perf_counter() - started, outcome)

    def check_usable(self) -> None:
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
        """Let calls in flight finish, for 5 s at most; then close the store."""
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

    def _tell_store_up(self, up: bool) -> None:
        if up is not self._store_up:
            self._store_up = up
            self._hooks.store_up(up)
