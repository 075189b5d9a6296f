"""The manager for synchronous code: Flask, Django, scripts. The calls are those of ``chat_session``.

    with chat_session.blocking.SessionManager.from_url("sqlite:///chat.db") as manager:
        session = manager.create_session("user123")

One background thread runs one event loop, and every call goes through it to the one implementation.
A manager may be used from any number of threads; their calls share round trips. One that is still open when the
interpreter exits is closed then.
"""

import atexit
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, overload
from weakref import WeakSet

from chat_session import cleanup, desk, inspector, manager, replies, turns
from chat_session.errors import InvalidInput
from chat_session.loop_iterator import take_each
from chat_session.loop_thread import LoopThread
from chat_session.message import Message
from chat_session.results import AppendResult, CleanupStatus
from chat_session.settings import Settings, SettingsBesideUrl, SettingsOverrides
from chat_session.storage.contract import Store, is_store
from chat_session.telemetry.hooks import Hooks
from chat_session.turns import MessageLike

P = ParamSpec("P")
T = TypeVar("T")

CHUNK = 500  # what an iterator takes from the event loop at a time


def _blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """The same method, called from any thread, waiting for the answer."""

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def run() -> T:
            return await method(self._inner, *args, **kwargs)

        return self._thread.call(run)  # type: ignore[no-any-return]  # of T

    return call


def _iterating(method: Callable[Concatenate[Any, P], AsyncIterator[T]]) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """The same method as an iterator, which takes up to 500 items at a time."""

    @wraps(method)
    def iterate(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self._inner, *args, **kwargs)

        async def take() -> tuple[list[T], BaseException | None]:
            taken: list[T] = []
            try:
                while len(taken) < CHUNK:
                    taken.append(await anext(items))
            except Exception as end:  # raised when the caller has had what came before
                return taken, end
            return taken, None

        end = None
        while end is None:
            taken, end = self._thread.call(take)
            yield from taken
        if not isinstance(end, StopAsyncIteration):
            raise end

    return iterate


def _waiting(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]], *, ends_when_closed: bool
) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """The same method as an iterator, which gives each item as it comes.

    ``ends_when_closed``: once it has begun, the close of the manager ends it; otherwise it raises ManagerClosed.
    """

    @wraps(method)
    def iterate(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self._inner, *args, **kwargs)  # it checks its arguments now
        return take_each(self._thread, items, ends_when_closed=ends_when_closed)

    return iterate


