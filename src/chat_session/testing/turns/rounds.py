"""The contract of rounds: ``async for messages in turn`` goes on as long as messages arrive."""

import asyncio

import pytest

from chat_session.errors import TurnBusy, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import (
    LONG_LEASE,
    LookOnly,
    answer,
    ask,
    create,
    create_asking,
    history,
    texts,
    unanswered,
)


class RoundContract:
    """One round after the other, until nothing new has come."""

    async def test_a_round_follows_for_what_came_during_a_reply(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        rounds = []
        async with manager.turn("s") as turn:
            async for messages in turn:
                rounds.append(texts(messages))
                assert messages == turn.messages
                if len(rounds) < 3:
                    await ask(manager, "s", f"{len(rounds)} a", f"{len(rounds)} b")
                await turn.reply("hm")
        assert rounds == [["question in s"], ["1 a", "1 b"], ["2 a", "2 b"]]
        assert await unanswered(manager, "s") == []

    async def test_what_came_after_a_reply_is_in_the_next_round_too(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        rounds = []
        async with manager.turn("s") as turn:
            async for messages in turn:
                rounds.append(texts(messages))
                await turn.reply("hm")
                if len(rounds) == 1:
                    await ask(manager, "s", "more")
        assert rounds == [["question in s"], ["more"]]

    async def test_the_loop_ends_in_the_step_that_releases_the_turn(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s", lease=LONG_LEASE) as turn:
            async for _ in turn:
                with pytest.raises(TurnBusy):
                    await answer(manager, "s")
                await turn.reply("hello")
            await ask(manager, "s", "too late for the loop")
            assert await answer(manager, "s") == ["too late for the loop"]
            with pytest.raises(TurnLost):
                await turn.reply("without a turn")

    async def test_after_the_loop_there_are_no_more_rounds(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            async for _ in turn:
                pass
            await ask(manager, "s", "more")
            assert [messages async for messages in turn] == []
        assert await unanswered(manager, "s") == ["more"]

    async def test_a_loop_that_is_left_marks_its_round_at_the_end_of_the_block(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s", lease=LONG_LEASE) as turn:
            async for _ in turn:
                await ask(manager, "s", "more")
                break
            with pytest.raises(TurnBusy):
                await answer(manager, "s")
        assert await unanswered(manager, "s") == ["more"]

    async def test_a_round_that_needs_no_reply_is_marked_when_the_next_begins(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        rounds = 0
        with pytest.raises(LookOnly):
            async with manager.turn("s") as turn:
                async for _ in turn:
                    rounds += 1
                    if rounds == 2:
                        raise LookOnly
                    await ask(manager, "s", "more")
        assert await unanswered(manager, "s") == ["more"]

    async def test_a_turn_without_messages_has_no_rounds(self, manager: SessionManager) -> None:
        await create(manager, "s")
        async with manager.turn("s") as turn:
            assert [messages async for messages in turn] == []

    async def test_a_round_without_a_visible_message_is_skipped(self, manager: SessionManager) -> None:
        await create(manager, "s")
        await manager.add_message("s", {"from": "user", "text": "for the log", "internal": True})
        await manager.add_message("s", {"id": "m", "from": "user", "text": "oops"})
        await manager.retract_message("s", "m")
        async with manager.turn("s") as turn:
            assert [messages async for messages in turn] == []

    async def test_a_later_round_without_a_visible_message_is_skipped(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        rounds = []
        async with manager.turn("s") as turn:
            async for messages in turn:
                rounds.append(texts(messages))
                await turn.reply("hm")
                await manager.add_message("s", {"from": "user", "text": "for the log", "internal": True})
                if len(rounds) == 10:
                    break
        assert rounds == [["question in s"]]

    async def test_a_block_that_ends_by_an_exception_marks_nothing(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(LookOnly):
            async with manager.turn("s") as turn:
                async for _ in turn:
                    await turn.record("looked it up")
                    raise LookOnly
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_a_block_that_is_left_cleanly_without_a_reply_marks_its_round(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s"):
            await ask(manager, "s", "more")
        assert await unanswered(manager, "s") == ["more"]
        assert await history(manager, "s") == ["question in s", "more"]

    async def test_an_exception_in_a_later_round_brings_back_that_round_alone(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        rounds = 0
        with pytest.raises(LookOnly):
            async with manager.turn("s") as turn:
                async for _ in turn:
                    rounds += 1
                    if rounds == 2:
                        raise LookOnly
                    await turn.reply("first")
                    await ask(manager, "s", "more")
        assert await unanswered(manager, "s") == ["more"]

    async def test_a_takeover_between_two_rounds_ends_the_loop_with_the_loss(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        rounds = []
        with pytest.raises(TurnLost) as lost:
            async with manager.turn("s", lease=LONG_LEASE) as turn:
                async for messages in turn:
                    rounds.append(texts(messages))
                    await turn.reply("hm")
                    await ask(manager, "s", "more")
                    await manager.switch_agent("s", "human")
        assert (rounds, lost.value.reason) == ([["question in s"]], "taken_over")
        await manager.switch_agent("s", "ai")
        assert await unanswered(manager, "s") == ["more"]

    async def test_every_message_of_a_busy_customer_is_in_exactly_one_round(self, manager: SessionManager) -> None:
        await create(manager, "s")
        said = [str(number) for number in range(40)]
        rounds: list[str] = []

        async def talk() -> None:
            for text in said:
                await ask(manager, "s", text)

        async def work() -> None:
            while len(rounds) < len(said):
                try:
                    async with manager.turn("s", wait=20) as turn:
                        async for messages in turn:
                            rounds.extend(texts(messages))
                            await turn.reply("hm")
                except TurnBusy:
                    pass
                await asyncio.sleep(0)

        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(talk())
            for _ in range(2):
                group.create_task(work())
        assert rounds == said
