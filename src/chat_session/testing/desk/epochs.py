"""The contract of epochs: late writes are refused, what tools did is recorded, and other switches are seen."""

from typing import Any

import pytest

from chat_session.desk import Desk
from chat_session.errors import AgentConflict, DeskConflict, SessionNotFound
from chat_session.manager import SessionManager
from chat_session.testing.backend import Backend
from chat_session.testing.desk.scene import LATE, DeskFixture, claim, create, let_wait, markers, place, waiting_ids
from chat_session.testing.sessions.edits import read

RECORD: dict[str, Any] = {"from": "tool", "text": "order 17 is made", "internal": True}


class EpochContract(DeskFixture):
    """Checks of the epoch, records of tools, and switches that bypass the desk."""

    async def test_the_epoch_is_checked_before_a_tool_runs(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        await manager.check_epoch("s", 0)
        session = await desk.take_over("s", "anna")
        for epoch in (0, session.agent_epoch + 1):
            with pytest.raises(AgentConflict) as refused:
                await manager.check_epoch("s", epoch)
            assert (refused.value.session_id, refused.value.expected) == ("s", epoch)
            assert (refused.value.current_epoch, refused.value.current_agent) == (session.agent_epoch, "human")
        await manager.check_epoch("s", session.agent_epoch)
        with pytest.raises(SessionNotFound):
            await manager.check_epoch("missing", 0)

    async def test_checking_the_epoch_changes_nothing(self, manager: SessionManager, backend: Backend) -> None:
        await create(manager, "s")
        before = await backend.digest(manager)
        await manager.check_epoch("s", 0)
        with pytest.raises(AgentConflict):
            await manager.check_epoch("s", 1)
        assert await backend.digest(manager) == before

    async def test_an_internal_message_of_an_epoch_that_is_over_is_stored(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        result = await manager.add_message("s", {"id": "r1", **RECORD}, epoch=0)
        assert (result.success, result.seq) == (True, 2)
        assert (await manager.add_message("s", {"id": "r1", **RECORD}, epoch=0)).duplicate
        await desk.hand_back("s", "anna")
        batch = [{"id": "r2", **RECORD}, {"id": "r3", **RECORD, "from": "assistant"}]
        assert [result.seq for result in await manager.add_messages("s", batch, epoch=0)] == [4, 5]
        stored = await manager.get_history("s", include_internal=True)
        assert [message.id for message in stored if message.type != "handoff"] == ["r1", "r2", "r3"]
        assert await manager.get_history("s") == []

    async def test_what_a_customer_can_see_is_refused_when_its_epoch_is_over(
        self, manager: SessionManager, desk: Desk, backend: Backend
    ) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        before = await backend.digest(manager)
        visible: dict[str, Any] = {"from": "tool", "text": "x"}
        batches: list[list[dict[str, Any]]] = [[LATE], [RECORD, LATE], [LATE, RECORD], [RECORD, visible]]
        for batch in batches:
            with pytest.raises(AgentConflict) as refused:
                await manager.add_messages("s", batch, epoch=0)
            assert len(refused.value.messages) == len(batch)
        with pytest.raises(AgentConflict):
            await manager.add_message("s", LATE, epoch=0)
        assert await backend.digest(manager) == before

    async def test_with_a_condition_the_epoch_refuses_internal_messages_too(
        self, manager: SessionManager, desk: Desk, backend: Backend
    ) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        before = await backend.digest(manager)
        conditions: list[dict[str, Any]] = [{"expect_metadata": {}}, {"metadata": {"order": 17}}, {"expect_seq": 1}]
        for condition in conditions:
            with pytest.raises(AgentConflict):
                await manager.add_messages("s", [{"id": "r1", **RECORD}], epoch=0, **condition)
        assert await backend.digest(manager) == before

    async def test_a_switch_to_a_person_is_a_takeover_by_an_unknown_operator(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        await let_wait(manager, "waiting", reason="a refund")
        for session_id in ("s", "waiting"):
            await manager.switch_agent(session_id, "human")
            assert await place(manager, session_id) == ("assigned", None)
            session = await read(manager, session_id)
            assert session.desk.since is not None
            assert session.agent_switched_at is not None
            assert abs((session.desk.since - session.agent_switched_at).total_seconds()) < 0.01
            ticket = await desk.request_human(session_id)
            assert (ticket.state, ticket.place) == ("assigned", 0)
            for refused in (
                desk.transfer(session_id, "anna", to="ben"),
                desk.decline(session_id, "anna"),
                desk.take_over(session_id, "anna", expect="waiting"),
                desk.answer(session_id, "anna", "x", polite=True),
            ):
                with pytest.raises(DeskConflict) as error:
                    await refused
                assert (error.value.state, error.value.operator_id) == ("assigned", None)
        assert await claim(manager, "anna") is None
        assert (await read(manager, "waiting")).desk.reason == "a refund"
        await desk.take_over("s", "anna")
        assert "before" not in (await markers(manager, "s"))[-1]
        assert await place(manager, "s") == ("assigned", "anna")
        session = await desk.hand_back("waiting", "anna")
        assert (session.desk.state, session.current_agent) == ("open", "ai")

    async def test_a_switch_to_the_ai_is_a_hand_back_by_an_unknown_operator(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "waiting", "assigned")
        await desk.take_over("assigned", "anna")
        for session_id in ("waiting", "assigned"):
            await manager.switch_agent(session_id, "ai")
            assert await place(manager, session_id) == ("open", None)
            found = (await read(manager, session_id)).desk
            assert (found.waiting_since, found.reason, found.priority, found.team) == (None, None, 0, None)
            assert (await read(manager, session_id)).ttl == 600
        assert await claim(manager, "ben") is None
        assert await waiting_ids(manager) == []
        before = (await read(manager, "assigned")).agent_epoch
        assert (await desk.hand_back("assigned", "anna")).agent_epoch == before
        await desk.answer("assigned", "anna", "one more thing")
        assert (await markers(manager, "assigned"))[-1] == {"event": "answered", "operatorId": "anna"}
        assert (await desk.request_human("waiting")).place == 1
        assert await claim(manager, "ben") == "waiting"

    async def test_a_claim_passes_over_sessions_that_were_switched_without_the_desk(
        self, manager: SessionManager
    ) -> None:
        await let_wait(manager, "to-ai", "to-human", "kept")
        await manager.switch_agent("to-ai", "ai")
        await manager.switch_agent("to-human", "human")
        assert [await claim(manager, "anna") for _ in range(2)] == ["kept", None]
        assert await place(manager, "to-ai") == ("open", None)
        assert await place(manager, "to-human") == ("assigned", None)

    async def test_a_session_created_for_a_person_has_an_unknown_operator(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s", agent="human")
        assert await place(manager, "s") == ("assigned", None)
        assert (await desk.request_human("s")).state == "assigned"
        assert (await desk.take_over("s", "anna")).desk.operator_id == "anna"
