"""The contract of requests: a session is put into the queue, and the customer is told so in the same step."""

import asyncio

import pytest

from chat_session.desk import Desk
from chat_session.errors import AgentConflict
from chat_session.manager import SessionManager
from chat_session.testing.desk.scene import (
    LATE,
    USER,
    DeskFixture,
    create,
    events,
    let_wait,
    markers,
    stored,
    waiting_ids,
)
from chat_session.testing.sessions.edits import read


class RequestContract(DeskFixture):
    """Ask for a person."""

    async def test_a_session_that_nobody_asked_for_is_open(self, manager: SessionManager) -> None:
        await create(manager, "s")
        desk = (await read(manager, "s")).desk
        assert (desk.state, desk.operator_id, desk.since, desk.reason, desk.priority, desk.team) == (
            *("open", None, None, None),
            *(0, None),
        )

    async def test_a_request_puts_the_session_into_the_queue(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        ticket = await desk.request_human("s", reason="a refund", priority=3, team="billing")
        session = await read(manager, "s")
        assert (ticket.state, ticket.place) == ("waiting", 1)
        assert ticket.waiting_since == session.desk.waiting_since == session.desk.since
        assert ticket.waiting_since is not None
        found = session.desk
        assert (found.state, found.operator_id, found.reason, found.priority, found.team) == (
            *("waiting", None, "a refund"),
            *(3, "billing"),
        )
        assert await waiting_ids(manager) == ["s"]

    async def test_what_the_customer_is_told_follows_the_marker_of_the_request(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        await manager.add_message("s", USER)
        await desk.request_human("s", say="A colleague will be with you soon. 漢")
        messages = await manager.get_history("s", include_internal=True)
        assert [(m.seq, m.sender, m.type) for m in messages] == [
            (1, "user", None),
            (2, "system", "handoff"),
            (3, "assistant", None),
        ]
        assert messages[2].text == "A colleague will be with you soon. 漢"
        assert (await read(manager, "s")).message_count == 3

    async def test_a_request_that_holds_the_ai_refuses_its_late_replies(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        await desk.request_human("s")
        session = await read(manager, "s")
        assert (session.current_agent, session.agent_epoch) == ("human", 1)
        with pytest.raises(AgentConflict) as refused:
            await manager.add_message("s", LATE, epoch=0)
        assert (refused.value.current_epoch, refused.value.current_agent) == (1, "human")
        with pytest.raises(AgentConflict):
            await manager.check_epoch("s", 0)
        await manager.check_epoch("s", 1)

    async def test_a_request_may_let_the_ai_go_on(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        ticket = await desk.request_human("s", hold_ai=False)
        session = await read(manager, "s")
        assert (ticket.state, ticket.place, session.desk.state) == ("waiting", 1, "waiting")
        assert (session.current_agent, session.agent_epoch) == ("ai", 0)
        await manager.check_epoch("s", 0)
        await manager.add_message("s", LATE, epoch=0)
        await desk.take_over("s", "anna")
        with pytest.raises(AgentConflict):
            await manager.add_message("s", LATE, epoch=0)

    async def test_a_repeated_request_changes_nothing_but_raises_the_priority(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        first = await desk.request_human("s", reason="a refund", priority=3, team="billing", say="soon")
        before = await stored(manager, "s")
        for priority in (3, 0):
            again = await desk.request_human("s", reason="other", priority=priority, team="sales", say="again")
            assert again == first
        after = await stored(manager, "s")
        assert after.messages == before.messages
        assert after.session is not None
        assert before.session is not None
        assert after.session.desk == before.session.desk
        raised = await desk.request_human("s", reason="other", priority=7, team="sales", say="again", hold_ai=False)
        assert raised == first
        session = await read(manager, "s")
        assert (session.desk.priority, session.desk.reason, session.desk.team) == (7, "a refund", "billing")
        assert (session.desk.waiting_since, session.agent_epoch) == (first.waiting_since, 1)
        assert await events(manager, "s") == ["requested", "raised"]
        assert [m.text for m in await manager.get_history("s") if m.sender == "assistant"] == ["soon"]

    async def test_the_place_is_counted_within_the_team(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "b1", "b2", team="billing")
        await let_wait(manager, "n1")
        await create(manager, "s", "b3", "n2")
        assert (await desk.request_human("s", team="sales")).place == 1
        assert (await desk.request_human("b3", team="billing")).place == 3
        assert (await desk.request_human("n2")).place == 2
        assert (await desk.request_human("b3", team="billing", priority=5)).place == 1
        assert (await desk.request_human("b2")).place == 3
        await desk.claim_next("anna", teams=["billing"])
        assert (await desk.request_human("b2")).place == 2

    async def test_a_request_for_a_session_that_a_person_has_changes_nothing(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "s")
        waiting_since = (await read(manager, "s")).desk.waiting_since
        await desk.take_over("s", "anna")
        before = await stored(manager, "s")
        ticket = await desk.request_human("s", priority=9, reason="again", say="again")
        assert (ticket.state, ticket.place, ticket.waiting_since) == ("assigned", 0, waiting_since)
        after = await stored(manager, "s")
        assert after.messages == before.messages
        assert after.session is not None
        assert before.session is not None
        assert after.session.desk == before.session.desk
        assert await waiting_ids(manager) == []

    async def test_requests_at_once_leave_one_marker(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        tickets = await asyncio.gather(*(desk.request_human("s", say="soon") for _ in range(10)))
        assert {(ticket.state, ticket.place) for ticket in tickets} == {("waiting", 1)}
        assert await events(manager, "s") == ["requested"]
        assert (await read(manager, "s")).agent_epoch == 1
        assert len([m for m in await manager.get_history("s") if m.sender == "assistant"]) == 1

    async def test_priorities_raised_at_once_leave_the_highest(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s")
        await asyncio.gather(*(desk.request_human("s", priority=priority) for priority in (1, 9, 4, 7, 2)))
        assert (await read(manager, "s")).desk.priority == 9
        raised = [marker["priority"] for marker in await markers(manager, "s") if marker["event"] == "raised"]
        assert raised == sorted(set(raised))
        assert raised[-1] == 9

    async def test_a_request_stamps_the_activity(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        before = await read(manager, "s")
        await desk.request_human("s")
        assert (await read(manager, "s")).last_active_at >= before.last_active_at
