"""The contract of lapses: operators who go away lose their sessions to the queue, once and at the old place."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from chat_session.clock import now
from chat_session.desk import Desk
from chat_session.manager import SessionManager
from chat_session.testing.backend import Backend
from chat_session.testing.desk.scene import (
    SHORT_LEASE,
    DeskFixture,
    claim,
    create,
    events,
    let_wait,
    markers,
    place,
    until_waiting,
    waiting_ids,
)
from chat_session.testing.sessions.edits import read
from chat_session.testing.waiting import until, until_dead

Managers = tuple[SessionManager, SessionManager]


async def until_away(manager: SessionManager, operator_id: str) -> None:
    """Wait until the operator's lease is over. No sweep has met that yet."""
    [operator] = [each for each in await Desk(manager).operators() if each.operator_id == operator_id]

    async def is_over() -> bool:
        return now() > operator.present_until + timedelta(milliseconds=5)

    await until(is_over)


class LapseContract(DeskFixture):
    """Lapses, and the sweeps that find them."""

    @pytest.fixture
    def two_leases(self, backend: Backend, open_manager: Callable[..., SessionManager]) -> Managers:
        """Two managers of one store: signs of presence last for a short time with the one, for minutes with the other.

        So a test does not depend on how fast the machine is.
        """
        if not backend.shared:
            pytest.skip("one manager sees this store")
        return open_manager(claim_lease=SHORT_LEASE), open_manager(claim_lease=600)

    async def test_a_sweep_puts_the_sessions_of_one_who_went_away_back_to_their_old_places(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(claim_lease=SHORT_LEASE)
        await let_wait(manager, "a", "b", "c", reason="a refund", team="billing")
        await let_wait(manager, "urgent", priority=9)
        old = {session_id: (await read(manager, session_id)).desk for session_id in ("a", "b", "urgent")}
        assert [await claim(manager, "anna") for _ in range(3)] == ["urgent", "a", "b"]
        await let_wait(manager, "d")
        epoch = (await read(manager, "a")).agent_epoch
        for session_id in old:
            await until_waiting(manager, session_id)
        assert await waiting_ids(manager) == ["urgent", "a", "b", "c", "d"]
        for session_id, desk in old.items():
            found = (await read(manager, session_id)).desk
            assert (found.waiting_since, found.reason, found.priority, found.team, found.operator_id) == (
                *(desk.waiting_since, desk.reason, desk.priority),
                *(desk.team, None),
            )
            assert await markers(manager, session_id) != []
            assert (await markers(manager, session_id))[-1] == {"event": "lapsed", "operatorId": "anna"}
        session = await read(manager, "a")
        assert (session.current_agent, session.agent_epoch) == ("human", epoch + 1)
        assert await Desk(manager).assigned("anna") == []
        assert await Desk(manager).operators() == []
        assert (await Desk(manager).stats()).hour.lapses == 1

    async def test_a_session_that_was_just_taken_over_waits_when_its_operator_goes_away(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(claim_lease=SHORT_LEASE)
        await create(manager, "s")
        taken = await Desk(manager).take_over("s", "anna")
        await until_waiting(manager, "s")
        assert (await read(manager, "s")).desk.waiting_since == taken.desk.since
        assert await claim(manager, "ben") == "s"

    async def test_a_sign_before_the_sweep_keeps_the_sessions(self, two_leases: Managers) -> None:
        short, long = two_leases
        await let_wait(long, "a", "b")
        assert [await claim(short, "anna") for _ in range(2)] == ["a", "b"]
        await until_away(long, "anna")
        await Desk(long).operator_seen("anna")
        await long.cleanup_expired_sessions()
        for session_id in ("a", "b"):
            assert await place(long, session_id) == ("assigned", "anna")
            assert await events(long, session_id) == ["requested", "claimed"]
        assert (await Desk(long).stats()).hour.lapses == 0

    async def test_an_answer_before_the_sweep_keeps_the_session(self, two_leases: Managers) -> None:
        short, long = two_leases
        await let_wait(long, "s")
        await Desk(short).take_over("s", "anna")
        epoch = (await read(long, "s")).agent_epoch
        await until_away(long, "anna")
        await Desk(long).answer("s", "anna", "back again")
        await long.cleanup_expired_sessions()
        assert await place(long, "s") == ("assigned", "anna")
        assert (await read(long, "s")).agent_epoch == epoch

    async def test_who_is_given_a_session_after_the_lease_is_over_keeps_it(self, two_leases: Managers) -> None:
        short, long = two_leases
        await let_wait(long, "a")
        assert await claim(short, "anna") == "a"
        await until_away(long, "anna")
        await create(long, "b")
        await Desk(long).take_over("b", "ben")
        await Desk(long).transfer("b", "ben", to="anna")
        for _ in range(2):
            await long.cleanup_expired_sessions()
            assert await place(long, "a") == ("waiting", None)
            assert await place(long, "b") == ("assigned", "anna")
        assert (await Desk(long).stats()).hour.lapses == 1

    async def test_who_comes_back_after_the_sweep_takes_the_session_again(self, two_leases: Managers) -> None:
        short, long = two_leases
        await let_wait(long, "a", "b")
        for session_id in ("a", "b"):
            await Desk(short).take_over(session_id, "anna")
        for session_id in ("a", "b"):
            await until_waiting(long, session_id)
        await Desk(long).answer("a", "anna", "back again")
        for _ in range(3):
            await long.cleanup_expired_sessions()
        assert await place(long, "a") == ("assigned", "anna")
        assert await place(long, "b") == ("waiting", None)
        assert await events(long, "a") == ["requested", "taken_over", "lapsed", "answered"]

    async def test_a_lapse_leaves_the_sessions_that_others_have(self, two_leases: Managers) -> None:
        short, long = two_leases
        await create(long, "lapses", "given", "other")
        for session_id in ("lapses", "given"):
            await Desk(short).take_over(session_id, "anna")
        await Desk(long).take_over("other", "carl")
        await Desk(long).operator_seen("ben")
        await Desk(short).transfer("given", "anna", to="ben")
        await until_waiting(long, "lapses")
        assert await place(long, "given") == ("assigned", "ben")
        assert await place(long, "other") == ("assigned", "carl")
        assert [each.operator_id for each in await Desk(long).operators()] == ["ben", "carl"]

    async def test_sweeps_at_once_count_each_lapse_once_and_write_one_marker(
        self, two_leases: Managers, open_manager: Callable[..., SessionManager]
    ) -> None:
        short, long = two_leases
        sessions = [f"s{i}" for i in range(12)]
        await let_wait(long, *sessions)
        for i, session_id in enumerate(sessions):
            await Desk(short).take_over(session_id, f"operator {i % 2}")
        for i in range(2):
            await until_away(long, f"operator {i}")
        sweepers = [long, *(open_manager() for _ in range(5))]
        await asyncio.gather(*(sweeper.cleanup_expired_sessions() for sweeper in sweepers))
        for session_id in sessions:
            await until_waiting(long, session_id)
        await asyncio.gather(*(sweeper.cleanup_expired_sessions() for sweeper in sweepers))
        assert await waiting_ids(long) == sessions
        for session_id in sessions:
            assert await events(long, session_id) == ["requested", "taken_over", "lapsed"]
        assert (await Desk(long).stats()).hour.lapses == 2

    async def test_one_who_goes_away_without_a_session_is_no_longer_shown_and_not_counted(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(claim_lease=SHORT_LEASE)
        desk = Desk(manager)
        await desk.operator_seen("anna")

        async def is_gone() -> bool:
            await manager.cleanup_expired_sessions()
            return await desk.operators() == []

        await until(is_gone)
        assert (await desk.stats()).hour.lapses == 0

    async def test_the_count_of_a_cleanup_is_of_dead_sessions_only(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(claim_lease=SHORT_LEASE)
        await let_wait(manager, "s")
        await create(manager, *(f"dead{i}" for i in range(3)), ttl=1)
        await Desk(manager).take_over("s", "anna")
        await until_dead(manager, "dead2")
        cleaned: list[int] = []

        async def is_waiting() -> bool:
            cleaned.append((await manager.cleanup_expired_sessions()).cleaned_count)
            return (await place(manager, "s"))[0] == "waiting"

        await until(is_waiting)
        assert sum(cleaned) == 3
