"""The contract of takeovers: an operator takes a session whatever its state is, or only if it is as expected."""

import asyncio

import pytest

from chat_session.desk import Desk
from chat_session.errors import AgentConflict, DeskConflict
from chat_session.manager import SessionManager
from chat_session.session import Session
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


class TakeoverContract(DeskFixture):
    """Take a session over."""

    async def test_a_takeover_takes_an_open_session(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        session = await desk.take_over("s", "anna")
        assert session == await read(manager, "s")
        assert (session.desk.state, session.desk.operator_id) == ("assigned", "anna")
        assert (session.current_agent, session.agent_epoch) == ("human", 1)
        assert session.desk.since == session.desk.waiting_since is not None
        with pytest.raises(AgentConflict):
            await manager.add_message("s", LATE, epoch=0)
        with pytest.raises(AgentConflict):
            await manager.check_epoch("s", 0)

    async def test_a_takeover_takes_a_waiting_session_out_of_the_queue(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "a", "s", "b", reason="a refund", priority=4, team="billing")
        before = (await read(manager, "s")).desk
        after = (await desk.take_over("s", "anna")).desk
        assert (after.state, after.operator_id) == ("assigned", "anna")
        assert (after.reason, after.priority, after.team) == ("a refund", 4, "billing")
        assert after.waiting_since == before.waiting_since
        assert await waiting_ids(manager) == ["a", "b"]

    async def test_a_takeover_takes_a_session_from_another_operator(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        first = await desk.take_over("s", "anna")
        second = await desk.take_over("s", "ben")
        assert (second.desk.operator_id, second.agent_epoch) == ("ben", first.agent_epoch + 1)
        assert (await markers(manager, "s"))[-1]["before"] == "anna"
        assert await desk.assigned("anna") == []
        assert [entry.session_id for entry in await desk.assigned("ben")] == ["s"]

    async def test_taking_what_one_has_already_changes_nothing(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s")
        first = await desk.take_over("s", "anna")
        before = await stored(manager, "s")
        again = await desk.take_over("s", "anna")
        assert (again.desk, again.agent_epoch) == (first.desk, first.agent_epoch)
        assert (await stored(manager, "s")).messages == before.messages
        expectations: tuple[str | int, ...] = ("waiting", 1, first.agent_epoch)
        for expect in expectations:  # a repeat whose first call has succeeded
            repeated = await desk.take_over("s", "anna", expect=expect)
            assert (repeated.desk, repeated.agent_epoch) == (first.desk, first.agent_epoch)
        assert await events(manager, "s") == ["requested", "taken_over"]

    async def test_a_polite_takeover_takes_a_session_only_while_it_waits(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "open")
        await let_wait(manager, "waiting", "assigned")
        holder = await desk.take_over("assigned", "anna")
        before = {session_id: await stored(manager, session_id) for session_id in ("open", "assigned")}
        with pytest.raises(DeskConflict) as refused:
            await desk.take_over("open", "ben", expect="waiting")
        assert (refused.value.state, refused.value.operator_id) == ("open", None)
        with pytest.raises(DeskConflict) as refused:
            await desk.take_over("assigned", "ben", expect="waiting")
        assert (refused.value.state, refused.value.operator_id) == ("assigned", "anna")
        assert (refused.value.since, refused.value.current_epoch) == (holder.desk.since, holder.agent_epoch)
        assert (refused.value.session_id, refused.value.code) == ("assigned", "desk_conflict")
        assert "anna" in str(refused.value)
        for session_id, as_it_was in before.items():
            assert await stored(manager, session_id) == as_it_was
        assert (await desk.take_over("waiting", "ben", expect="waiting")).desk.operator_id == "ben"

    async def test_a_polite_takeover_takes_a_session_only_at_the_expected_epoch(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        assert (await desk.take_over("s", "anna", expect=0)).agent_epoch == 1
        before = await stored(manager, "s")
        for expect in (0, 2):
            with pytest.raises(DeskConflict) as refused:
                await desk.take_over("s", "ben", expect=expect)
            assert (refused.value.operator_id, refused.value.current_epoch) == ("anna", 1)
        assert await stored(manager, "s") == before
        assert (await desk.take_over("s", "ben", expect=1)).desk.operator_id == "ben"

    async def test_of_many_who_expect_the_same_one_takes_the_session(self, manager: SessionManager, desk: Desk) -> None:
        expectations: tuple[str | int, ...] = ("waiting", 1)
        for expect in expectations:
            session_id = f"s-{expect}"
            await let_wait(manager, session_id)
            takeovers = (desk.take_over(session_id, f"operator {i}", expect=expect) for i in range(12))
            results = await asyncio.gather(*takeovers, return_exceptions=True)
            winners = [result for result in results if isinstance(result, Session)]
            assert len(winners) == 1
            assert sum(isinstance(result, DeskConflict) for result in results) == 11
            assert await place(manager, session_id) == ("assigned", winners[0].desk.operator_id)
            assert await events(manager, session_id) == ["requested", "taken_over"]

    async def test_takeovers_at_once_leave_one_operator_and_a_marker_each(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        operators = [f"operator {i}" for i in range(8)]
        await asyncio.gather(*(desk.take_over("s", operator) for operator in operators))
        found = await markers(manager, "s")
        assert sorted(marker["operatorId"] for marker in found) == operators
        assert [marker.get("before") for marker in found] == [None, *(marker["operatorId"] for marker in found[:-1])]
        assert (await read(manager, "s")).agent_epoch == len(operators)
        assert await place(manager, "s") == ("assigned", found[-1]["operatorId"])
        holding = [operator for operator in operators if await desk.assigned(operator)]
        assert holding == [found[-1]["operatorId"]]
