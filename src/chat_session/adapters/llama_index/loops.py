"""Calls from any event loop: LlamaIndex's synchronous methods run each call in a new one."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from chat_session import SessionManager, blocking

P = ParamSpec("P")
T = TypeVar("T")


class ManagerLoop:
    """The event loop that a manager belongs to: that of a blocking manager's thread, or the caller's."""

    def __init__(self, manager: SessionManager | blocking.SessionManager) -> None:
        self._blocking = manager if isinstance(manager, blocking.SessionManager) else None
        self._loop: asyncio.AbstractEventLoop | None = None
        if isinstance(manager, blocking.SessionManager):
            self._loop, self.manager = blocking.run(manager, _look_around)
        else:
            self.manager = manager

    async def run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._blocking is None or asyncio.get_running_loop() is self._loop:
            return await call()
        return await asyncio.to_thread(blocking.run, self._blocking, lambda _: call())


async def _look_around(manager: SessionManager) -> tuple[asyncio.AbstractEventLoop, SessionManager]:
    return asyncio.get_running_loop(), manager


class HasManagerLoop(Protocol):
    _on: ManagerLoop


StoreT = TypeVar("StoreT", bound=HasManagerLoop)


def on_its_loop(
    method: Callable[Concatenate[StoreT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[StoreT, P], Coroutine[Any, Any, T]]:
    """The same method, which runs where the manager of the store belongs."""

    @wraps(method)
    async def call(self: StoreT, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._on.run(lambda: method(self, *args, **kwargs))

    return call
