"""The contract of claims: who is next, and that two operators never get the same session."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from chat_session.desk import Desk
from chat_session.errors import OperatorFull
from chat_session.manager import SessionManager
from chat_session.testing.backend import Backend
from chat_session.testing.desk.scene import DeskFixture, claim, create, events, let_wait, place, waiting_ids
from chat_session.testing.sessions.edits import read


class ClaimContract(DeskFixture):
    """Take the next session from the queue."""

    async def test_a_claim_assigns_the_session_to_the_operator(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s", reason="a refund", priority=2, team="billing")
        waiting_since = (await read(manager, "s")).desk.waiting_since
        session = await desk.claim_next("anna")
        assert session == await read(manager, "s")
        found = session.desk
        assert (found.state, found.operator_id, found.reason, found.priority, found.team) == (
            *("assigned", "anna", "a refund"),
            *(2, "billing"),
        )
        assert found.since is not None
        assert found.waiting_since == waiting_since
        assert found.since >= found.waiting_since  # type: ignore[operator]
        assert (session.current_agent, session.agent_epoch) == ("human", 2)
        assert await events(manager, "s") == ["requested", "claimed"]
        assert await waiting_ids(manager) == []

    async def test_from_an_empty_queue_nothing_is_claimed(self, manager: SessionManager, desk: Desk) -> None:
        assert await desk.claim_next("anna") is None
        await create(manager, "open")
        assert await desk.claim_next("anna") is None

    async def test_the_highest_priority_comes_first_and_then_who_has_waited_longest(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await desk.operator_seen("anna", capacity=50)
        priorities = (0, 9, 3, 0, 3, 9, 1)
        for i, priority in enumerate(priorities):
            await let_wait(manager, f"s{i}", priority=priority)
        expected = [f"s{i}" for i in sorted(range(len(priorities)), key=lambda i: (-priorities[i], i))]
        assert await waiting_ids(manager) == expected
        assert [await claim(manager, "anna") for _ in priorities] == expected
        assert await claim(manager, "anna") is None

    async def test_a_raised_priority_moves_the_session_forward(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "a", "b", "c")
        await desk.request_human("c", priority=1)
        assert [await claim(manager, "anna") for _ in range(3)] == ["c", "a", "b"]

    @pytest.mark.parametrize(
        ("teams", "expected"),
        [
            ((), ["a", "s1", "b1", "s2"]),
            (["sales"], ["s1", "s2"]),
            (("billing", "sales", "billing"), ["s1", "b1", "s2"]),
            (["nobody"], []),
            (["nobody", "billing"], ["b1"]),
        ],
        ids=str,
    )
    async def test_only_sessions_of_the_given_teams_are_claimed(
        self, manager: SessionManager, desk: Desk, teams: Sequence[str], expected: list[str]
    ) -> None:
        for session_id, team in (("a", None), ("s1", "sales"), ("b1", "billing"), ("s2", "sales")):
            await let_wait(manager, session_id, team=team)
        claimed = []
        while (session := await desk.claim_next("anna", teams=teams)) is not None:
            claimed.append(session.session_id)
        assert claimed == expected

    async def test_names_of_teams_and_operators_are_kept_byte_for_byte(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        names = ["Verkäufe 漢", "{desk}", "a:b", "*", "billing ", "billing", "Am\u00e9lie", "Ame\u0301lie"]
        for i, name in enumerate(names):
            await let_wait(manager, f"s{i}", team=name)
        assert (await desk.stats()).waiting == dict.fromkeys(names, 1)
        for i, name in enumerate(names):
            session = await desk.claim_next(name, teams=[name])
            assert session is not None
            assert (session.session_id, session.desk.operator_id, session.desk.team) == (f"s{i}", name, name)
        for i, name in enumerate(names):
            assert [entry.session_id for entry in await desk.assigned(name)] == [f"s{i}"]

    async def test_an_operator_at_capacity_claims_no_more(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, *(f"s{i}" for i in range(8)))
        assert [await claim(manager, "anna") for _ in range(5)] == [f"s{i}" for i in range(5)]
        with pytest.raises(OperatorFull) as refused:
            await desk.claim_next("anna")
        assert (refused.value.operator_id, refused.value.assigned, refused.value.capacity) == ("anna", 5, 5)
        assert await waiting_ids(manager) == ["s5", "s6", "s7"]
        await desk.operator_seen("anna", capacity=6)
        assert await claim(manager, "anna") == "s5"
        with pytest.raises(OperatorFull):
            await desk.claim_next("anna")
        await desk.hand_back("s0", "anna")
        assert await claim(manager, "anna") == "s6"
        await desk.transfer("s6", "anna", to="ben")
        assert await claim(manager, "anna") == "s7"
        await desk.operator_seen("anna")  # the capacity stays
        await let_wait(manager, "more")
        with pytest.raises(OperatorFull):
            await desk.claim_next("anna")
        assert await claim(manager, "ben") == "more"

    async def test_an_operator_of_no_capacity_claims_nothing(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s")
        await desk.operator_seen("anna", capacity=0)
        with pytest.raises(OperatorFull) as refused:
            await desk.claim_next("anna")
        assert (refused.value.assigned, refused.value.capacity) == (0, 0)
        assert await waiting_ids(manager) == ["s"]
        await desk.take_over("s", "anna")
        assert await place(manager, "s") == ("assigned", "anna")

    async def test_the_capacity_limits_nothing_but_claims(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, *(f"s{i}" for i in range(8)))
        await desk.operator_seen("anna", capacity=1)
        for i in range(4):
            await desk.take_over(f"s{i}", "anna")
        for i in range(4, 6):
            await desk.answer(f"s{i}", "anna", "hello")
        for i in range(6, 8):
            await desk.take_over(f"s{i}", "ben")
            await desk.transfer(f"s{i}", "ben", to="anna")
        assert len(await desk.assigned("anna")) == 8
        await let_wait(manager, "more")
        with pytest.raises(OperatorFull) as refused:
            await desk.claim_next("anna")
        assert (refused.value.assigned, refused.value.capacity) == (8, 1)

    async def test_the_seat_of_a_session_that_was_deleted_is_free_again(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "a", "b")
        await desk.operator_seen("anna", capacity=1)
        assert await claim(manager, "anna") == "a"
        await manager.delete_session("a")
        await manager.cleanup_expired_sessions()
        assert await claim(manager, "anna") == "b"

    async def test_a_session_that_left_the_queue_is_not_claimed(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "deleted", "handed-back", "taken", "kept")
        await manager.delete_session("deleted")
        await desk.hand_back("handed-back", "ben")
        await desk.take_over("taken", "ben")
        assert await waiting_ids(manager) == ["kept"]
        assert [await claim(manager, "anna") for _ in range(2)] == ["kept", None]

    async def test_twenty_operators_who_claim_at_once_never_get_the_same_session(
        self, manager: SessionManager, backend: Backend, open_manager: Callable[..., SessionManager]
    ) -> None:
        managers = [manager, *(open_manager() for _ in range(3))] if backend.shared else [manager]
        count = 60
        await let_wait(manager, *(f"s{i}" for i in range(count)))
        claimed: dict[str, list[str]] = {}

        async def work(number: int) -> None:
            mine = claimed.setdefault(f"operator {number}", [])
            while (session_id := await claim(managers[number % len(managers)], f"operator {number}")) is not None:
                mine.append(session_id)
                if len(mine) == 5:
                    return

        await asyncio.gather(*(work(number) for number in range(20)))
        assert sorted(session_id for mine in claimed.values() for session_id in mine) == sorted(
            f"s{i}" for i in range(count)
        )
        for operator, mine in claimed.items():
            assert mine == sorted(mine, key=lambda session_id: int(session_id[1:])), "in the order of the queue"
            assert sorted(entry.session_id for entry in await Desk(manager).assigned(operator)) == sorted(mine)
        for i in range(count):
            assert await events(manager, f"s{i}") == ["requested", "claimed"]
        assert await waiting_ids(manager) == []

    async def test_an_operator_who_claims_many_times_at_once_keeps_to_the_capacity(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, *(f"s{i}" for i in range(10)))
        await desk.operator_seen("anna", capacity=3)
        results = await asyncio.gather(*(claim(manager, "anna") for _ in range(10)), return_exceptions=True)
        assert sum(isinstance(result, str) for result in results) == 3
        assert sum(isinstance(result, OperatorFull) for result in results) == 7
        assert len(await desk.assigned("anna")) == 3
        assert len(await waiting_ids(manager)) == 7

    async def test_of_a_claim_and_a_takeover_at_once_each_ends_with_one_operator(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        for i in range(10):
            await let_wait(manager, f"s{i}")
            await asyncio.gather(claim(manager, f"anna {i}"), desk.take_over(f"s{i}", "ben"))
            state, operator = await place(manager, f"s{i}")
            assert (state, operator) == ("assigned", "ben"), "a takeover always gets it, first or last"
            assert await waiting_ids(manager) == []
        assert await desk.claim_next("carl") is None