class SessionManager:
    """``chat_session.SessionManager`` for synchronous code; each method promises what its namesake does."""

    def __init__(
        self, store: Store | None = None, *, hooks: Sequence[Hooks] = (), **settings: Unpack[SettingsOverrides]
    ) -> None:
        """None: the store that the settings name. Raises SettingsError; InvalidInput for a redis client."""
        if store is not None and not is_store(store):
            got = f"a {type(store).__module__}.{type(store).__qualname__}"
            advice = (
                "The connections of a redis client belong to the event loop that made them, so give the address of "
                "its server to from_url."
            )
            raise InvalidInput("store", "None or a store", got, advice)

        async def make() -> manager.SessionManager:
            return manager.SessionManager(store, hooks=hooks, **settings)

        self._thread = LoopThread()
        try:
            self._inner = self._thread.call(make)
        except BaseException:
            self._thread.end()
            self._thread.join()
            raise
        _open.add(self)

    @classmethod
    def from_url(cls, url: str, *, hooks: Sequence[Hooks] = (), **settings: Unpack[SettingsBesideUrl]) -> Self:
        return cls(hooks=hooks, chat_session_url=url, **settings)

    @property
    def settings(self) -> Settings:
        return self._inner.settings

    def close(self) -> None:
        """As the manager's ``close``; then the background thread ends. A second close is no error.

        In a process that was forked from the one that made the manager it does nothing.
        """
        if not self._thread.is_usable:
            return
        try:
            self._thread.call(self._inner.close)
        finally:
            self._thread.end()
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        """Dropped without being closed: say so, and close it in its own thread."""
        thread: LoopThread | None = getattr(self, "_thread", None)
        if thread is not None and thread.is_usable:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            thread.end_after(self._inner.close)

    def turn(self, session_id: str, *, lease: float = 30, wait: float = 0, debounce: float = 0) -> "Turn":
        """``with manager.turn(session_id) as turn:`` makes this thread the only one that answers the session.

        As the manager's ``turn``, but the block is not interrupted when the turn is lost: the next call of the turn
        raises TurnLost, and so does leaving the block.
        """
        return Turn(self, self._inner.turn(session_id, lease=lease, wait=wait, debounce=debounce))

    create_session = _blocking(manager.SessionManager.create_session)
    get_or_create_session = _blocking(manager.SessionManager.get_or_create_session)
    fork_session = _blocking(manager.SessionManager.fork_session)
    assign_session = _blocking(manager.SessionManager.assign_session)
    get_session = _blocking(manager.SessionManager.get_session)
    is_session_active = _blocking(manager.SessionManager.is_session_active)
    update_session = _blocking(manager.SessionManager.update_session)
    increment = _blocking(manager.SessionManager.increment)
    delete_session = _blocking(manager.SessionManager.delete_session)
    extend_session = _blocking(manager.SessionManager.extend_session)
    add_message = _blocking(manager.SessionManager.add_message)
    add_messages = _blocking(manager.SessionManager.add_messages)
    add_unanswered = _blocking(manager.SessionManager.add_unanswered)
    get_history = _blocking(manager.SessionManager.get_history)
    iter_history = _iterating(manager.SessionManager.iter_history)
    get_window = _blocking(manager.SessionManager.get_window)
    retract_message = _blocking(manager.SessionManager.retract_message)
    pop_messages = _blocking(manager.SessionManager.pop_messages)
    replace_message = _blocking(manager.SessionManager.replace_message)
    clear_history = _blocking(manager.SessionManager.clear_history)
    replace_history = _blocking(manager.SessionManager.replace_history)
    get_session_agent = _blocking(manager.SessionManager.get_session_agent)
    check_epoch = _blocking(manager.SessionManager.check_epoch)
    switch_agent = _blocking(manager.SessionManager.switch_agent)
    set_session_ttl = _blocking(manager.SessionManager.set_session_ttl)
    get_session_ttl = _blocking(manager.SessionManager.get_session_ttl)
    get_user_sessions = _blocking(manager.SessionManager.get_user_sessions)
    list_user_sessions = _blocking(manager.SessionManager.list_user_sessions)
    erase_user = _blocking(manager.SessionManager.erase_user)
    get_state = _blocking(manager.SessionManager.get_state)
    update_state = _blocking(manager.SessionManager.update_state)
    stop_turn = _blocking(manager.SessionManager.stop_turn)
    pending_turns = _blocking(manager.SessionManager.pending_turns)
    wait_for_turns = _waiting(manager.SessionManager.wait_for_turns, ends_when_closed=False)
    watch = _waiting(manager.SessionManager.watch, ends_when_closed=True)
    send_typing = _blocking(manager.SessionManager.send_typing)
    get_active_sessions_count = _blocking(manager.SessionManager.get_active_sessions_count)
    cleanup_expired_sessions = _blocking(manager.SessionManager.cleanup_expired_sessions)


