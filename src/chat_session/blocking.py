"""The manager for synchronous code: Flask, Django, scripts. The calls are those of ``chat_session``.

    with chat_session.blocking.SessionManager.from_url("sqlite:///chat.db") as manager:
        session = manager.create_session("user123")

One background thread runs one event loop, and every call goes through it to the one implementation.
A manager may be used from any number of threads; their calls share round trips.
"""

import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from chat_session import cleanup, manager
from chat_session.errors import ManagerClosed, UsedAfterFork
from chat_session.results import CleanupStatus
from chat_session.storage.contract import SessionStore
from chat_session.telemetry.hooks import Hooks

P = ParamSpec("P")
T = TypeVar("T")


class _Portal:
    """An event loop in a thread of its own, and the one object that lives there."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._stack: ExitStack | None = ExitStack()
        self._portal: BlockingPortal = self._stack.enter_context(start_blocking_portal("asyncio"))

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._stack is None:
            raise ManagerClosed
        if self._pid != os.getpid():  # the thread did not come along
            raise UsedAfterFork
        return self._portal.call(function, *args)

    def close(self) -> None:
        if self._stack is not None:
            stack, self._stack = self._stack, None
            stack.close()


def _blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """The same method, called from any thread, waiting for the answer."""

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def run() -> T:
            return await method(self._inner, *args, **kwargs)

        answer: T = self._portal.call(run)
        return answer

    return call


class SessionManager:
    """``chat_session.SessionManager`` for synchronous code; each method promises what its namesake does."""

    def __init__(self, store: SessionStore | None = None, *, hooks: Sequence[Hooks] = (), **settings: Any) -> None:
        """None: the store that the settings name. A redis client cannot be handed in: its loop is another."""

        async def make() -> manager.SessionManager:
            return manager.SessionManager(store, hooks=hooks, **settings)

        self._portal = _Portal()
        try:
            self._inner: manager.SessionManager = self._portal.call(make)
        except BaseException:
            self._portal.close()
            raise

    @classmethod
    def from_url(cls, url: str, *, hooks: Sequence[Hooks] = (), **settings: Any) -> Self:
        return cls(hooks=hooks, chat_session_url=url, **settings)

    def close(self) -> None:
        """As the manager's ``close``; then the background thread ends. A second close is no error."""
        try:
            self._portal.call(self._inner.close)
        except ManagerClosed:
            return
        self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    create_session = _blocking(manager.SessionManager.create_session)
    get_session = _blocking(manager.SessionManager.get_session)
    is_session_active = _blocking(manager.SessionManager.is_session_active)
    update_session = _blocking(manager.SessionManager.update_session)
    delete_session = _blocking(manager.SessionManager.delete_session)
    extend_session = _blocking(manager.SessionManager.extend_session)
    add_message = _blocking(manager.SessionManager.add_message)
    add_messages = _blocking(manager.SessionManager.add_messages)
    get_history = _blocking(manager.SessionManager.get_history)
    get_session_agent = _blocking(manager.SessionManager.get_session_agent)
    switch_agent = _blocking(manager.SessionManager.switch_agent)
    set_session_ttl = _blocking(manager.SessionManager.set_session_ttl)
    get_session_ttl = _blocking(manager.SessionManager.get_session_ttl)
    get_user_sessions = _blocking(manager.SessionManager.get_user_sessions)
    get_active_sessions_count = _blocking(manager.SessionManager.get_active_sessions_count)
    cleanup_expired_sessions = _blocking(manager.SessionManager.cleanup_expired_sessions)


class SessionCleanup:
    """``chat_session.SessionCleanup`` for synchronous code; it runs in the manager's background thread."""

    def __init__(self, manager: SessionManager, interval: float | None = None) -> None:
        async def make() -> cleanup.SessionCleanup:
            return cleanup.SessionCleanup(manager._inner, interval)  # noqa: SLF001 - its other half

        self._portal = manager._portal  # noqa: SLF001 - as above
        self._inner: cleanup.SessionCleanup = self._portal.call(make)

    def start(self) -> None:
        self._portal.call(self._inner.start)

    stop = _blocking(cleanup.SessionCleanup.stop)
    cleanup = _blocking(cleanup.SessionCleanup.cleanup)

    def get_status(self) -> CleanupStatus:
        status: CleanupStatus = self._portal.call(self._inner.get_status)
        return status

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
