"""The contract of sessions that are restored from elsewhere while people depend on them."""

from chat_session.desk import Desk
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.session import Session
from chat_session.testing.desk.scene import (
    DeskFixture,
    claim,
    events,
    let_wait,
    place,
    until_waiting,
    waiting_ids,
)
from chat_session.testing.sessions.edits import read


async def restore(manager: SessionManager, session_id: str) -> Session:
    """Delete the session, and store it as another store would have told it."""
    fields = (await read(manager, session_id)).to_dict()
    history = await manager.get_history(session_id, 1000, include_internal=True)
    await manager.delete_session(session_id)
    return await Inspector(manager).restore_session(Session.from_dict(fields), history)


class DeskRestoringContract(DeskFixture):
    """Restore sessions that wait, or that an operator has."""

    async def test_a_waiting_session_that_is_restored_waits_at_its_old_place(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "a", "s", "b", reason="a refund", priority=3, team="billing")
        before = await read(manager, "s")
        restored = await restore(manager, "s")
        assert restored.desk == before.desk
        assert (await read(manager, "s")).desk == before.desk
        assert (await read(manager, "s")).ttl == before.ttl
        assert await waiting_ids(manager, "billing") == ["a", "s", "b"]
        assert (await desk.request_human("s")).place == 2
        assert [await claim(manager, "anna") for _ in range(3)] == ["a", "s", "b"]
        assert await events(manager, "s") == ["requested", "claimed"]
        assert (await desk.hand_back("s", "anna")).ttl == before.ttl

    async def test_a_restored_session_stays_with_its_operator_who_gives_a_sign(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "s")
        before = await desk.take_over("s", "anna")
        await restore(manager, "s")
        assert (await read(manager, "s")).desk == before.desk
        assert [entry.session_id for entry in await desk.assigned("anna")] == ["s"]
        await desk.answer("s", "anna", "still here")
        await manager.cleanup_expired_sessions()
        assert await place(manager, "s") == ("assigned", "anna")
        assert (await read(manager, "s")).agent_epoch == before.agent_epoch

    async def test_a_restored_session_whose_operator_is_not_here_waits_again(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "s")
        waiting = (await read(manager, "s")).desk
        session = await desk.take_over("s", "anna")
        fields = session.to_dict() | {"cs:desk": session.desk.to_dict() | {"operatorId": "unknown here"}}
        await manager.delete_session("s")
        await Inspector(manager).restore_session(Session.from_dict(fields))
        assert await place(manager, "s") == ("assigned", "unknown here")
        await until_waiting(manager, "s")
        assert (await read(manager, "s")).desk.waiting_since == waiting.waiting_since
        assert await claim(manager, "ben") == "s"
