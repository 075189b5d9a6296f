"""The contract of the desk's figures: how many wait, and what happened in the last hour and day."""

from collections.abc import Callable

import pytest

from chat_session.desk import Desk
from chat_session.errors import DeskConflict
from chat_session.manager import SessionManager
from chat_session.testing.desk.scene import (
    SHORT_LEASE,
    USER,
    DeskFixture,
    claim,
    create,
    let_wait,
    until_waiting,
)
from chat_session.testing.waiting import until


class DeskFigureContract(DeskFixture):
    """Statistics."""

    async def test_at_first_all_figures_are_zero(self, desk: Desk) -> None:
        stats = await desk.stats()
        assert (stats.waiting, stats.longest_wait, stats.assigned) == ({}, 0, 0)
        for figures in (stats.hour, stats.day):
            assert (figures.requests, figures.takeovers, figures.hand_backs, figures.lapses) == (0, {}, 0, 0)
            assert (figures.sessions_created, figures.sessions_handled) == (0, 0)
            assert (figures.wait_median, figures.wait_p95) == (None, None)
            assert (figures.first_response_median, figures.first_response_p95) == (None, None)

    async def test_those_who_wait_are_counted_by_team(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "b1", "b2", team="billing")
        await let_wait(manager, "s1", team="sales")
        await let_wait(manager, "n1", "n2", "n3")
        await desk.take_over("n3", "anna")
        stats = await desk.stats()
        assert (stats.waiting, stats.assigned) == ({"billing": 2, "sales": 1, "": 2}, 1)
        await desk.transfer("n3", "anna", team="sales")
        await desk.hand_back("n1", "anna")
        await manager.delete_session("n2")
        await desk.claim_next("ben", teams=["billing"])
        stats = await desk.stats()
        assert (stats.waiting, stats.assigned) == ({"billing": 1, "sales": 2}, 1)

    async def test_the_longest_wait_is_that_of_the_session_that_waits_longest(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "first")
        await let_wait(manager, "urgent", priority=9)

        async def longest_wait() -> float:
            return (await desk.stats()).longest_wait

        async def has_waited() -> bool:
            return await longest_wait() >= 0.3

        await until(has_waited)
        await let_wait(manager, "second", team="sales")
        assert await longest_wait() >= 0.3
        for session_id in ("urgent", "first", "second"):
            await desk.take_over(session_id, "anna")
        assert await longest_wait() == 0

    async def test_what_happens_is_counted_in_the_hour_and_in_the_day(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "claimed", "taken", "handed-back", "raised")
        await create(manager, "answered", "transferred", "untouched")
        await desk.request_human("raised", priority=5)
        assert await claim(manager, "anna") == "raised"
        assert await claim(manager, "anna") == "claimed"
        await desk.take_over("taken", "anna")
        await desk.answer("answered", "anna", "hello")
        await desk.answer("answered", "anna", "again")
        await desk.take_over("transferred", "anna")
        await desk.transfer("transferred", "anna", to="ben")
        await desk.hand_back("taken", "anna")
        await desk.hand_back("handed-back", "anna")
        await manager.add_message("untouched", USER)
        stats = await desk.stats()
        for figures in (stats.hour, stats.day):
            assert (figures.requests, figures.hand_backs, figures.lapses) == (4, 2, 0)
            assert figures.takeovers == {"claimed": 2, "taken_over": 2, "answered": 1}
            assert (figures.sessions_created, figures.sessions_handled) == (7, 6)

    async def test_what_changes_nothing_is_not_counted(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s")
        await desk.request_human("s")
        answer = {"id": "m", "text": "hello"}
        for _ in range(2):
            await desk.answer("s", "anna", answer)
            await desk.take_over("s", "anna")
        with pytest.raises(DeskConflict):
            await desk.hand_back("s", "ben")
        with pytest.raises(DeskConflict):
            await desk.take_over("s", "ben", expect="waiting")
        before = await desk.stats()
        assert (before.hour.requests, before.hour.takeovers, before.hour.hand_backs) == (1, {"answered": 1}, 0)
        for _ in range(2):
            await desk.hand_back("s", "anna")
        after = await desk.stats()
        assert (after.hour.requests, after.hour.takeovers, after.hour.hand_backs) == (1, {"answered": 1}, 1)
        assert (after.hour.sessions_created, after.hour.sessions_handled) == (1, 1)

    async def test_the_waits_and_first_responses_are_measured(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "a", "b", "c")
        await claim(manager, "anna")
        await desk.take_over("b", "anna")
        stats = await desk.stats()
        assert (stats.hour.first_response_median, stats.hour.first_response_p95) == (None, None)
        for session_id in ("a", "b", "c", "a"):
            await desk.answer(session_id, "anna", "hello")
        stats = await desk.stats()
        for figures in (stats.hour, stats.day):
            assert figures.wait_median is not None
            assert figures.wait_p95 is not None
            assert 0 <= figures.wait_median <= figures.wait_p95 <= 60
            assert figures.first_response_median is not None
            assert figures.first_response_p95 is not None
            assert 0 <= figures.first_response_median <= figures.first_response_p95 <= 60

    async def test_who_takes_over_unasked_makes_nobody_wait(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        await desk.answer("s", "anna", "hello")
        figures = (await desk.stats()).hour
        assert (figures.wait_median, figures.first_response_median) == (None, None)
        assert (figures.takeovers, figures.sessions_handled) == ({"answered": 1}, 1)

    async def test_new_sessions_are_counted_however_they_are_created(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "a")
        for _ in range(2):
            await manager.get_or_create_session("b", "u", ttl=600)
        await manager.fork_session("a", new_id="c")
        await manager.delete_session("a")
        figures = (await desk.stats()).hour
        assert (figures.sessions_created, figures.sessions_handled) == (3, 0)

    async def test_a_lapse_is_counted_and_the_session_waits_again(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(claim_lease=SHORT_LEASE)
        desk = Desk(manager)
        await let_wait(manager, "s")
        await desk.take_over("s", "anna")
        await until_waiting(manager, "s")
        stats = await desk.stats()
        assert (stats.waiting, stats.assigned, stats.hour.lapses, stats.day.lapses) == ({"": 1}, 0, 1, 1)
        assert stats.hour.takeovers == {"taken_over": 1}
        assert stats.to_dict().keys() == {"waiting", "longestWait", "assigned", "hour", "day"}
