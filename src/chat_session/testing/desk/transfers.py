"""The contract of transfers: to another operator, who may decline, or into the queue of a team."""

import asyncio
from collections.abc import Callable

import pytest

from chat_session.desk import Desk
from chat_session.errors import DeskConflict
from chat_session.manager import SessionManager
from chat_session.testing.desk.scene import (
    SHORT_LEASE,
    DeskFixture,
    claim,
    create,
    events,
    let_wait,
    markers,
    place,
    stored,
    until_waiting,
    waiting_ids,
)
from chat_session.testing.sessions.edits import read


class TransferContract(DeskFixture):
    """Transfer and decline."""

    async def test_a_session_is_transferred_to_another_operator(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s", reason="a refund", priority=3, team="billing")
        await desk.operator_seen("ben")
        await desk.take_over("s", "anna")
        before = await read(manager, "s")
        session = await desk.transfer("s", "anna", to="ben", note="knows the contract")
        assert session == await read(manager, "s")
        assert (session.desk.state, session.desk.operator_id) == ("assigned", "ben")
        assert session.agent_epoch == before.agent_epoch + 1
        assert (session.desk.reason, session.desk.priority, session.desk.team) == ("a refund", 3, "billing")
        assert session.desk.waiting_since == before.desk.waiting_since
        marker = (await markers(manager, "s"))[-1]
        assert marker == {
            "event": "transferred",
            "operatorId": "anna",
            "to": "ben",
            "note": "knows the contract",
        }
        assert await desk.assigned("anna") == []
        assert [entry.session_id for entry in await desk.assigned("ben")] == ["s"]
        assert await waiting_ids(manager) == []

    async def test_who_declines_puts_the_session_back_to_its_old_place(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "a", "b", "c")
        assert [await claim(manager, "anna") for _ in range(2)] == ["a", "b"]
        old = (await read(manager, "b")).desk.waiting_since
        await desk.transfer("b", "anna", to="ben")
        await let_wait(manager, "d")
        session = await desk.decline("b", "ben")
        assert session == await read(manager, "b")
        assert (session.desk.state, session.desk.operator_id) == ("waiting", None)
        assert session.desk.waiting_since == old
        assert session.current_agent == "human"
        assert await waiting_ids(manager) == ["b", "c", "d"]
        assert await events(manager, "b") == ["requested", "claimed", "transferred", "declined"]
        assert await desk.assigned("ben") == []
        with pytest.raises(DeskConflict) as refused:
            await desk.decline("b", "ben")
        assert refused.value.state == "waiting"

    async def test_a_session_that_was_just_taken_over_waits_from_then_on_when_it_is_declined(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "first")
        await create(manager, "s")
        taken = await desk.take_over("s", "anna")
        assert (await desk.decline("s", "anna")).desk.waiting_since == taken.desk.since
        assert await waiting_ids(manager) == ["first", "s"]

    async def test_a_session_is_transferred_into_the_queue_of_a_team(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s", reason="a refund", priority=1, team="billing")
        await let_wait(manager, "higher", priority=2, team="sales")
        await let_wait(manager, "equal", priority=1, team="sales")
        await let_wait(manager, "lower", team="sales")
        before = await desk.take_over("s", "anna")
        session = await desk.transfer("s", "anna", team="sales", note="wants to buy")
        assert (session.desk.state, session.desk.operator_id, session.desk.team) == ("waiting", None, "sales")
        assert (session.desk.reason, session.desk.priority) == ("a refund", 1)
        assert session.desk.waiting_since == session.desk.since
        assert (session.current_agent, session.agent_epoch) == ("human", before.agent_epoch + 1)
        assert await waiting_ids(manager, "sales") == ["higher", "equal", "s", "lower"]
        assert await waiting_ids(manager, "billing") == []
        assert (await markers(manager, "s"))[-1] == {
            "event": "transferred",
            "operatorId": "anna",
            "team": "sales",
            "note": "wants to buy",
        }
        assert await desk.assigned("anna") == []

    async def test_only_who_has_the_session_transfers_or_declines_it(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "open", "assigned")
        await let_wait(manager, "waiting")
        await desk.take_over("assigned", "ben")
        for session_id, state, operator in (
            ("open", "open", None),
            ("waiting", "waiting", None),
            ("assigned", "assigned", "ben"),
        ):
            before = await stored(manager, session_id)
            for call in (
                desk.transfer(session_id, "anna", to="carl"),
                desk.transfer(session_id, "anna", team="sales"),
                desk.decline(session_id, "anna"),
            ):
                with pytest.raises(DeskConflict) as refused:
                    await call
                assert (refused.value.state, refused.value.operator_id) == (state, operator)
            assert await stored(manager, session_id) == before

    async def test_a_session_transferred_to_one_who_is_not_there_waits_again_without_a_sign(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(claim_lease=SHORT_LEASE)
        desk = Desk(manager)
        await let_wait(manager, "s")
        old = (await read(manager, "s")).desk.waiting_since
        await desk.take_over("s", "anna")
        session = await desk.transfer("s", "anna", to="ben")
        assert (session.desk.state, session.desk.operator_id) == ("assigned", "ben")
        await until_waiting(manager, "s")
        assert (await read(manager, "s")).desk.waiting_since == old
        assert await waiting_ids(manager) == ["s"]
        assert (await markers(manager, "s"))[-1] == {"event": "lapsed", "operatorId": "ben"}

    async def test_one_who_was_given_a_session_is_present_but_was_not_seen(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        await desk.transfer("s", "anna", to="ben")
        anna, ben = await desk.operators()
        assert (anna.operator_id, ben.operator_id) == ("anna", "ben")
        assert anna.seen_at is not None
        assert (ben.seen_at, ben.assigned, anna.assigned) == (None, 1, 0)
        await desk.answer("s", "ben", "hello")
        assert [operator.seen_at is None for operator in await desk.operators()] == [False, False]

    async def test_of_many_transfers_at_once_one_succeeds(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        calls = (desk.transfer("s", "anna", to=f"operator {i}") for i in range(8))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(result, DeskConflict) for result in results) == 7
        assert await events(manager, "s") == ["taken_over", "transferred"]
        assert await place(manager, "s") == ("assigned", (await markers(manager, "s"))[-1]["to"])
