"""The manager for synchronous code."""

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import chat_session
from chat_session import ManagerClosed, SessionNotFound, blocking
from places import SqlitePlace


@pytest.fixture
def connect(place):
    return lambda **settings: blocking.SessionManager.from_url(
        place.url, **{**getattr(place, "settings", {}), **settings}
    )


def test_the_calls_are_those_of_the_asynchronous_manager(connect) -> None:
    with connect() as manager:
        session = manager.create_session("user123", {"name": "客服会话"})
        result = manager.add_message(session.session_id, {"from": "user", "text": "你好"})
        assert manager.get_history(session.session_id) == [result.message]
        assert manager.switch_agent(session.session_id, "human", expect=0).epoch == 1
        assert manager.get_active_sessions_count() == 1
        with pytest.raises(SessionNotFound):
            manager.extend_session("nobody")
        assert manager.cleanup_expired_sessions().cleaned_count == 0
        assert manager.delete_session(session.session_id).success


def test_every_public_call_of_the_manager_is_offered() -> None:
    def calls(cls: type) -> set[str]:
        return {name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")}

    for_operators = {"scan_sessions", "restore_session", "diagnose"}
    assert calls(chat_session.SessionManager) - for_operators == calls(blocking.SessionManager)


def test_several_threads_share_one_manager(connect) -> None:
    with connect(max_message_history=1000) as manager:
        session_id = manager.create_session("u").session_id

        def write(thread: int) -> list[int]:
            return [manager.add_message(session_id, {"from": "user", "text": str(i)}).seq for i in range(20)]

        with ThreadPoolExecutor(8) as threads:
            written = list(threads.map(write, range(8)))
        assert sorted(seq for seqs in written for seq in seqs) == list(range(1, 161))


def test_the_background_thread_ends_with_the_manager() -> None:
    before = threading.active_count()
    manager = blocking.SessionManager.from_url("sqlite:///:memory:")
    manager.create_session("u")
    manager.close()
    manager.close()
    assert threading.active_count() == before
    with pytest.raises(ManagerClosed):
        manager.create_session("u")


def test_a_manager_that_cannot_be_made_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(chat_session.SettingsError):
        blocking.SessionManager.from_url("nonsense://")
    assert threading.active_count() == before


def test_a_cleanup_runs_in_the_background(tmp_path) -> None:
    place = SqlitePlace(tmp_path / "chat.db")
    with blocking.SessionManager.from_url(place.url) as manager, blocking.SessionCleanup(manager, 3600) as cleanup:
        assert cleanup.get_status().is_running
        assert cleanup.cleanup().cleaned_count == 0
        cleanup.stop()
        assert not cleanup.get_status().is_running
