"""Each call to the store as an OpenTelemetry span. Needs ``pip install chat-session[tracing]``.

A manager with them: ``SessionManager(hooks=[TracingHooks()])``. docs/metrics.md lists the attributes.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, SpanKind, StatusCode, TracerProvider

from chat_session import __version__
from chat_session.errors import ChatSessionError
from chat_session.telemetry.hooks import Hooks

# A task of ours makes these calls for as long as a turn lasts. The span in which the turn began may end before.
_IN_BACKGROUND = frozenset(("renew_turn",))


class TracingHooks(Hooks):
    """A client span for each call: a child of the caller's span, and current during the call.

    ``provider``: where the spans go. None: to the global provider, even if it is set after this. A span never holds
    what a message, a note or the metadata say, nor the text of an error.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("chat_session", __version__, provider)
        self._attributes: dict[str, str] = {}  # of every span

    def on_store(self, system: str | None) -> Self:
        hooks = copy(self)
        hooks._attributes = {} if system is None else {"db.system.name": system}  # noqa: SLF001 - another of this class
        return hooks

    @contextmanager
    def span(self, name: str, session_id: str | None) -> Iterator[None]:
        attributes = {**self._attributes, "db.operation.name": name}
        if session_id is not None:
            attributes["session.id"] = session_id
        place = _begin_own_trace_if_parent_ended() if name in _IN_BACKGROUND else {}
        with self._tracer.start_as_current_span(
            f"chat_session.{name}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,  # its text may name an operator or a server
            set_status_on_exception=False,
            **place,
        ) as span:
            try:
                yield
            except BaseException as error:
                _tell_failure(span, error)
                raise


def _begin_own_trace_if_parent_ended() -> dict[str, Any]:
    """The place of a span: under the current one, or if that has ended, in a new trace with a link to it.

    A parent that is not sampled, or in another process, is no span that records, and remains the parent.
    """
    current = trace.get_current_span()
    if current.is_recording() or isinstance(current, NonRecordingSpan):
        return {}
    return {"context": trace.set_span_in_context(INVALID_SPAN), "links": [trace.Link(current.get_span_context())]}


def _tell_failure(span: Span, error: BaseException) -> None:
    """As metrics and log records: the error's code. A call that was cancelled has not failed."""
    if isinstance(error, asyncio.CancelledError):
        span.set_attribute("chat_session.cancelled", True)
        return
    code = error.code if isinstance(error, ChatSessionError) else type(error).__qualname__
    span.set_attribute("error.type", code)
    span.set_status(StatusCode.ERROR, code)
