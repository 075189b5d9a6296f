"""The contract of hand-backs: the session returns to the AI, which can read what happened."""

import asyncio

import pytest

from chat_session.desk import Desk
from chat_session.errors import AgentConflict, DeskConflict
from chat_session.manager import SessionManager
from chat_session.testing.desk.scene import (
    LATE,
    DeskFixture,
    create,
    events,
    let_wait,
    markers,
    place,
    stored,
    waiting_ids,
)
from chat_session.testing.sessions.edits import read


class HandBackContract(DeskFixture):
    """Hand back to the AI."""

    async def test_a_hand_back_returns_the_session_to_the_ai_in_a_new_epoch(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "s", reason="a refund", priority=5, team="billing")
        taken = await desk.take_over("s", "anna")
        session = await desk.hand_back("s", "anna", note="refunded", say="Anything else?", resolved=True)
        assert session == await read(manager, "s")
        assert (session.current_agent, session.agent_epoch) == ("ai", taken.agent_epoch + 1)
        found = session.desk
        assert (found.state, found.operator_id, found.waiting_since, found.reason, found.priority, found.team) == (
            *("open", None, None),
            *(None, 0, None),
        )
        marker, told = (await manager.get_history("s", include_internal=True))[-2:]
        assert (marker.type, marker.internal) == ("handoff", True)
        facts = marker.extra["handoff"]
        assert facts.pop("seconds") >= 0
        assert facts == {"event": "handed_back", "operatorId": "anna", "note": "refunded", "resolved": True}
        assert (told.sender, told.text, told.type, told.internal) == ("assistant", "Anything else?", None, False)
        assert await desk.assigned("anna") == []
        assert await waiting_ids(manager) == []

    async def test_the_ai_reads_what_happened_and_goes_on_in_the_new_epoch(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        await desk.answer("s", "anna", "hello")
        session = await desk.hand_back("s", "anna", note="wants an invoice")
        window = await manager.get_window("s")
        assert "wants an invoice" in window[-1].text
        assert "anna" in window[-1].text
        await manager.check_epoch("s", session.agent_epoch)
        reply = await manager.add_message("s", {"from": "assistant", "text": "here"}, epoch=session.agent_epoch)
        assert reply.success
        assert all("invoice" not in message.text for message in await manager.get_history("s"))

    async def test_replies_computed_while_the_operator_had_it_are_refused_after_the_hand_back(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        taken = await desk.take_over("s", "anna")
        await desk.hand_back("s", "anna")
        for epoch in range(taken.agent_epoch + 1):
            with pytest.raises(AgentConflict):
                await manager.add_message("s", LATE, epoch=epoch)
            with pytest.raises(AgentConflict):
                await manager.check_epoch("s", epoch)
        assert await manager.get_history("s") == []

    async def test_a_repeated_hand_back_changes_nothing(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        await desk.hand_back("s", "anna", say="bye")
        before = await stored(manager, "s")
        again = await desk.hand_back("s", "anna", say="bye", note="again", resolved=True)
        assert before.session is not None
        assert (again.desk, again.agent_epoch) == (before.session.desk, before.session.agent_epoch)
        assert (await stored(manager, "s")).messages == before.messages
        await create(manager, "never-handled")
        session = await desk.hand_back("never-handled", "anna", say="bye")
        assert (session.agent_epoch, session.message_count, session.desk.state) == (0, 0, "open")

    async def test_another_operator_hands_nothing_back(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        taken = await desk.take_over("s", "anna")
        before = await stored(manager, "s")
        with pytest.raises(DeskConflict) as refused:
            await desk.hand_back("s", "ben", note="x", say="x", resolved=True)
        assert (refused.value.operator_id, refused.value.since) == ("anna", taken.desk.since)
        assert await stored(manager, "s") == before

    async def test_any_operator_hands_a_waiting_session_back(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s", "other")
        session = await desk.hand_back("s", "anna", note="a prank")
        assert (session.desk.state, session.current_agent, session.agent_epoch) == ("open", "ai", 2)
        assert (await markers(manager, "s"))[-1] == {"event": "handed_back", "operatorId": "anna", "note": "a prank"}
        assert await waiting_ids(manager) == ["other"]

    async def test_a_session_goes_round_again_after_a_hand_back(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s", reason="one", priority=9, team="billing")
        await let_wait(manager, "other")
        for epoch in (2, 5):
            session = await desk.claim_next("anna")
            assert session is not None
            assert (session.session_id, session.agent_epoch) == ("s", epoch)
            await desk.hand_back("s", "anna")
            ticket = await desk.request_human("s", priority=1)
            assert ticket.place == 1
            found = (await read(manager, "s")).desk
            assert (found.reason, found.team, found.priority) == (None, None, 1)
        assert await events(manager, "s") == ["requested", *["claimed", "handed_back", "requested"] * 2]

    async def test_of_hand_backs_at_once_one_writes_its_marker(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        await asyncio.gather(*(desk.hand_back("s", "anna", say="bye") for _ in range(10)))
        assert await events(manager, "s") == ["taken_over", "handed_back"]
        assert [message.text for message in await manager.get_history("s")] == ["bye"]
        assert await place(manager, "s") == ("open", None)
        assert (await read(manager, "s")).agent_epoch == 2
