"""The contract of pending turns: the sessions that wait for a worker, who has waited longest first."""

import asyncio

import pytest

from chat_session.errors import AgentConflict, TurnBusy, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import (
    LONG_LEASE,
    RENEWED_LEASE,
    LookOnly,
    answer,
    ask,
    create,
    create_asking,
    history,
    leave_turn_of_dead_worker,
    until_pending,
)
from chat_session.testing.waiting import until


class PendingContract:
    """The sessions that wait for a worker."""

    async def test_those_who_have_waited_longest_come_first(self, manager: SessionManager) -> None:
        names = [f"s{number}" for number in (3, 1, 4, 2, 5)]
        for name in names:
            await create_asking(manager, name, turns=True)
            await asyncio.sleep(0.002)  # moments are whole milliseconds
        assert await manager.pending_turns() == names

    async def test_one_who_says_more_keeps_the_place(self, manager: SessionManager) -> None:
        for name in ("a", "b"):
            await create_asking(manager, name, turns=True)
            await asyncio.sleep(0.002)  # as above
        await ask(manager, "a", "are you there?")
        assert await manager.pending_turns() == ["a", "b"]

    async def test_one_who_asks_again_after_an_answer_comes_last(self, manager: SessionManager) -> None:
        for name in ("a", "b"):
            await create_asking(manager, name, turns=True)
            await asyncio.sleep(0.002)  # as above
        await answer(manager, "a")
        assert await manager.pending_turns() == ["b"]
        await ask(manager, "a", "another question")
        assert await manager.pending_turns() == ["b", "a"]

    async def test_a_limit_gives_the_first_ones(self, manager: SessionManager) -> None:
        names = [f"s{number}" for number in range(5)]
        for name in names:
            await create_asking(manager, name, turns=True)
            await asyncio.sleep(0.002)  # as above
        assert await manager.pending_turns(2) == names[:2]
        assert await manager.pending_turns(1) == names[:1]

    async def test_more_sessions_than_are_looked_at_together_are_all_found(self, manager: SessionManager) -> None:
        await asyncio.gather(*(create_asking(manager, f"s{number}", turns=True) for number in range(130)))
        assert sorted(await manager.pending_turns(1000)) == sorted(f"s{number}" for number in range(130))

    async def test_sessions_that_were_answered_do_not_hide_those_behind_them(self, manager: SessionManager) -> None:
        names = [f"s{number}" for number in range(130)]
        await asyncio.gather(*(create_asking(manager, name, turns=True) for name in names))
        await asyncio.gather(*(answer(manager, name) for name in names))
        await create_asking(manager, "last", turns=True)
        assert await manager.pending_turns(1) == ["last"]

    async def test_a_session_is_not_listed_while_a_worker_has_it(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        async with manager.turn("s", lease=LONG_LEASE):
            assert await manager.pending_turns() == []
            await ask(manager, "s", "more")
            assert await manager.pending_turns() == []

    @pytest.mark.parametrize("looked", [True, False], ids=["looked at before", "not looked at before"])
    async def test_a_round_that_failed_is_listed_at_once(self, manager: SessionManager, *, looked: bool) -> None:
        await create_asking(manager, "s", turns=True)
        with pytest.raises(LookOnly):
            async with manager.turn("s", lease=LONG_LEASE):
                if looked:
                    assert await manager.pending_turns() == []
                raise LookOnly
        assert await manager.pending_turns() == ["s"]

    async def test_what_came_during_a_turn_is_listed_at_its_end(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        async with manager.turn("s", lease=LONG_LEASE) as turn:
            await turn.reply("hello")
            await ask(manager, "s", "more")
            assert await manager.pending_turns() == []
        assert await manager.pending_turns() == ["s"]

    async def test_a_turn_that_was_stopped_is_listed_at_once(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        with pytest.raises(TurnLost):
            async with manager.turn("s", lease=LONG_LEASE):
                assert await manager.pending_turns() == []
                await manager.stop_turn("s")
        assert await manager.pending_turns() == ["s"]

    async def test_a_round_that_was_answered_is_not_listed(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        await answer(manager, "s")
        for _ in range(3):
            assert await manager.pending_turns() == []
        await ask(manager, "s", "again")
        assert await manager.pending_turns() == ["s"]

    @pytest.mark.parametrize("looked", [True, False], ids=["looked at before", "not looked at before"])
    async def test_the_round_of_a_worker_that_died_is_listed_when_its_lease_is_over(
        self, manager: SessionManager, *, looked: bool
    ) -> None:
        await create_asking(manager, "s", turns=True)
        await leave_turn_of_dead_worker(manager, "s", RENEWED_LEASE)
        if looked:
            assert await manager.pending_turns() == []
        await until_pending(manager, "s")
        assert await answer(manager, "s") == ["question in s"]

    async def test_two_workers_that_wait_answer_each_session_once(self, manager: SessionManager) -> None:
        names = [f"s{number}" for number in range(6)]
        await create_asking(manager, *names[:3], turns=True)

        async def work() -> None:
            async for session_id in manager.wait_for_turns():
                try:
                    async with manager.turn(session_id) as turn:
                        async for messages in turn:
                            for message in messages:
                                await turn.reply(f"to {message.text}")
                except (TurnBusy, AgentConflict):
                    pass

        async def all_are_answered() -> bool:
            return all([len(await history(manager, name)) == 2 for name in names])

        workers = [asyncio.create_task(work()) for _ in range(2)]
        try:
            await create_asking(manager, *names[3:], turns=True)
            await until(all_are_answered, within=30)
            assert not any(worker.done() for worker in workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        for name in names:
            assert await history(manager, name) == [f"question in {name}", f"to question in {name}"]

    async def test_a_session_without_turns_is_not_listed(self, manager: SessionManager) -> None:
        await create(manager, "s", turns=False)
        await ask(manager, "s", "hello")
        assert await manager.pending_turns() == []
