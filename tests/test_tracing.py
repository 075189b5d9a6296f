"""Spans of OpenTelemetry: what they hold, and that they are current during a call."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode

from chat_session import (
    AgentConflict,
    Desk,
    SessionManager,
    SessionNotFound,
    StoreError,
    __version__,
)
from chat_session.telemetry.tracing import TracingHooks
from testkit.backends import Backend, ServerBackend
from testkit.spans import Spans, open_traced_store

DOCS = Path(__file__).parents[1] / "docs"

on_both_stores = pytest.mark.parametrize("backend", ["redis", "sqlite"], indirect=True)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def manager(open_manager: Callable[..., SessionManager], spans: Spans) -> SessionManager:
    return open_manager(hooks=[TracingHooks(spans.provider)])


@on_both_stores
async def test_a_call_is_a_client_span_under_the_span_of_its_caller(
    manager: SessionManager, spans: Spans, backend: Backend
) -> None:
    with spans.open("request"):
        await manager.create_session("u", session_id="s", ttl=60)
        await manager.add_message("s", {"from": "user", "text": "hi"})
    await manager.get_active_sessions_count()
    assert trace.get_current_span() is INVALID_SPAN

    assert [span.name for span in spans.all()] == [
        "chat_session.create_session",
        "chat_session.append_messages",
        "request",
        "chat_session.count_sessions",
    ]
    append = spans.one("chat_session.append_messages")
    assert append.kind is SpanKind.CLIENT
    assert append.status.status_code is StatusCode.UNSET
    system = "sqlite" if backend.url.startswith("sqlite") else "redis"
    attributes = {"db.system.name": system, "db.operation.name": "append_messages", "session.id": "s"}
    assert dict(append.attributes or {}) == attributes
    assert append.instrumentation_scope is not None
    assert (append.instrumentation_scope.name, append.instrumentation_scope.version) == ("chat_session", __version__)
    assert spans.parent(append) == "request"
    count = spans.one("chat_session.count_sessions")
    assert spans.parent(count) is None
    assert "session.id" not in (count.attributes or {})


@on_both_stores
async def test_what_is_traced_below_a_call_is_its_child(backend: Backend, spans: Spans) -> None:
    store = open_traced_store(backend.url, spans.tracer)
    async with SessionManager(store, hooks=[TracingHooks(spans.provider)]) as manager:
        with spans.open("request"):
            await manager.create_session("u", session_id="s", ttl=60)
            await asyncio.gather(
                manager.add_message("s", {"from": "user", "text": "hi"}), manager.update_session("s", {"a": 1})
            )
    for name in ("create_session", "append_messages", "update_session"):
        assert spans.parent(spans.one(f"driver.{name}")) == f"chat_session.{name}"
        assert spans.parent(spans.one(f"chat_session.{name}")) == "request"
    assert "db.system.name" not in (spans.one("chat_session.create_session").attributes or {}), "it is not known"


async def test_managers_on_different_stores_share_hooks(redis_backend: ServerBackend, spans: Spans) -> None:
    hooks = [TracingHooks(spans.provider)]
    async with (
        redis_backend.open(hooks=hooks) as first,
        SessionManager.from_url("sqlite:///:memory:", hooks=hooks) as other,
    ):
        for manager in (first, other, first):
            await manager.get_active_sessions_count()
    assert [(span.attributes or {})["db.system.name"] for span in spans.all()] == ["redis", "sqlite", "redis"]


@on_both_stores
async def test_calls_at_the_same_time_are_children_of_their_own_callers(manager: SessionManager, spans: Spans) -> None:
    async def serve(session_id: str) -> None:
        with spans.open(f"request {session_id}"):
            await manager.create_session("u", session_id=session_id, ttl=60)
            await manager.add_message(session_id, {"from": "user", "text": "hi"})

    await asyncio.gather(*(serve(f"s{i}") for i in range(20)))
    calls = [span for span in spans.all() if span.kind is SpanKind.CLIENT]
    assert len(calls) == 40
    assert {spans.parent(span) for span in calls} == {f"request s{i}" for i in range(20)}
    for span in calls:
        session_id = str((span.attributes or {})["session.id"])
        assert spans.parent(span) == f"request {session_id}"


@on_both_stores
async def test_a_span_of_a_call_that_failed_has_the_code_of_the_error_and_no_text(
    manager: SessionManager, spans: Spans
) -> None:
    await manager.create_session("u", {"plan": "secret plan"}, session_id="s", ttl=60)
    await Desk(manager).request_human("s", reason="secret reason", say="secret sentence")
    await Desk(manager).take_over("s", "secret-operator")
    await Desk(manager).note("s", "secret-operator", "secret note")
    with pytest.raises(AgentConflict):
        await manager.add_message("s", {"from": "assistant", "text": "secret text"}, epoch=0)
    with pytest.raises(SessionNotFound):
        await manager.extend_session("nobody")
    assert _failures(spans.all()) == [
        ("chat_session.append_messages", "agent_conflict", "agent_conflict"),
        ("chat_session.extend_session", "session_not_found", "session_not_found"),
    ]
    assert not any(span.events for span in spans.all())
    assert "secret" not in "".join(span.to_json() for span in spans.all())


async def test_a_span_of_a_store_that_is_away_holds_neither_its_password_nor_its_address(spans: Spans) -> None:
    url = "redis://app:secret@127.0.0.1:1/0"
    async with SessionManager.from_url(url, redis_max_retries=0, hooks=[TracingHooks(spans.provider)]) as manager:
        with pytest.raises(StoreError):
            await manager.add_message("s", {"from": "user", "text": "secret text"})
    assert _failures(spans.all()) == [("chat_session.append_messages", "store_unavailable", "store_unavailable")]
    told = "".join(span.to_json() for span in spans.all())
    assert "secret" not in told
    assert "127.0.0.1" not in told


@on_both_stores
async def test_an_error_that_is_not_ours_is_told_by_its_type(backend: Backend, spans: Spans) -> None:
    store = open_traced_store(backend.url, spans.tracer)

    async def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    store.sessions.get_agent = fail
    async with SessionManager(store, hooks=[TracingHooks(spans.provider)]) as manager:
        with pytest.raises(ZeroDivisionError):
            await manager.get_session_agent("s")
    assert _failures(spans.all()) == [("chat_session.get_agent", "ZeroDivisionError", "ZeroDivisionError")]
    assert "secret" not in spans.one("chat_session.get_agent").to_json()


@on_both_stores
async def test_a_call_that_is_cancelled_is_marked_and_has_not_failed(backend: Backend, spans: Spans) -> None:
    store = open_traced_store(backend.url, spans.tracer)
    reached = asyncio.Event()

    async def hang(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    store.sessions.get_agent = hang
    async with SessionManager(store, hooks=[TracingHooks(spans.provider)]) as manager:
        call = asyncio.create_task(manager.get_session_agent("s"))
        await reached.wait()
        assert not spans.all(), "it is open as long as the call is"
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    span = spans.one("chat_session.get_agent")
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["chat_session.cancelled"] is True
    assert "error.type" not in (span.attributes or {})


def test_a_global_provider_may_be_set_after_the_hooks_are_made() -> None:
    program = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from chat_session import SessionManager
from chat_session.telemetry.tracing import TracingHooks

async def main():
    async with SessionManager.from_url("sqlite:///:memory:", hooks=[TracingHooks()]) as manager:
        await manager.create_session("u")
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        await manager.get_active_sessions_count()
        print(*(span.name for span in exporter.get_finished_spans()))

asyncio.run(main())
"""
    assert _run(program) == "chat_session.count_sessions"


