"""What the hooks, the log and the metrics report."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from chat_session import (
    AgentConflict,
    Desk,
    DeskConflict,
    Hooks,
    Inspector,
    OperatorFull,
    SessionCleanup,
    SessionManager,
    StoreUnavailable,
    TurnBusy,
    TurnLost,
)
from chat_session.telemetry.prometheus import PrometheusHooks
from chat_session.testing import until
from testkit.backends import Backend, ServerBackend
from testkit.present import present


class Failing(Hooks):
    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
        raise RuntimeError("a hook of another program")


async def test_prometheus_counts_what_happens(backend: Backend, open_manager: Callable[..., SessionManager]) -> None:
    registry = CollectorRegistry()
    manager = open_manager(hooks=[PrometheusHooks(registry)], max_message_history=10)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"chat_session_{name}", labels)

    await manager.create_session("u", session_id="s", ttl=1)
    await manager.add_messages("s", [{"from": "user", "text": "a"}, {"from": "assistant", "text": "b", "id": "m"}])
    await manager.add_message("s", {"from": "assistant", "text": "b", "id": "m"})
    await manager.switch_agent("s", "human", note="note")
    await backend.corrupt(manager, "s", 1, b"damaged")
    await manager.get_history("s")
    assert await manager.get_active_sessions_count() == 1
    assert value("messages_total", sender="user") == 1
    assert value("messages_total", sender="assistant") == 1
    assert value("messages_total", sender="system") == 1
    assert value("operation_seconds_count", operation="append_messages", outcome="ok") == 2
    assert value("damaged_messages_total") == 1
    assert value("active_sessions") == 1
    with pytest.raises(LookupError):
        await manager.extend_session("nobody")
    assert value("operation_seconds_count", operation="extend_session", outcome="session_not_found") == 1
    while await manager.is_session_active("s"):
        pass
    await manager.cleanup_expired_sessions()
    assert value("cleanup_removed_total") == 1
    assert value("cleanup_runs_total", outcome="ok") == 1


async def test_changes_of_a_history_and_groups_that_were_cut_are_told(
    open_manager: Callable[..., SessionManager], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="chat_session")
    registry = CollectorRegistry()
    manager = open_manager(hooks=[PrometheusHooks(registry)], max_message_history=2)
    await manager.create_session("u", session_id="s", ttl=60)
    await manager.add_message("s", {"from": "assistant", "text": "", "calls": ["a"]})
    await manager.add_messages("s", [{"id": i, "from": "tool", "text": "", "answers": ["a"]} for i in ("1", "2")])
    for _ in range(2):
        assert await manager.get_window("s") == []
    await manager.replace_message("s", {"id": "1", "from": "tool", "text": "x"})
    await manager.pop_messages("s", 2)
    assert await manager.get_window("s") == []
    await manager.replace_history("s", [{"from": "user", "text": "x"}])
    await manager.clear_history("s")

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"chat_session_{name}", labels)

    assert value("groups_cut_total") == 2
    changes = ("retracted", "replaced", "cleared")
    assert [value("changed_messages_total", change=change) for change in changes] == [2, 2, 1]
    actions = [vars(record)["action"] for record in caplog.records]
    assert actions.count("group_cut") == 1, "a session is named once in the log"
    assert actions.count("changed") == 4


async def test_prometheus_counts_the_steps_of_the_desk_and_the_writes_that_it_refused(
    open_manager: Callable[..., SessionManager],
) -> None:
    registry = CollectorRegistry()
    manager = open_manager(hooks=[PrometheusHooks(registry)])
    desk = Desk(manager)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"chat_session_{name}", labels)

    for session_id in "abc":
        await manager.create_session("u", session_id=session_id, ttl=60)
    await desk.request_human("a", say="One moment, please.")
    await desk.request_human("a", priority=3)
    await desk.request_human("b")
    await desk.operator_seen("ann", capacity=1)
    assert (await desk.claim_next("ann")) is not None
    with pytest.raises(OperatorFull):
        await desk.claim_next("ann")
    await desk.decline("a", "ann")
    await desk.take_over("a", "ann", expect="waiting")
    await desk.answer("c", "ben", {"text": "Hello", "id": "m1"})
    await desk.answer("c", "ben", {"text": "Hello", "id": "m1"})
    with pytest.raises(DeskConflict):
        await desk.answer("c", "ann", "Hello", polite=True)
    with pytest.raises(AgentConflict):
        await manager.add_message("a", {"from": "assistant", "text": "late"}, epoch=0)
    with pytest.raises(AgentConflict):
        await manager.check_epoch("a", 0)
    await desk.transfer("c", "ben", to="ann")
    await desk.hand_back("c", "ann")

    steps: dict[str, int | None] = {"requested": 2, "claimed": 1, "declined": 1, "taken_over": 1}
    steps |= {"answered": 1, "transferred": 1, "handed_back": 1, "raised": None, "lapsed": None}
    assert {event: value("handoffs_total", event=event) for event in steps} == steps
    refused = ("agent_conflict", "desk_conflict", "operator_full")
    assert [value("refused_writes_total", reason=reason) for reason in refused] == [1, 1, 1]
    assert value("messages_total", sender="operator") == 1
    assert value("messages_total", sender="assistant") == 1
    assert value("messages_total", sender="system") == 9
    await desk.stats()
    assert (value("desk_waiting"), value("desk_assigned")) == (1, 1)


async def test_a_cleanup_counts_those_who_wait_and_are_assigned_for_the_gauges(
    open_manager: Callable[..., SessionManager],
) -> None:
    registry = CollectorRegistry()
    manager = open_manager(hooks=[PrometheusHooks(registry)])
    for session_id in "abc":
        await manager.create_session("u", session_id=session_id, ttl=60)
        await Desk(manager).request_human(session_id)
    await Desk(manager).take_over("b", "ann")
    await SessionCleanup(manager).cleanup()
    names = ("active_sessions", "desk_waiting", "desk_assigned")
    assert [registry.get_sample_value(f"chat_session_{name}") for name in names] == [3, 2, 1]


async def test_a_lapse_is_counted_and_logged_without_what_people_wrote(
    open_manager: Callable[..., SessionManager], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="chat_session")
    registry = CollectorRegistry()
    manager = open_manager(hooks=[PrometheusHooks(registry)], claim_lease=0.05)
    desk = Desk(manager)
    await manager.create_session("u", session_id="s", ttl=60)
    await desk.request_human("s", reason="secret reason", say="secret sentence")
    await desk.take_over("s", "ann")
    await desk.note("s", "ann", "secret note")

    async def waits_again() -> bool:
        await manager.cleanup_expired_sessions()
        return present(await manager.get_session("s")).desk.state == "waiting"

    await until(waits_again)
    assert registry.get_sample_value("chat_session_handoffs_total", {"event": "lapsed"}) == 1
    handed = [record for record in caplog.records if vars(record).get("action") == "handed"]
    assert [(vars(record)["event"], record.levelname) for record in handed] == [
        ("requested", "DEBUG"),
        ("taken_over", "DEBUG"),
        ("lapsed", "INFO"),
    ]
    assert {vars(record)["session_id"] for record in handed} == {"s"}
    assert "secret" not in caplog.text
    assert "ann" not in caplog.text


async def test_turns_are_counted_by_how_they_went_and_lost_ones_by_the_reason(
    open_manager: Callable[..., SessionManager], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="chat_session")
    registry = CollectorRegistry()
    manager = open_manager(hooks=[PrometheusHooks(registry)])
    await manager.create_session("u", session_id="s", ttl=60)
    await manager.add_message("s", {"from": "user", "text": "secret"})

    async def be_stopped() -> None:
        """The reply notices it first."""
        async with manager.turn("s") as turn:
            with pytest.raises(TurnBusy):
                await manager.turn("s").__aenter__()
            await manager.stop_turn("s")
            with pytest.raises(TurnLost):
                await turn.reply("secret, too")
            await turn.reply("secret, again")

    async def be_taken_over() -> None:
        """The renewal notices it, and the block is cancelled."""
        async with manager.turn("s", lease=0.3):
            await manager.switch_agent("s", "human")
            await asyncio.Event().wait()

    with pytest.raises(TurnLost, match="stop_turn was called"):
        await be_stopped()
    with pytest.raises(TurnLost, match="the agent was switched"):
        await be_taken_over()
    with pytest.raises(AgentConflict):
        await manager.turn("s").__aenter__()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"chat_session_{name}", labels)

    assert [value("turns_total", outcome=outcome) for outcome in ("begun", "busy", "lost")] == [2, 1, 2]
    assert [value("lost_turns_total", reason=reason) for reason in ("stopped", "taken_over", "expired")] == [1, 1, None]
    assert value("refused_writes_total", reason="turn_lost") == 2
    assert value("refused_writes_total", reason="agent_conflict") is None, "to take no turn is no refused write"
    told = [record for record in caplog.records if vars(record)["action"] in ("turn_begun", "turn_busy", "turn_lost")]
    assert [(vars(record)["action"], record.levelname, vars(record).get("reason")) for record in told] == [
        ("turn_begun", "DEBUG", None),
        ("turn_busy", "DEBUG", None),
        ("turn_lost", "INFO", "stopped"),
        ("turn_begun", "DEBUG", None),
        ("turn_lost", "INFO", "taken_over"),
    ]
    assert {vars(record)["session_id"] for record in told} == {"s"}
    assert "secret" not in caplog.text


async def test_hooks_tell_of_replies(redis_backend: ServerBackend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="chat_session")
    registry = CollectorRegistry()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"chat_session_{name}", labels)

    async def fail(*, keep_partial: bool) -> None:
        async with manager.turn("s") as turn, turn.stream(author="Anna", keep_partial=keep_partial) as reply:
            await reply.write("secret")
            raise ZeroDivisionError

    async with redis_backend.open(hooks=[PrometheusHooks(registry)]) as manager:
        await manager.create_session("u", session_id="s", ttl=60)
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("secret")
            assert value("replies_growing") == 1
        for keep_partial in (True, False):
            with pytest.raises(ZeroDivisionError):
                await fail(keep_partial=keep_partial)
    assert value("replies_growing") == 0
    outcomes = ("committed", "partial", "failed", "stopped")
    assert [value("replies_total", outcome=outcome) for outcome in outcomes] == [1, 1, 1, None]
    assert value("messages_total", sender="assistant") == 2
    told = [record for record in caplog.records if vars(record)["action"] in ("reply_begun", "reply_ended")]
    assert [(vars(record)["action"], vars(record).get("outcome")) for record in told] == [
        *(("reply_begun", None), ("reply_ended", "committed")),
        *(("reply_begun", None), ("reply_ended", "partial")),
        *(("reply_begun", None), ("reply_ended", "failed")),
    ]
    assert {(vars(record)["session_id"], record.levelname) for record in told} == {("s", "DEBUG")}
    assert "secret" not in caplog.text
    assert "Anna" not in caplog.text


async def test_prometheus_tells_retries_and_whether_the_store_is_up(redis_backend: ServerBackend) -> None:
    registry = CollectorRegistry()
    hooks = PrometheusHooks(registry)
    async with SessionManager(redis_port=1, redis_max_retries=1, redis_retry_delay=1, hooks=[hooks]) as manager:
        with pytest.raises(StoreUnavailable):
            await manager.is_session_active("s")
    labels = {"operation": "get_agent", "reason": "connection"}
    assert registry.get_sample_value("chat_session_retries_total", labels) == 1
    assert registry.get_sample_value("chat_session_store_up") == 0
    async with redis_backend.open(hooks=[hooks]) as manager:
        await manager.is_session_active("s")
    assert registry.get_sample_value("chat_session_store_up") == 1


async def test_a_failing_hook_is_logged_and_hurts_nobody(
    open_manager: Callable[..., SessionManager], caplog: pytest.LogCaptureFixture
) -> None:
    manager = open_manager(hooks=[Failing()])
    await manager.create_session("u", session_id="s", ttl=60)
    assert await manager.is_session_active("s")
    assert [a for r in caplog.records if (a := vars(r)["action"]) != "store_setting"] == ["hook_failed"] * 2


async def test_log_records_have_stable_fields(
    open_manager: Callable[..., SessionManager], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="chat_session")
    manager = open_manager()
    await manager.create_session("u", session_id="s", ttl=60)
    await manager.cleanup_expired_sessions()
    records: dict[str, Any] = {vars(each)["action"]: each for each in caplog.records if each.name == "chat_session"}
    created = records["create_session"]
    assert (created.session_id, created.outcome, created.levelname) == ("s", "ok", "DEBUG")
    assert created.duration_ms > 0
    assert (records["cleanup"].removed, records["cleanup"].outcome, records["cleanup"].levelname) == (0, "ok", "INFO")


async def test_settings_that_break_a_promise_are_told_when_the_store_is_reached(redis_backend: ServerBackend) -> None:
    told = asyncio.Queue[str]()

    class Listening(Hooks):
        def endangered(self, setting: str, text: str) -> None:
            told.put_nowait(setting)

    async with redis_backend.open(hooks=[Listening()]) as manager:
        await manager.is_session_active("s")
        assert await asyncio.wait_for(told.get(), 5) == "persistence"


@pytest.mark.parametrize(
    ("url", "shown"),
    [("redis://app:secret@127.0.0.1:1/0", "redis://app@127.0.0.1:1/0"), (None, "127.0.0.1:1")],
)
async def test_the_log_names_the_store_that_is_down(
    caplog: pytest.LogCaptureFixture, url: str | None, shown: str
) -> None:
    client = Redis(host="127.0.0.1", port=1, password="secret")
    named: dict[str, Any] = {"chat_session_url": url} if url else {}
    manager = SessionManager(None if url else client, redis_max_retries=0, **named)
    async with manager:
        with pytest.raises(StoreUnavailable) as down:
            await manager.is_session_active("s")
    assert "127.0.0.1:1 " in str(down.value)
    [record] = [record for record in caplog.records if getattr(record, "action", "") == "store_down"]
    assert record.getMessage() == f"The store {shown} is down."
    assert vars(record)["store"] == shown
    await client.aclose()


class Tracing(Hooks):
    """As tracing would: something is open for as long as the call is."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @contextmanager
    def span(self, name: str, session_id: str | None) -> Iterator[None]:
        self.told.append(f"begin {name} {session_id}")
        try:
            yield
        except Exception as error:
            self.told.append(f"{type(error).__name__}")
            raise
        finally:
            self.told.append(f"end {name}")

    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
        self.told.append(f"{name} {outcome}")


UNCLOSABLE: Any = object()


class BrokenTracing(Hooks):
    def span(self, name: str, session_id: str | None) -> AbstractContextManager[object]:
        if name == "create_session":
            raise RuntimeError("cannot begin")
        return closing(UNCLOSABLE)


async def test_a_span_is_open_during_the_call_and_learns_how_it_ended(
    open_manager: Callable[..., SessionManager],
) -> None:
    tracing, other = Tracing(), Tracing()
    manager = open_manager(hooks=[tracing, BrokenTracing(), other])
    await manager.create_session("u", session_id="s")
    with pytest.raises(LookupError):
        await manager.extend_session("nobody")
    assert [found.session_id async for found in Inspector(manager).scan_sessions()] == ["s"]
    assert tracing.told[:3] == ["begin create_session s", "create_session ok", "end create_session"]
    failed = [
        "begin extend_session nobody",
        "extend_session session_not_found",
        "SessionNotFound",
        "end extend_session",
    ]
    assert tracing.told[3:7] == failed
    assert {"begin scan_sessions None", "scan_sessions ok", "end scan_sessions"} <= set(tracing.told[7:])
    assert tracing.told == other.told
