"""The contract of taking a turn: one worker at a time, and none beside a person."""

import asyncio

import pytest

from chat_session.desk import Desk
from chat_session.errors import AgentConflict, SessionNotFound, TurnBusy
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import (
    LONG_LEASE,
    SHORT_LEASE,
    answer,
    ask,
    create,
    create_asking,
    leave_turn_of_dead_worker,
    texts,
    unanswered,
)


class TakingContract:
    """Who gets a turn, who has to wait for one, and who cannot have one."""

    async def test_a_second_worker_is_told_at_once_that_the_session_is_busy(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s", lease=LONG_LEASE):
            with pytest.raises(TurnBusy) as busy:
                async with manager.turn("s"):
                    pass
        assert busy.value.session_id == "s"
        assert 0 < busy.value.seconds <= LONG_LEASE

    async def test_turns_of_different_sessions_do_not_wait_for_each_other(self, manager: SessionManager) -> None:
        await create_asking(manager, "a", "b")
        async with manager.turn("a") as one, manager.turn("b") as other:
            assert texts([*one.messages, *other.messages]) == ["question in a", "question in b"]

    async def test_of_many_workers_at_once_one_gets_the_turn(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        taken, tried, done = 0, 0, asyncio.Event()

        async def work() -> None:
            nonlocal taken, tried
            try:
                async with manager.turn("s"):
                    taken, tried = taken + 1, tried + 1
                    await done.wait()
            except TurnBusy:
                tried += 1
            if tried == 8:
                done.set()

        workers = [asyncio.create_task(work()) for _ in range(8)]
        async with asyncio.timeout(20):
            await asyncio.wait(workers[:], return_when=asyncio.FIRST_COMPLETED)
            while tried < 8:
                await asyncio.sleep(0)
            done.set()
            await asyncio.gather(*workers)
        assert taken == 1

    async def test_a_session_that_stays_busy_is_refused_when_the_wait_is_over(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        loop = asyncio.get_running_loop()
        async with manager.turn("s", lease=LONG_LEASE):
            began = loop.time()
            with pytest.raises(TurnBusy):
                async with manager.turn("s", wait=0.3):
                    pass
            assert loop.time() - began >= 0.3

    async def test_one_who_waits_gets_the_turn_when_it_is_released(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s", lease=LONG_LEASE) as turn:

            async def wait_for_turn() -> list[str]:
                async with manager.turn("s", wait=20) as next_turn:
                    return texts(next_turn.messages)

            waiter = asyncio.create_task(wait_for_turn())
            await turn.reply("first")
            await ask(manager, "s", "second question")
        async with asyncio.timeout(10):
            assert await waiter == ["second question"]

    async def test_one_who_waits_gets_the_turn_of_a_worker_that_died(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await leave_turn_of_dead_worker(manager, "s", SHORT_LEASE)
        async with manager.turn("s", wait=20) as turn:
            assert texts(turn.messages) == ["question in s"]

    async def test_no_turn_can_be_taken_while_a_person_has_the_session(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await Desk(manager).take_over("s", "anna")
        with pytest.raises(AgentConflict) as refused:
            async with manager.turn("s", wait=20):
                pass
        assert refused.value.current_agent == "human"

    async def test_no_turn_can_be_taken_while_the_session_waits_with_the_ai_silenced(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s")
        await Desk(manager).request_human("s")
        with pytest.raises(AgentConflict):
            async with manager.turn("s"):
                pass

    async def test_the_ai_that_goes_on_while_the_session_waits_takes_turns(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await Desk(manager).request_human("s", hold_ai=False)
        assert await answer(manager, "s") == ["question in s"]

    async def test_a_turn_carries_the_epoch_of_the_session(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await manager.switch_agent("s", "human")
        epoch = (await manager.switch_agent("s", "ai")).epoch
        async with manager.turn("s") as turn:
            assert turn.epoch == epoch

    async def test_a_turn_can_be_taken_again_after_a_takeover_and_a_hand_back(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await leave_turn_of_dead_worker(manager, "s", LONG_LEASE)
        await Desk(manager).take_over("s", "anna")
        await Desk(manager).hand_back("s", "anna")
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_a_session_that_is_not_there_has_no_turns(self, manager: SessionManager) -> None:
        with pytest.raises(SessionNotFound):
            async with manager.turn("s"):
                pass
        with pytest.raises(SessionNotFound):
            await manager.stop_turn("s")

    async def test_any_session_whose_id_is_known_has_turns(self, manager: SessionManager) -> None:
        await create(manager, "s", turns=False)
        await ask(manager, "s", "hello")
        assert await answer(manager, "s") == ["hello"]

    async def test_a_turn_can_be_entered_again(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        turn = manager.turn("s", lease=LONG_LEASE)
        for expected in ("question in s", "and then?"):
            async with turn:
                rounds = []
                async for messages in turn:
                    rounds.append(texts(messages))
                    await turn.reply("hello")
                assert rounds == [[expected]]
            await ask(manager, "s", "and then?")
        assert await unanswered(manager, "s") == ["and then?"]

    async def test_a_block_that_raises_releases_the_turn(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(ZeroDivisionError):
            async with manager.turn("s", lease=LONG_LEASE):
                raise ZeroDivisionError
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_a_block_that_is_cancelled_releases_the_turn(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        began = asyncio.Event()

        async def work() -> None:
            async with manager.turn("s", lease=LONG_LEASE):
                began.set()
                await asyncio.get_running_loop().create_future()

        worker = asyncio.create_task(work())
        await began.wait()
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
        assert await unanswered(manager, "s") == ["question in s"]
