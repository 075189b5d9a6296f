"""The contract of presence: signs of operators, and what happens when they write nothing for long."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from chat_session.clock import now
from chat_session.desk import Desk
from chat_session.manager import SessionManager
from chat_session.testing.desk.scene import (
    DeskFixture,
    claim,
    create,
    events,
    let_wait,
    markers,
    place,
    waiting_ids,
)
from chat_session.testing.sessions.edits import read
from chat_session.testing.waiting import until


class PresenceContract(DeskFixture):
    """Signs of presence, and the automatic hand-back."""

    async def test_an_operator_is_shown_as_the_operator_said(self, desk: Desk) -> None:
        assert await desk.operators() == []
        seen = await desk.operator_seen("ben", capacity=7, available=False)
        assert (seen.operator_id, seen.capacity, seen.available, seen.assigned) == ("ben", 7, False, 0)
        assert seen.seen_at is not None
        assert seen.present_until - seen.seen_at == timedelta(seconds=120)
        assert await desk.operators() == [seen]
        anna = await desk.operator_seen("anna")
        assert (anna.capacity, anna.available) == (5, True)
        assert [operator.operator_id for operator in await desk.operators()] == ["anna", "ben"]
        again = await desk.operator_seen("ben")
        assert (again.capacity, again.available) == (7, True)
        assert again.present_until >= seen.present_until
        assert (await desk.operator_seen("ben", capacity=0)).capacity == 0

    async def test_operators_are_shown_with_the_number_of_their_sessions(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, *(f"s{i}" for i in range(4)))
        await claim(manager, "anna")
        await claim(manager, "anna")
        await desk.take_over("s2", "ben")
        await desk.transfer("s1", "anna", to="ben")
        await desk.hand_back("s0", "anna")
        assert {each.operator_id: each.assigned for each in await desk.operators()} == {"anna": 0, "ben": 2}
        assert (await desk.operator_seen("ben")).assigned == 2

    async def test_every_step_of_an_operator_begins_the_presence(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, *(f"s{i}" for i in range(5)))
        await desk.claim_next("claims")
        await desk.take_over("s1", "takes over")
        await desk.answer("s2", "answers", "hello")
        await desk.note("s3", "notes", "a note")
        await desk.hand_back("s4", "hands back")
        present = await desk.operators()
        assert [each.operator_id for each in present] == ["answers", "claims", "hands back", "notes", "takes over"]
        assert all(each.seen_at is not None for each in present)

    @pytest.mark.parametrize(
        "step", ["claim", "take over", "answer", "note", "transfer", "transfer to team", "decline", "hand back", "seen"]
    )
    async def test_every_step_of_an_operator_renews_the_presence(
        self, manager: SessionManager, desk: Desk, step: str
    ) -> None:
        await let_wait(manager, "s", "t")
        await desk.take_over("s", "anna")
        [before] = await desk.operators()
        assert before.seen_at is not None
        seen_at = before.seen_at

        async def clock_moved() -> bool:
            return now() > seen_at + timedelta(milliseconds=5)

        await until(clock_moved)
        match step:
            case "claim":
                await desk.claim_next("anna")
            case "take over":
                await desk.take_over("s", "anna")
            case "answer":
                await desk.answer("s", "anna", "hello")
            case "note":
                await desk.note("s", "anna", "a note")
            case "transfer":
                await desk.transfer("s", "anna", to="ben")
            case "transfer to team":
                await desk.transfer("s", "anna", team="sales")
            case "decline":
                await desk.decline("s", "anna")
            case "hand back":
                await desk.hand_back("s", "anna")
            case _:
                await desk.operator_seen("anna")
        after = (await desk.operators())[0]
        assert after.operator_id == "anna"
        assert after.seen_at is not None
        assert after.seen_at > before.seen_at
        assert after.present_until > before.present_until

    async def test_an_operator_who_writes_nothing_for_long_loses_the_session_to_the_ai(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(hand_back_after=0.2)
        await let_wait(manager, "s", "waits")
        taken = await Desk(manager).take_over("s", "anna")

        async def is_open() -> bool:
            await manager.cleanup_expired_sessions()
            return (await place(manager, "s"))[0] == "open"

        await until(is_open)
        session = await read(manager, "s")
        assert (session.current_agent, session.agent_epoch) == ("ai", taken.agent_epoch + 1)
        marker = (await markers(manager, "s"))[-1]
        assert marker.pop("seconds") >= 0
        assert marker == {"event": "handed_back", "operatorId": "anna", "automatic": True}
        assert await waiting_ids(manager) == ["waits"]
        assert await Desk(manager).assigned("anna") == []

    @pytest.mark.parametrize("through_the_desk", [True, False])
    async def test_what_an_operator_writes_puts_the_automatic_hand_back_off(
        self, open_manager: Callable[..., SessionManager], through_the_desk: bool
    ) -> None:
        limit = timedelta(seconds=1)
        manager = open_manager(hand_back_after=limit.total_seconds())
        await create(manager, "s")
        began = now()
        await Desk(manager).take_over("s", "anna")

        async def later(than: timedelta) -> bool:
            return now() > began + than

        await until(lambda: later(limit * 0.6))
        answered = now()
        if through_the_desk:  # with a timestamp of long ago: the store's clock counts
            message = {"text": "one moment", "timestamp": "2026-01-31T08:00:00Z"}
            await Desk(manager).answer("s", "anna", message)
        else:
            await manager.add_message("s", {"from": "operator", "text": "one moment"})
        await until(lambda: later(limit * 1.2))

        async def is_open() -> bool:
            await manager.cleanup_expired_sessions()
            return (await place(manager, "s"))[0] == "open"

        await until(is_open)
        assert now() >= answered + limit

    async def test_by_default_nothing_is_handed_back_by_itself(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        await manager.cleanup_expired_sessions()
        assert await place(manager, "s") == ("assigned", "anna")
        assert await events(manager, "s") == ["taken_over"]