def test_nothing_but_tracing_needs_opentelemetry() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
import chat_session.blocking, chat_session.cli.app, chat_session.storage.redis, chat_session.telemetry.prometheus
with chat_session.blocking.SessionManager.from_url("sqlite:///:memory:") as manager:
    print(manager.create_session("u").user_id)
try:
    import chat_session.telemetry.tracing
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert _run(program).split() == ["u", "opentelemetry"]


async def test_the_metrics_page_names_every_attribute_of_a_span(spans: Spans) -> None:
    async with SessionManager.from_url("sqlite:///:memory:", hooks=[TracingHooks(spans.provider)]) as manager:
        with pytest.raises(SessionNotFound):
            await manager.extend_session("nobody")
    seen = {*(spans.one("chat_session.extend_session").attributes or {}), "chat_session.cancelled"}
    section = (DOCS / "metrics.md").read_text("utf-8").partition("## Tracing")[2]
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", section, re.MULTILINE)) == seen


def _failures(told: Sequence[ReadableSpan]) -> list[tuple[str, Any, str | None]]:
    """Name, error.type and description of those that failed."""
    failed = [span for span in told if span.status.status_code is StatusCode.ERROR and span.kind is SpanKind.CLIENT]
    return [(span.name, (span.attributes or {})["error.type"], span.status.description) for span in failed]


def _run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
