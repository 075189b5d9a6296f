"""The contract of arguments of turns that are not acceptable: nothing happens."""

from typing import Any

import pytest

from chat_session.errors import InvalidInput, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import create_asking, history, unanswered

NO_SECONDS = [-1, "5", None, True, float("nan"), float("inf"), 86_401]


class TurnRefusalContract:
    """Arguments that are not acceptable."""

    @pytest.mark.parametrize("name", ["lease", "wait", "debounce"])
    @pytest.mark.parametrize("value", NO_SECONDS, ids=str)
    async def test_what_is_no_number_of_seconds_is_refused(
        self, manager: SessionManager, name: str, value: object
    ) -> None:
        with pytest.raises(InvalidInput, match=name):
            manager.turn("s", **{name: value})  # type: ignore[arg-type]

    async def test_a_lease_of_no_time_is_refused(self, manager: SessionManager) -> None:
        for value in (0, 0.05):
            with pytest.raises(InvalidInput, match="lease"):
                manager.turn("s", lease=value)

    @pytest.mark.parametrize("session_id", ["", "a b", "x" * 1000, None, 5])
    async def test_what_is_no_session_id_is_refused(self, manager: SessionManager, session_id: Any) -> None:
        with pytest.raises(InvalidInput, match="session_id"):
            manager.turn(session_id)
        with pytest.raises(InvalidInput, match="session_id"):
            await manager.stop_turn(session_id)

    @pytest.mark.parametrize("limit", [0, -1, 10_001, "5", True, 1.5])
    async def test_what_is_no_limit_is_refused(self, manager: SessionManager, limit: Any) -> None:
        with pytest.raises(InvalidInput, match="limit"):
            await manager.pending_turns(limit)

    @pytest.mark.parametrize("turns", [1, "yes", []], ids=str)
    async def test_what_is_not_true_or_false_is_refused(self, manager: SessionManager, turns: Any) -> None:
        with pytest.raises(InvalidInput, match="turns"):
            await manager.create_session("u", turns=turns)
        with pytest.raises(InvalidInput, match="turns"):
            await manager.get_or_create_session("s", "u", turns=turns)

    @pytest.mark.parametrize(
        "reply",
        [None, 5, [], ["fine", 5], {"text": 5}, {"from": "nobody", "text": "x"}, {"text": "x", "type": "retracted"}],
        ids=str,
    )
    async def test_what_is_no_reply_is_refused(self, manager: SessionManager, reply: Any) -> None:
        await create_asking(manager, "s")
        with pytest.raises(InvalidInput):
            async with manager.turn("s") as turn:
                await turn.reply(reply)
        assert await history(manager, "s", internal=True) == ["question in s"]
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_nobody_replies_as_the_customer(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(InvalidInput):
            async with manager.turn("s") as turn:
                await turn.reply({"from": "user", "text": "never mind"})
        assert await history(manager, "s") == ["question in s"]

    @pytest.mark.parametrize("message", [None, 5, {"text": 5}, {"from": "nobody", "text": "x"}], ids=str)
    async def test_what_is_no_record_is_refused(self, manager: SessionManager, message: Any) -> None:
        await create_asking(manager, "s")
        with pytest.raises(InvalidInput):
            async with manager.turn("s") as turn:
                await turn.record(message)
        assert await history(manager, "s", internal=True) == ["question in s"]

    async def test_a_turn_outside_of_its_block_says_so(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        turn = manager.turn("s")
        for _ in range(2):
            with pytest.raises(TurnLost, match="before its block was entered, or after it was over") as refused:
                await turn.reply("hello")
            assert refused.value.reason == "released"
            with pytest.raises(TurnLost, match="before its block was entered, or after it was over"):
                async with turn.stream() as reply:
                    await reply.write("hello")
            async with turn:
                pass
        assert await history(manager, "s", internal=True) == ["question in s"]

    async def test_after_its_rounds_a_turn_says_that_it_is_over(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            async for _ in turn:
                await turn.reply("hello")
            with pytest.raises(TurnLost, match="after it was over"):
                await turn.reply("late")
        assert await history(manager, "s") == ["question in s", "hello"]
