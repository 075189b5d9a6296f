"""The one protocol through which the package tells what happens. Override what you need.

A hook is called on the event loop and must return at once. An exception in one is logged and goes
no further. No hook is ever given a message's text.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from chat_session.message import Sender

_log = logging.getLogger("chat_session")

_Span = Callable[[str, str | None], AbstractContextManager[object]]


class Hooks:
    """Does nothing; the base of everything that listens."""

    opens_spans = False  # set for those that are combined, if one of them has a ``span`` of its own

    def on_store(self, system: str | None) -> "Hooks":  # noqa: ARG002
        """A manager is made. What is returned listens to it: these hooks, or some that know what store it is on.

        ``system``: "redis" (Valkey, too), "sqlite", or None for a store of another's that was given.
        """
        return self

    def span(self, name: str, session_id: str | None) -> AbstractContextManager[object]:  # noqa: ARG002
        """A call to the store begins. What is returned is entered now, and left when the call has ended or failed.

        For tracing: a span that is open during the call.
        """
        return nullcontext()

    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
        """A call to the store ended. ``outcome`` is "ok", "cancelled" or the error's code."""

    def appended(self, session_id: str, senders: Sequence[Sender]) -> None:
        """New messages were stored; duplicates are not among them."""

    def changed(self, session_id: str, change: str, count: int) -> None:
        """Stored messages were changed: ``change`` is "retracted", "replaced" or "cleared"."""

    def handed(self, session_id: str, event: str) -> None:
        """The desk made a step on a session. ``event`` is that of the marker, such as "requested" or "lapsed".

        "raised" tells a higher priority; all others that the session went from one hand to another.
        """

    def desk_counted(self, waiting: int, assigned: int) -> None:
        """The sessions that wait for a person, and those that operators have, were counted."""

    def turn_begun(self, session_id: str) -> None:
        """A worker took the turn on a session."""

    def turn_busy(self, session_id: str) -> None:
        """A worker gave up, since another has the turn."""

    def turn_lost(self, session_id: str, reason: str) -> None:
        """A worker lost its turn: ``reason`` is "expired", "taken_over" or "stopped"."""

    def watch_begun(self, session_id: str) -> None:
        """A watcher of a session began; "" is the desk."""

    def watch_ended(self, session_id: str) -> None:
        """A watcher of a session ended."""

    def delivered(self, session_id: str, delay: float) -> None:
        """A watcher was given a message, ``delay`` seconds after its timestamp."""

    def feed_gap(self, session_id: str, count: int) -> None:
        """A watcher was told of ``count`` messages that were trimmed before they were told."""

    def feed_reset(self, session_id: str, reason: str) -> None:
        """A watcher had to begin again. ``reason``: as in the event Reset."""

    def reply_begun(self, session_id: str) -> None:
        """A streaming reply begins to grow."""

    def reply_ended(self, session_id: str, outcome: str) -> None:
        """A streaming reply ended: "committed", "partial", or why it was aborted.

        That is "failed", "expired", "taken_over", "stopped" or "released".
        """

    def group_cut(self, session_id: str) -> None:
        """A model was given a history in which the newest message answers a call that was trimmed.

        A call and its answers are more messages than the session keeps.
        """

    def retried(self, name: str, attempt: int, reason: str) -> None:
        """A command is about to be sent again. ``reason`` is the kind of fault, not its text."""

    def queue_full(self, address: str) -> None:
        """A call had to wait before it was queued: too many wait for that server already."""

    def damaged(self, session_id: str, count: int) -> None:
        """A history was read in which ``count`` messages could not be decoded."""

    def store_up(self, up: bool) -> None:
        """The store answered, or failed to within a whole call."""

    def endangered(self, setting: str, text: str) -> None:
        """The store was reached for the first time, and a setting of its own breaks a promise."""

    def counted(self, active: int) -> None:
        """The living sessions were counted."""

    def cleaned(self, removed: int, seconds: float, outcome: str) -> None:
        """A cleanup run ended."""


_NO_EVENTS = ("on_store", "opens_spans", "span")
_EVENTS = tuple(name for name in vars(Hooks) if not name.startswith("_") and name not in _NO_EVENTS)


def combine(listeners: Sequence[Hooks]) -> Hooks:
    """One that passes every event to those who listen to it; a failing one keeps nobody from hearing."""
    combined = Hooks()
    for event in _EVENTS:
        listening = [hooks for hooks in listeners if getattr(type(hooks), event) is not getattr(Hooks, event)]
        setattr(combined, event, _announcer([getattr(hooks, event) for hooks in listening]))
    spans = [hooks.span for hooks in listeners if type(hooks).span is not Hooks.span]
    if spans:
        combined.opens_spans = True
        combined.span = lambda name, session_id: _hold_open(spans, name, session_id)  # type: ignore[method-assign]
    return combined


def _announcer(hooks: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def announce(*facts: object) -> None:
        for hook in hooks:
            try:
                hook(*facts)
            except Exception:
                _log_failure()

    return announce


@contextmanager
def _hold_open(spans: Sequence[_Span], name: str, session_id: str | None) -> Iterator[None]:
    """All spans of a call. One that fails to open or to close is logged, and keeps neither the call nor the others."""
    opened: list[AbstractContextManager[object]] = []
    for span in spans:
        with _failure_logged():
            one = span(name, session_id)
            one.__enter__()
            opened.append(one)
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        for one in reversed(opened):
            with _failure_logged():
                one.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


@contextmanager
def _failure_logged() -> Iterator[None]:
    try:
        yield
    except Exception:
        _log_failure()


def _log_failure() -> None:
    _log.exception("A telemetry hook raised an exception. The call itself went on.", extra={"action": "hook_failed"})
