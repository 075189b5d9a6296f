"""The contract of turns of sessions that are exported, copied or restored."""

from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.session import Session
from chat_session.testing.turns.scene import answer, ask, create, create_asking, unanswered


async def export(manager: SessionManager, session_id: str) -> Session:
    session = await manager.get_session(session_id)
    assert session is not None
    return session


class TurnCopyContract:
    """Turns of sessions that are exported, copied or restored."""

    async def test_a_session_says_in_its_export_whether_workers_find_it(self, manager: SessionManager) -> None:
        for name, turns in (("with", True), ("without", False)):
            await create(manager, name, turns=turns)
            session = await export(manager, name)
            assert Session.from_dict(session.to_dict()) == session
            assert session.turns == turns
            assert session.metadata == {}

    async def test_a_fork_is_found_as_its_source_is(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        assert (await manager.fork_session("s", new_id="fork")).turns
        assert sorted(await manager.pending_turns()) == ["fork", "s"]
        assert await answer(manager, "fork") == ["question in s"]
        assert await manager.pending_turns() == ["s"]

    async def test_a_fork_of_an_answered_session_has_no_work(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        await answer(manager, "s")
        await manager.fork_session("s", new_id="fork")
        assert await manager.pending_turns() == []
        assert await unanswered(manager, "fork") == []
        await ask(manager, "fork", "something else")
        assert await manager.pending_turns() == ["fork"]
        assert await unanswered(manager, "fork") == ["something else"]

    async def test_a_fork_up_to_a_question_has_that_question_open(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        await answer(manager, "s")
        await manager.fork_session("s", new_id="fork", up_to=1)
        assert await manager.pending_turns() == ["fork"]
        assert await answer(manager, "fork") == ["question in s"]

    async def test_a_restored_session_is_found_if_it_has_a_question(self, manager: SessionManager) -> None:
        await create_asking(manager, "open", "answered", turns=True)
        await answer(manager, "answered")
        for name in ("open", "answered"):
            session = await export(manager, name)
            messages = await Inspector(manager).get_stored_history(name)
            await manager.delete_session(name)
            await Inspector(manager).restore_session(session, messages)
            assert await export(manager, name) == session
        assert await manager.pending_turns() == ["open"]
        assert await unanswered(manager, "open") == ["question in open"]
        assert await unanswered(manager, "answered") == []

    async def test_a_restored_session_that_a_person_has_is_not_found(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        await manager.switch_agent("s", "human")
        session = await export(manager, "s")
        messages = await Inspector(manager).get_stored_history("s")
        await manager.delete_session("s")
        await Inspector(manager).restore_session(session, messages)
        assert await manager.pending_turns() == []
        await manager.switch_agent("s", "ai")
        assert await manager.pending_turns() == ["s"]