class Turn:
    """``chat_session.Turn`` for synchronous code. The lease renews itself in the manager's background thread.

    ``for messages in turn:`` goes through the rounds.
    """

    def __init__(self, manager: SessionManager, inner: turns.Turn) -> None:
        self._thread = manager._thread  # noqa: SLF001 - its other half
        self._inner = inner
        self._manager = manager  # so that it stays open

    @property
    def session_id(self) -> str:
        return self._inner.session_id

    @property
    def messages(self) -> list[Message]:
        """What nobody has answered, oldest first."""
        return self._inner.messages

    @property
    def missed(self) -> int:
        """How many messages were trimmed before anybody answered them, whoever wrote them."""
        return self._inner.missed

    @property
    def epoch(self) -> int:
        """The session's epoch when the round began, for ``check_epoch``."""
        return self._inner.epoch

    def __enter__(self) -> Self:
        try:
            self._thread.call(self._inner.__aenter__)
        except Exception:
            raise
        except BaseException as error:  # Ctrl-C: it may have begun just then
            self._thread.call(self._inner.__aexit__, type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._thread.call(self._inner.__aexit__, kind, error, None)

    @overload
    def reply(self, message: MessageLike) -> AppendResult: ...  # type: ignore[overload-overlap]  # a text is one message
    @overload
    def reply(self, message: Sequence[MessageLike]) -> list[AppendResult]: ...
    def reply(self, message: MessageLike | Sequence[MessageLike]) -> AppendResult | list[AppendResult]:
        """Append as the assistant: a text, a message, or several of them, all or none. Raises TurnLost."""
        answer: AppendResult | list[AppendResult] = self._thread.call(self._inner.reply, message)
        return answer

    record = _blocking(turns.Turn.record)

    def stream(self, *, author: str | None = None, type: str | None = None, keep_partial: bool = False) -> "Reply":  # noqa: A002 - a field's name
        """``with turn.stream() as reply:`` appends as the assistant what ``reply.write(…)`` is given."""
        return Reply(self, self._inner.stream(author=author, type=type, keep_partial=keep_partial))

    def __iter__(self) -> Iterator[list[Message]]:
        async def take() -> list[Message] | None:
            return await anext(self._inner, None)

        while (messages := self._thread.call(take)) is not None:
            yield messages


class Reply:
    """``chat_session.Reply`` for synchronous code. The manager's background thread sends it."""

    def __init__(self, turn: Turn, inner: replies.Reply) -> None:
        self._thread = turn._thread  # noqa: SLF001 - its other half
        self._inner = inner
        self._turn = turn  # so that its manager stays open

    @property
    def id(self) -> str:
        return self._inner.id

    @property
    def text(self) -> str:
        return self._inner.text

    @property
    def result(self) -> AppendResult | None:
        """What was stored, once the block is left; None if nothing was."""
        return self._inner.result

    write = _blocking(replies.Reply.write)

    def set_fields(self, **fields: Any) -> None:
        """Fields that the message will have."""
        self._inner.set_fields(**fields)

    def __enter__(self) -> Self:
        try:
            self._thread.call(self._inner.__aenter__)
        except Exception:
            raise
        except BaseException as error:  # Ctrl-C: it may have begun just then
            self._thread.call(self._inner.__aexit__, type(error), error, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._thread.call(self._inner.__aexit__, kind, error, None)


def run(of: SessionManager, function: Callable[[manager.SessionManager], Coroutine[Any, Any, T]]) -> T:
    """Call a coroutine function with the asynchronous manager, in the background thread of ``of``; its answer.

    Raises ManagerClosed, UsedAfterFork.
    """
    return of._thread.call(function, of._inner)  # noqa: SLF001 - its other half


_open: WeakSet[SessionManager] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Those still open at the exit of the interpreter: later their threads would be stopped in the middle."""
    for each in list(_open):
        with suppress(Exception):
            each.close()


class Inspector:
    """``chat_session.Inspector`` for synchronous code."""

    def __init__(self, manager: SessionManager) -> None:
        self._thread = manager._thread  # noqa: SLF001 - its other half
        self._inner = inspector.Inspector(manager._inner)  # noqa: SLF001 - as above
        self._manager = manager  # so that it stays open

    list_sessions = _blocking(inspector.Inspector.list_sessions)
    scan_sessions = _iterating(inspector.Inspector.scan_sessions)
    get_stored_history = _blocking(inspector.Inspector.get_stored_history)
    restore_session = _blocking(inspector.Inspector.restore_session)
    diagnose = _blocking(inspector.Inspector.diagnose)


class Desk:
    """``chat_session.Desk`` for synchronous code."""

    def __init__(self, manager: SessionManager) -> None:
        self._thread = manager._thread  # noqa: SLF001 - its other half
        self._inner = desk.Desk(manager._inner)  # noqa: SLF001 - as above
        self._manager = manager  # so that it stays open

    request_human = _blocking(desk.Desk.request_human)
    claim_next = _blocking(desk.Desk.claim_next)
    take_over = _blocking(desk.Desk.take_over)
    answer = _blocking(desk.Desk.answer)
    note = _blocking(desk.Desk.note)
    transfer = _blocking(desk.Desk.transfer)
    decline = _blocking(desk.Desk.decline)
    hand_back = _blocking(desk.Desk.hand_back)
    operator_seen = _blocking(desk.Desk.operator_seen)
    operators = _blocking(desk.Desk.operators)
    waiting = _blocking(desk.Desk.waiting)
    assigned = _blocking(desk.Desk.assigned)
    stats = _blocking(desk.Desk.stats)
    watch = _waiting(desk.Desk.watch, ends_when_closed=True)


class SessionCleanup:
    """``chat_session.SessionCleanup`` for synchronous code; it runs in the manager's background thread."""

    def __init__(self, manager: SessionManager, interval: float | None = None) -> None:
        self._thread = manager._thread  # noqa: SLF001 - its other half
        self._manager = manager  # so that it stays open

        async def make() -> cleanup.SessionCleanup:
            return cleanup.SessionCleanup(manager._inner, interval)  # noqa: SLF001 - as above

        self._inner = self._thread.call(make)

    def start(self) -> None:
        async def run() -> None:
            self._inner.start()

        self._thread.call(run)

    stop = _blocking(cleanup.SessionCleanup.stop)
    cleanup = _blocking(cleanup.SessionCleanup.cleanup)

    def get_status(self) -> CleanupStatus:
        async def run() -> CleanupStatus:
            return self._inner.get_status()

        return self._thread.call(run)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
