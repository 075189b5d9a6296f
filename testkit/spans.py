"""Collects spans, and opens a store whose driver makes spans of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, Tracer

from chat_session.connect import open_store
from chat_session.settings import Settings
from chat_session.telemetry.hooks import Hooks


class Spans:
    """``provider`` is for TracingHooks; ``open`` opens a span of the application, which is current in the block."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("application")

    def open(self, name: str) -> AbstractContextManager[Span]:
        return self.tracer.start_as_current_span(name)

    def all(self, name: str = "") -> list[ReadableSpan]:
        """Those that have ended, in the order of their ends; with a name only those that are called so."""
        return [span for span in self._exporter.get_finished_spans() if name in ("", span.name)]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.all(name)
        return span

    def parent(self, span: ReadableSpan) -> str | None:
        """The name of its parent; None if it has none. The parent has ended, too."""
        if span.parent is None:
            return None
        [name] = [each.name for each in self.all() if id_of(each) == span.parent.span_id]
        return name


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def open_traced_store(url: str, tracer: Tracer) -> Any:
    """A store on which each call for sessions is a span, as if an instrumentation of its driver were installed."""
    store: Any = open_store(None, Settings.load(chat_session_url=url), Hooks())
    store.sessions = _TracedMethods(store.sessions, tracer)
    return store


class _TracedMethods:
    def __init__(self, inner: Any, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._inner, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            with self._tracer.start_as_current_span(f"driver.{name}"):
                await asyncio.sleep(0)  # as a driver, which waits for its answer
                return await method(*args, **kwargs)

        return call
