"""The contract of the indexes: lists and counts are exact, and each death is counted once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from chat_session.cleanup import SessionCleanup
from chat_session.errors import InvalidInput
from chat_session.manager import SessionManager
from chat_session.testing.backend import Backend
from chat_session.testing.waiting import until, until_dead


class IndexContract:
    """Lists, counts and cleanup."""

    async def test_a_users_sessions_come_last_active_first(self, manager: SessionManager) -> None:
        created = [await manager.create_session("u", session_id=f"s{i}") for i in range(5)]
        await manager.create_session("other")
        newest = max(session.created_at for session in created)

        async def touched_later() -> bool:
            await manager.extend_session("s2")
            seen = await manager.get_session("s2")
            return seen is not None and seen.last_active_at > newest

        await until(touched_later)
        sessions = await manager.get_user_sessions("u")
        assert sessions[0].session_id == "s2"
        assert {s.session_id for s in sessions} == {f"s{i}" for i in range(5)}
        stamps = [s.last_active_at for s in sessions]
        assert stamps == sorted(stamps, reverse=True)
        assert await manager.get_user_sessions("u", limit=2) == sessions[:2]
        assert await manager.get_user_sessions("nobody") == []

    async def test_a_users_sessions_come_in_pages_that_meet_each_once(self, manager: SessionManager) -> None:
        created = [(await manager.create_session("u", session_id=f"s{i}")).session_id for i in range(23)]
        await manager.delete_session("s20")
        created.remove("s20")
        pages: list[list[str]] = []
        cursor: str | None = None
        while True:
            page = await manager.list_user_sessions("u", limit=5, cursor=cursor)
            pages.append([session.session_id for session in page.sessions])
            await manager.extend_session("s3")  # activity moves nothing
            cursor = page.cursor
            if cursor is None:
                break
        assert [len(page) for page in pages] == [5, 5, 5, 5, 2]
        assert [session_id for page in pages for session_id in page] == created[::-1]
        assert (await manager.list_user_sessions("nobody")).sessions == []

    @pytest.mark.parametrize("cursor", ["", "x", "x" * 3000, "é", "WzEsInVzZXIiXQ", "WzEsImFsbCIsIngiXQ"])
    async def test_a_cursor_that_no_page_of_a_users_sessions_gave_is_refused(
        self, manager: SessionManager, cursor: str
    ) -> None:
        with pytest.raises(InvalidInput, match="cursor"):
            await manager.list_user_sessions("u", cursor=cursor)

    async def test_ids_that_people_have_are_never_taken_for_others(self, manager: SessionManager) -> None:
        ids = ["telegram:123", "a@b.c", "+49301234", "x:meta", "x", "x=y", "x:u"]
        for session_id in ids:
            await manager.create_session("u:v/w", session_id=session_id, ttl=600)
            await manager.add_message(session_id, {"from": "user", "text": session_id})
        assert await manager.get_active_sessions_count() == len(ids)
        assert [s.session_id for s in (await manager.list_user_sessions("u:v/w")).sessions] == ids[::-1]
        await manager.set_session_ttl("x:u", 1)
        await until_dead(manager, "x:u")
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 1
        await manager.delete_session("x")
        for session_id in ids[:-1]:
            history = await manager.get_history(session_id)
            assert [m.text for m in history] == ([] if session_id == "x" else [session_id])
        assert await manager.get_active_sessions_count() == len(ids) - 2

    async def test_the_count_is_exact_while_sessions_come_and_go(self, manager: SessionManager) -> None:
        assert await manager.get_active_sessions_count() == 0
        for i in range(40):
            await manager.create_session(f"u{i % 3}", session_id=f"long{i}", ttl=3600)
        for i in range(25):
            await manager.create_session(f"u{i % 3}", session_id=f"short{i}", ttl=1)
        assert await manager.get_active_sessions_count() == 65
        await until_dead(manager, "short24")
        assert await manager.get_active_sessions_count() == 40
        assert await manager.get_active_sessions_count() == 40
        for i in range(10):
            await manager.delete_session(f"long{i}")
        assert await manager.get_active_sessions_count() == 30
        assert len(await manager.get_user_sessions("u0")) == 10
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 25
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 0
        assert await manager.get_active_sessions_count() == 30

    async def test_a_deleted_session_is_not_counted_although_others_counted_and_swept_meanwhile(
        self, manager: SessionManager
    ) -> None:
        done = asyncio.Event()

        async def look(call: Callable[[], Awaitable[object]]) -> None:
            while not done.is_set():
                await call()

        async def come_and_go(number: int) -> None:
            for i in range(50):
                session = await manager.create_session(f"u{number}", ttl=None if i % 2 else 600)
                await manager.delete_session(session.session_id)

        calls = (manager.get_active_sessions_count, manager.cleanup_expired_sessions)
        async with asyncio.TaskGroup() as group:
            for call in calls * 2:
                group.create_task(look(call))
            await asyncio.gather(*(come_and_go(number) for number in range(8)))
            done.set()
        assert await manager.get_active_sessions_count() == 0
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 0

    async def test_a_shorter_ttl_is_noticed_by_the_count(self, manager: SessionManager) -> None:
        await manager.create_session("u", session_id="a", ttl=3600)
        await manager.create_session("u", session_id="b", ttl=None)
        for session_id in ("a", "b"):
            await manager.set_session_ttl(session_id, 1)
        await until_dead(manager, "b")
        await until_dead(manager, "a")
        assert await manager.get_active_sessions_count() == 0
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 2

    async def test_a_session_kept_alive_by_appends_is_counted_and_not_swept(self, manager: SessionManager) -> None:
        await manager.create_session("u", session_id="busy", ttl=8)
        await manager.create_session("u", session_id="idle", ttl=2)

        async def idle_is_dead() -> bool:
            await manager.add_message("busy", {"from": "user", "text": "x"})
            return not await manager.is_session_active("idle")

        await until(idle_is_dead)
        assert await manager.get_active_sessions_count() == 1
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 1
        assert [s.session_id for s in await manager.get_user_sessions("u")] == ["busy"]
        assert len(await manager.get_history("busy")) >= 1

    async def test_counting_and_listing_leave_the_counting_of_deaths_to_the_sweep(
        self, manager: SessionManager
    ) -> None:
        for i in range(7):
            await manager.create_session("u", session_id=f"s{i}", ttl=1)
        await until_dead(manager, "s6")
        assert await manager.get_user_sessions("u") == []
        assert await manager.get_active_sessions_count() == 0
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 7

    async def test_nothing_is_left_after_all_have_died_and_a_sweep(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        empty = await backend.digest(manager)
        for i in range(30):
            session = await manager.create_session(f"u{i % 4}", {"n": i}, ttl=1)
            await manager.add_message(session.session_id, {"from": "user", "text": "x"})
        await until_dead(manager, session.session_id)
        await manager.cleanup_expired_sessions()
        assert await backend.digest(manager) == empty

    async def test_eight_sweepers_count_each_death_once(
        self, backend: Backend, open_manager: Callable[..., SessionManager]
    ) -> None:
        if not backend.shared:
            pytest.skip("one manager sees this store")
        managers = [open_manager() for _ in range(8)]
        await asyncio.gather(
            *(managers[0].create_session(f"u{i % 9}", session_id=f"dead{i}", ttl=1) for i in range(160)),
            *(managers[0].create_session(f"u{i % 9}", session_id=f"live{i}", ttl=60) for i in range(40)),
        )

        async def all_are_dead() -> bool:
            return await managers[0].get_active_sessions_count() == 40

        await until(all_are_dead)
        sweeps = await asyncio.gather(*(SessionCleanup(manager).cleanup() for manager in managers))
        assert sum(sweep.cleaned_count for sweep in sweeps) == 160
        assert await managers[0].get_active_sessions_count() == 40
        assert sum([len(await managers[1].get_user_sessions(f"u{i}")) for i in range(9)]) == 40
