"""The contract of the operator capability: scan, list all sessions by page, diagnose, restore."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from chat_session.errors import InvalidInput
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.session import Agent, Session
from chat_session.testing.backend import Backend
from chat_session.testing.sessions.lifecycle import metadata_of
from chat_session.testing.waiting import until_dead


class OperatorContract:
    """What the operators of a system ask of a store, across all users."""

    async def test_every_living_session_is_scanned_once(self, manager: SessionManager) -> None:
        created = [await manager.create_session(f"u{i % 7}") for i in range(60)]
        assert await _scan(manager) == sorted(session.session_id for session in created)

    async def test_a_scan_shows_no_dead_session_before_and_after_a_sweep(self, manager: SessionManager) -> None:
        await asyncio.gather(
            *(manager.create_session(f"u{i % 9}", session_id=f"dead{i}", ttl=1) for i in range(20)),
            *(manager.create_session(f"u{i % 9}", session_id=f"live{i}", ttl=60) for i in range(40)),
        )
        for i in range(20):
            await until_dead(manager, f"dead{i}")
        for _ in range(2):
            assert await _scan(manager) == sorted(f"live{i}" for i in range(40))
            await manager.cleanup_expired_sessions()

    async def test_all_sessions_come_in_pages_also_those_of_one_agent(self, manager: SessionManager) -> None:
        for i in range(23):
            first: Agent = "human" if i % 5 == 0 else "ai"
            await manager.create_session(f"u{i % 3}", session_id=f"s{i}", ttl=None if i % 2 else 600, agent=first)
        chosen: list[tuple[Agent | None, set[int]]] = [(None, set(range(23))), ("human", {0, 5, 10, 15, 20})]
        for agent, expected in chosen:
            found: list[str] = []
            cursor: str | None = None
            while True:
                page = await Inspector(manager).list_sessions(cursor, 4, agent=agent)
                assert len(page.sessions) <= 4
                found += [session.session_id for session in page.sessions]
                cursor = page.cursor
                if cursor is None:
                    break
            assert sorted(found) == sorted(f"s{i}" for i in expected)

    @pytest.mark.parametrize("cursor", ["", "x", "x" * 3000, "é", "WzEsInVzZXIiXQ"])
    async def test_a_cursor_that_no_page_of_all_sessions_gave_is_refused(
        self, manager: SessionManager, cursor: str
    ) -> None:
        with pytest.raises(InvalidInput, match="cursor"):
            await Inspector(manager).list_sessions(cursor)

    async def test_of_the_same_millisecond_the_session_that_was_created_later_comes_first(
        self, manager: SessionManager
    ) -> None:
        moments = [datetime(2026, 1, 31, 8, tzinfo=UTC) + timedelta(milliseconds=ms) for ms in (5, 5, 0, 5, 0, 9, 5)]
        for i, moment in enumerate(moments):
            await Inspector(manager).restore_session(
                Session(session_id=f"s{i}", user_id="u", created_at=moment, last_active_at=moment, ttl=600)
            )
        listed: list[str] = []
        cursor = None
        for _ in range(4):
            page = await manager.list_user_sessions("u", limit=2, cursor=cursor)
            listed += [session.session_id for session in page.sessions]
            cursor = page.cursor
        assert (listed, cursor) == (["s5", "s6", "s3", "s1", "s0", "s4", "s2"], None)

    async def test_a_session_restored_from_elsewhere_is_as_it_was(self, manager: SessionManager) -> None:
        session = await manager.create_session("u", {"a": [1]}, ttl=100)
        await manager.add_messages(session.session_id, [{"from": "user", "text": str(i)} for i in range(3)])
        await manager.switch_agent(session.session_id, "human")
        seen = await manager.get_session(session.session_id)
        assert seen is not None
        history = await manager.get_history(session.session_id)
        await manager.delete_session(session.session_id)
        restored = await Inspector(manager).restore_session(Session.from_dict(seen.to_dict()), history[1:], ttl_left=50)
        assert restored == seen == await manager.get_session(session.session_id)
        assert 49 <= await manager.get_session_ttl(session.session_id) <= 50
        assert await manager.get_history(session.session_id) == history[1:]
        assert (await manager.add_message(session.session_id, history[2])).duplicate
        assert (await manager.add_message(session.session_id, {"from": "user", "text": "next"})).seq == 4
        assert 99 <= await manager.get_session_ttl(session.session_id) <= 100

    async def test_a_message_that_was_restored_with_its_timestamp_can_be_sent_without(
        self, manager: SessionManager
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.add_message(session_id, {"id": "m", "from": "user", "text": "x"})
        seen, history = await manager.get_session(session_id), await manager.get_history(session_id)
        assert seen is not None
        await manager.delete_session(session_id)
        await Inspector(manager).restore_session(seen, [*history, *history])
        assert await manager.get_history(session_id) == history
        assert (await manager.add_message(session_id, {"id": "m", "from": "user", "text": "x"})).duplicate

    @pytest.mark.parametrize("letter", ["x", "漢", '"'])
    async def test_a_restored_session_with_too_much_metadata_is_refused_by_its_size(
        self, manager: SessionManager, letter: str
    ) -> None:
        full = metadata_of(65_536, letter)
        session = await manager.create_session("u", full)
        other = msgspec.structs.replace(session, session_id="other", metadata={**full, "pad": full["pad"] + "x"})
        with pytest.raises(InvalidInput, match=r"at most 65,536 bytes.*got 65,537 bytes"):
            await Inspector(manager).restore_session(other)
        assert await manager.get_session("other") is None
        assert await Inspector(manager).restore_session(msgspec.structs.replace(other, metadata=full)) is not None

    async def test_a_healthy_store_is_diagnosed_without_errors(self, manager: SessionManager) -> None:
        for i in range(20):
            session = await manager.create_session(f"u{i % 3}", ttl=600)
            await manager.add_message(session.session_id, {"from": "user", "text": "x"})
        assert [finding for finding in await Inspector(manager).diagnose() if finding.level == "error"] == []

    async def test_a_repair_of_a_healthy_store_changes_nothing(self, manager: SessionManager, backend: Backend) -> None:
        session_id = (await manager.create_session("u", ttl=600)).session_id
        await manager.add_message(session_id, {"from": "user", "text": "x"})
        before = await backend.digest(manager)
        await Inspector(manager).diagnose(repair=True)
        assert await backend.digest(manager) == before


async def _scan(manager: SessionManager) -> list[str]:
    """The ids of all sessions, in order. Each must be readable."""
    found = [session async for session in Inspector(manager).scan_sessions()]
    assert all(isinstance(session, Session) for session in found)
    return sorted(session.session_id or "" for session in found)
