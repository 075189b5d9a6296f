"""Whose children the spans are: of calls in tasks of their own, of turns, of cleanups, and of blocking calls."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags

from chat_session import Hooks, SessionCleanup, SessionManager, SessionNotFound, TurnBusy, blocking
from chat_session.telemetry.tracing import TracingHooks
from chat_session.testing import until
from testkit.backends import Backend
from testkit.spans import Spans

LEASE = 2.0  # seconds: a turn is renewed after a third of it, and is not lost on a busy machine

on_both_stores = pytest.mark.parametrize("backend", ["redis", "sqlite"], indirect=True)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def manager(open_manager: Callable[..., SessionManager], spans: Spans) -> SessionManager:
    return open_manager(hooks=[TracingHooks(spans.provider)])


class Renewals(Hooks):
    """Whether a turn was renewed."""

    def __init__(self) -> None:
        self.made = asyncio.Event()

    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
        if name == "renew_turn":
            self.made.set()


@on_both_stores
async def test_a_parent_in_another_process_is_kept_and_one_that_is_not_sampled_records_nothing(
    open_manager: Callable[..., SessionManager], spans: Spans
) -> None:
    renewals = Renewals()
    manager = open_manager(hooks=[TracingHooks(spans.provider), renewals])
    await manager.create_session("u", session_id="s", ttl=60)
    remote = SpanContext(trace_id=1, span_id=2, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    unsampled = SpanContext(trace_id=3, span_id=4, is_remote=True)
    for context in (remote, unsampled):
        with trace.use_span(NonRecordingSpan(context)):
            async with manager.turn("s", lease=LEASE):
                renewals.made.clear()
                await renewals.made.wait()
                await manager.extend_session("s")
    told = spans.all()[1:]
    assert {span.name.removeprefix("chat_session.") for span in told} >= {"take_turn", "renew_turn", "extend_session"}
    assert {span.parent and span.parent.span_id for span in told} == {2}
    assert len(spans.all("chat_session.extend_session")) == 1


@on_both_stores
async def test_the_renewals_of_a_turn_are_under_the_span_in_which_it_began(
    manager: SessionManager, spans: Spans
) -> None:
    await manager.create_session("u", session_id="s", ttl=60)
    with spans.open("answer"):
        async with manager.turn("s", lease=LEASE) as turn:
            with pytest.raises(TurnBusy):
                await manager.turn("s").__aenter__()
            with spans.open("model"):
                await until(_more(spans, "chat_session.renew_turn", 1))
                await turn.reply("hi")
    renewals = spans.all("chat_session.renew_turn")
    assert {spans.parent(span) for span in renewals} == {"answer"}
    assert spans.parent(spans.one("chat_session.append_in_turn")) == "model"
    assert spans.parent(spans.one("chat_session.release_turn")) == "answer"


@on_both_stores
async def test_renewals_after_the_end_of_that_span_are_traces_of_their_own_with_a_link_to_it(
    manager: SessionManager, spans: Spans
) -> None:
    await manager.create_session("u", session_id="s", ttl=60)
    async with AsyncExitStack() as stack:
        with spans.open("begin") as begin:
            await stack.enter_async_context(manager.turn("s", lease=LEASE))
        await until(_more(spans, "chat_session.renew_turn", len(spans.all("chat_session.renew_turn")) + 1))
    renewals, ended = spans.all("chat_session.renew_turn"), spans.one("begin").end_time or 0
    begun_later = [span for span in renewals if (span.start_time or 0) > ended]
    assert begun_later
    for span in begun_later:
        assert span.parent is None
        assert [link.context for link in span.links] == [begin.get_span_context()]
    assert len({span.context.trace_id for span in begun_later if span.context}) == len(begun_later)


@on_both_stores
async def test_a_call_of_a_task_that_outlives_its_span_stays_in_the_trace(
    manager: SessionManager, spans: Spans
) -> None:
    """As every client does it: what a request has begun belongs to its trace, even if it ends later."""
    with spans.open("request") as request:
        pass
    with trace.use_span(request):
        await manager.create_session("u", session_id="s", ttl=60)
    assert spans.parent(spans.one("chat_session.create_session")) == "request"


@on_both_stores
async def test_a_cleanup_is_not_under_the_span_in_which_it_was_started(
    open_manager: Callable[..., SessionManager], spans: Spans
) -> None:
    manager = open_manager(hooks=[TracingHooks(spans.provider)], claim_lease=0.05)
    with spans.open("startup"):
        cleanup = SessionCleanup(manager, interval=0.02)
        await cleanup.start()
    await until(_more(spans, "chat_session.sweep", 0))
    await until(_more(spans, "chat_session.sweep_desk", 0))
    await cleanup.stop()
    assert {span.parent for span in spans.all()} == {None}


@on_both_stores
def test_the_span_of_a_calling_thread_is_the_parent_of_its_blocking_calls(backend: Backend, spans: Spans) -> None:
    hooks = [TracingHooks(spans.provider)]
    with blocking.SessionManager.from_url(backend.url, hooks=hooks, **backend.settings) as manager:

        def serve(number: int) -> None:
            session_id = f"s{number}"
            with spans.open(f"request {session_id}"):
                manager.create_session("u", session_id=session_id, ttl=60)
                manager.add_message(session_id, {"from": "user", "text": "hi"})
                assert len(list(manager.iter_history(session_id))) == 1
                with manager.turn(session_id) as turn:
                    turn.reply("hi")
                with pytest.raises(SessionNotFound):
                    manager.extend_session(f"no {session_id}".replace(" ", "-"))

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(serve, range(8)))
        assert trace.get_current_span() is INVALID_SPAN
        manager.get_active_sessions_count()
    assert spans.parent(spans.one("chat_session.count_sessions")) is None
    calls = [span for span in spans.all() if (span.attributes or {}).get("session.id")]
    assert {span.name.removeprefix("chat_session.") for span in calls} >= {
        "create_session",
        "append_messages",
        "get_history",
        "take_turn",
        "append_in_turn",
        "release_turn",
        "extend_session",
    }
    for span in calls:
        session_id = str((span.attributes or {})["session.id"]).removeprefix("no-")
        assert spans.parent(span) == f"request {session_id}"


@on_both_stores
def test_a_blocking_iterator_is_under_the_span_of_whoever_takes_the_next(backend: Backend, spans: Spans) -> None:
    hooks = [TracingHooks(spans.provider)]
    with blocking.SessionManager.from_url(backend.url, hooks=hooks, **backend.settings) as manager:
        manager.create_session("u", session_id="s", ttl=60, turns=True)
        manager.add_message("s", {"from": "user", "text": "hi"})
        with spans.open("begin"):
            found = manager.wait_for_turns()
        with spans.open("next"):
            assert next(found) == "s"
    assert spans.parent(spans.one("chat_session.list_pending_turns")) == "next"


def _more(spans: Spans, name: str, than: int) -> Callable[[], Any]:
    async def are_there() -> bool:
        return len(spans.all(name)) > than

    return are_there
