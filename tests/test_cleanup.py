"""SessionCleanup: when it runs, that it survives a failing run, and that it ends when asked."""

import asyncio
from collections.abc import Callable

import pytest

from chat_session import Desk, Hooks, NoEventLoop, SessionCleanup, SessionManager, StoreUnavailable
from chat_session.clock import to_iso
from chat_session.testing import until
from testkit.backends import Backend, ServerBackend


class Runs(Hooks):
    def __init__(self) -> None:
        self.removed: list[int] = []
        self.outcomes: list[str] = []

    def cleaned(self, removed: int, seconds: float, outcome: str) -> None:
        self.removed.append(removed)
        self.outcomes.append(outcome)

    async def are(self, count: int) -> bool:
        return len(self.outcomes) >= count


async def test_it_cleans_at_every_interval_until_it_is_stopped(
    backend: Backend, open_manager: Callable[..., SessionManager]
) -> None:
    runs = Runs()
    manager: SessionManager = open_manager(hooks=[runs])
    for i in range(3):
        await manager.create_session("u", session_id=f"s{i}", ttl=1)
    cleanup = SessionCleanup(manager, interval=0.05)
    assert (cleanup.get_status().is_running, cleanup.get_status().next_cleanup) == (False, None)
    cleanup.start()
    status = cleanup.get_status()
    assert (status.is_running, status.interval) == (True, 0.05)
    assert status.next_cleanup is not None

    async def all_removed() -> bool:
        return sum(runs.removed) == 3

    await until(all_removed)
    await cleanup.stop()
    assert not cleanup.get_status().is_running
    assert "chat-session cleanup" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_starting_twice_makes_one_loop_and_stopping_before_the_start_is_no_error(
    open_manager: Callable[..., SessionManager],
) -> None:
    runs = Runs()
    manager = open_manager(hooks=[runs])
    cleanup = SessionCleanup(manager, interval=3600)
    await cleanup.stop()
    await cleanup.start()
    before = cleanup.get_status()
    cleanup.start()
    assert cleanup.get_status() == before
    assert sum(task.get_name() == "chat-session cleanup" for task in asyncio.all_tasks()) == 1
    await cleanup.stop()
    await cleanup.stop()
    async with cleanup:
        assert cleanup.get_status().is_running
    assert not cleanup.get_status().is_running


async def test_a_failing_run_is_logged_and_the_next_one_still_comes(
    redis_backend: ServerBackend, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs()
    async with redis_backend.open(hooks=[runs], redis_max_retries=0) as manager:
        with redis_backend.server.client() as client:
            client.set("sessions:due:0", "not a sorted set")
            async with SessionCleanup(manager, interval=0.02):
                await until(lambda: runs.are(2))
                assert set(runs.outcomes) == {"error"}
                assert "store_corrupt" in caplog.text
                client.delete("sessions:due:0")

                async def recovered() -> bool:
                    return "ok" in runs.outcomes

                await until(recovered)


async def test_stop_waits_for_the_run_in_progress(redis_backend: ServerBackend) -> None:
    runs = Runs()
    async with redis_backend.open(hooks=[runs]) as manager:
        await manager.is_session_active("connected")
        with redis_backend.server.client() as client:
            cleanup = SessionCleanup(manager, interval=0.01)
            client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
            try:
                cleanup.start()
                while manager._calls.in_flight < 2:  # the run, and the sweep of the desk, which may begin before it
                    await asyncio.sleep(0.001)
                stopping = asyncio.create_task(cleanup.stop())
                await asyncio.wait_for(cleanup._stopping.wait(), 10)
                assert (stopping.done(), runs.outcomes) == (False, [])
            finally:
                client.execute_command("CLIENT", "UNPAUSE")
            await stopping
            assert runs.outcomes == ["ok"]


async def test_the_interval_comes_from_the_settings_and_is_jittered(
    open_manager: Callable[..., SessionManager],
) -> None:
    manager = open_manager(cleanup_interval=1000)
    cleanups = [SessionCleanup(manager) for _ in range(20)]
    for cleanup in cleanups:
        cleanup.start()
    moments = {cleanup.get_status().next_cleanup for cleanup in cleanups}
    assert {cleanup.get_status().interval for cleanup in cleanups} == {1000}
    assert len(moments) > 15


async def test_a_cleanup_by_hand_raises_what_went_wrong() -> None:
    async with SessionManager(redis_port=1, redis_max_retries=0) as manager:
        with pytest.raises(StoreUnavailable):
            await SessionCleanup(manager).cleanup()


def test_a_start_without_an_event_loop_is_refused_and_says_where_to_start() -> None:
    cleanup = SessionCleanup(SessionManager.from_url("sqlite:///:memory:"))
    with pytest.raises(NoEventLoop, match=r"chat_session\.blocking"):
        cleanup.start()
    assert not cleanup.get_status().is_running


async def test_the_status_as_a_mapping_is_fit_for_json(open_manager: Callable[..., SessionManager]) -> None:
    async with SessionCleanup(open_manager(), interval=5) as cleanup:
        status = cleanup.get_status()
        assert status.next_cleanup is not None
        planned = to_iso(status.next_cleanup)
        assert status.to_dict() == {"isRunning": True, "interval": 5.0, "nextCleanup": planned}
    assert cleanup.get_status().to_dict() == {"isRunning": False, "interval": 5.0, "nextCleanup": None}


async def test_the_desk_is_swept_long_before_the_next_cleanup(open_manager: Callable[..., SessionManager]) -> None:
    manager = open_manager(claim_lease=0.2)
    await manager.create_session("u", session_id="s")
    await Desk(manager).take_over("s", "anna")

    async def waits() -> bool:
        session = await manager.get_session("s")
        return session is not None and session.desk.state == "waiting"

    async with SessionCleanup(manager, interval=3600):
        await until(waits)
