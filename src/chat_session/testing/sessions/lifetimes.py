"""The contract of lifetimes: deadlines, how activity moves them, and what remains of dead sessions."""

from collections.abc import Callable

import pytest

from chat_session.errors import ChatSessionError, SessionNotFound
from chat_session.manager import SessionManager
from chat_session.testing.backend import Backend
from chat_session.testing.waiting import until, until_dead


class LifetimeContract:
    """TTL and expiry."""

    async def test_the_time_left_is_told_in_seconds(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u", ttl=100)).session_id
        assert 99 <= await manager.get_session_ttl(session_id) <= 100
        await manager.set_session_ttl(session_id, 5000)
        assert 4999 <= await manager.get_session_ttl(session_id) <= 5000
        assert (await manager.get_session(session_id)).ttl == 5000  # type: ignore[union-attr]

    async def test_the_default_comes_from_the_settings(self, open_manager: Callable[..., SessionManager]) -> None:
        manager = open_manager(default_session_ttl=77)
        session = await manager.create_session("u")
        assert session.ttl == 77
        assert 76 <= await manager.get_session_ttl(session.session_id) <= 77

    async def test_never_may_be_the_default(self, open_manager: Callable[..., SessionManager]) -> None:
        manager = open_manager(default_session_ttl=None)
        session = await manager.create_session("u")
        session_id = session.session_id
        assert session.ttl is None
        await manager.add_message(session_id, {"from": "user", "text": "x"})
        await manager.switch_agent(session_id, "human", note="x")
        await manager.extend_session(session_id)
        assert await manager.get_session_ttl(session_id) == -1
        assert await manager.get_active_sessions_count() == 1
        limited = await manager.create_session("u", ttl=100)
        assert limited.ttl == 100
        assert 99 <= await manager.get_session_ttl(limited.session_id) <= 100
        await manager.delete_session(session_id)

    async def test_a_session_may_live_for_ever(self, manager: SessionManager) -> None:
        session = await manager.create_session("u", ttl=None)
        session_id = session.session_id
        assert session.ttl is None
        await manager.add_message(session_id, {"from": "user", "text": "x"})
        await manager.switch_agent(session_id, "human")
        await manager.extend_session(session_id)
        assert await manager.get_session_ttl(session_id) == -1
        assert await manager.get_active_sessions_count() == 1
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 0
        await manager.set_session_ttl(session_id, 60)
        assert 59 <= await manager.get_session_ttl(session_id) <= 60
        await manager.set_session_ttl(session_id, None)
        assert await manager.get_session_ttl(session_id) == -1
        await manager.delete_session(session_id)

    async def test_writes_slide_the_deadline_by_the_sessions_own_ttl(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u", ttl=8)).session_id

        async def has_aged() -> bool:
            return await manager.get_session_ttl(session_id) <= 7

        writes: tuple[Callable[[], object], ...] = (
            lambda: manager.add_message(session_id, {"id": "m", "from": "user", "text": "x"}),
            lambda: manager.add_message(session_id, {"id": "m", "from": "user", "text": "x"}),  # a repeat is activity
            lambda: manager.switch_agent(session_id, "human"),
            lambda: manager.extend_session(session_id),
        )
        for write in writes:
            await until(has_aged)
            await write()  # type: ignore[misc]
            assert await manager.get_session_ttl(session_id) == 8

    async def test_activity_is_stamped(self, manager: SessionManager) -> None:
        session = await manager.create_session("u")

        async def clock_moved() -> bool:
            await manager.extend_session(session.session_id)
            seen = await manager.get_session(session.session_id)
            return seen is not None and seen.last_active_at > session.last_active_at

        await until(clock_moved)

    async def test_reading_and_updating_extend_nothing(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u", ttl=8)).session_id

        async def has_aged() -> bool:
            return await manager.get_session_ttl(session_id) <= 7

        await until(has_aged)
        await manager.get_session(session_id)
        await manager.get_history(session_id)
        await manager.update_session(session_id, {"a": 1})
        assert await manager.get_session_ttl(session_id) <= 7

    async def test_a_session_dies_at_its_deadline_whole(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u", ttl=1)).session_id
        await manager.add_message(session_id, {"from": "user", "text": "x"})
        await until_dead(manager, session_id)
        assert await manager.get_session(session_id) is None
        assert await manager.get_history(session_id) == []
        assert await manager.get_session_ttl(session_id) == -2
        assert await manager.get_user_sessions("u") == []
        assert not (await manager.delete_session(session_id)).success

    async def test_no_write_brings_a_dead_session_back(self, manager: SessionManager, backend: Backend) -> None:
        session_id = (await manager.create_session("u", ttl=1)).session_id
        await manager.add_message(session_id, {"id": "m", "from": "user", "text": "x"})
        await until_dead(manager, session_id)
        before = await backend.digest(manager)
        writes = (
            lambda: manager.update_session(session_id, {"a": 1}),
            lambda: manager.extend_session(session_id),
            lambda: manager.add_message(session_id, {"id": "m", "from": "user", "text": "x"}),
            lambda: manager.switch_agent(session_id, "human", note="x"),
            lambda: manager.set_session_ttl(session_id, 60),
        )
        for write in writes:
            with pytest.raises(SessionNotFound):
                await write()
        assert await backend.digest(manager) == before

    async def test_the_id_of_a_dead_session_starts_empty(self, manager: SessionManager) -> None:
        await manager.create_session("u1", {"old": 1}, session_id="again", ttl=1)
        await manager.add_message("again", {"id": "m", "from": "user", "text": "old"})
        await until_dead(manager, "again")
        await manager.create_session("u2", session_id="again", ttl=60)
        assert await manager.get_history("again") == []
        assert (await manager.add_message("again", {"id": "m", "from": "user", "text": "old"})).seq == 1
        assert await manager.get_user_sessions("u1") == []
        assert [s.session_id for s in await manager.get_user_sessions("u2")] == ["again"]
        assert await manager.get_active_sessions_count() == 1
        await manager.cleanup_expired_sessions()
        assert await manager.get_active_sessions_count() == 1

    async def test_errors_say_what_happened_and_what_to_do(self, manager: SessionManager) -> None:
        with pytest.raises(ChatSessionError) as refused:
            await manager.extend_session("nobody")
        assert "nobody" in str(refused.value)
        assert "create_session" in str(refused.value)
        assert (refused.value.code, refused.value.retryable) == ("session_not_found", False)
