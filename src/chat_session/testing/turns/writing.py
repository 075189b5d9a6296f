"""The contract of writing through a turn."""

import time
from typing import Any

import pytest

from chat_session.desk import Desk
from chat_session.errors import MessageConflict, TurnLost
from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.testing.turns.scene import (
    LONG_LEASE,
    SHORT_LEASE,
    LookOnly,
    ask,
    create_asking,
    history,
    texts,
    unanswered,
)

LATE: dict[str, Any] = {"id": "late", "from": "assistant", "text": "computed before"}


class WritingContract:
    """Replies through a turn, and what tools did."""

    @pytest.mark.parametrize(
        "reply",
        ["hello", Message(sender="assistant", text="hello"), {"text": "hello"}, {"from": "assistant", "text": "hello"}],
        ids=["text", "message", "mapping", "mapping with a sender"],
    )
    async def test_a_reply_is_appended_as_the_assistants(self, manager: SessionManager, reply: Any) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            result = await turn.reply(reply)
        assert (result.success, result.seq, result.duplicate) == (True, 2, False)
        newest = (await manager.get_history("s"))[-1]
        assert (newest.sender, newest.text, newest.seq, newest.id) == ("assistant", "hello", 2, result.message_id)
        assert result.message == newest

    async def test_several_replies_are_appended_in_order(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            results = await turn.reply(["one", {"text": "two"}, Message(sender="system", text="three")])
        assert [result.seq for result in results] == [2, 3, 4]
        assert await history(manager, "s") == ["question in s", "one", "two", "three"]
        assert (await manager.get_session("s")).message_count == 4  # type: ignore[union-attr]

    async def test_the_same_reply_again_is_stored_once(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            first = await turn.reply({"id": "r", "text": "hello"})
            again = await turn.reply({"id": "r", "text": "hello"})
            with pytest.raises(MessageConflict):
                await turn.reply({"id": "r", "text": "other"})
        assert (first.duplicate, again.duplicate, again.seq) == (False, True, first.seq)
        assert await history(manager, "s") == ["question in s", "hello"]

    async def test_equal_replies_of_one_call_are_stored_once(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            results = await turn.reply([{"id": "r", "text": "hello"}, {"id": "r", "text": "hello"}])
        assert [(result.seq, result.duplicate) for result in results] == [(2, False), (2, True)]
        assert await history(manager, "s") == ["question in s", "hello"]

    async def test_a_reply_whose_answer_was_lost_is_known_after_the_turn_too(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost):
            async with manager.turn("s") as turn:
                await turn.reply(LATE)
                await manager.switch_agent("s", "human")
                assert (await turn.reply(LATE)).duplicate
        assert await history(manager, "s") == ["question in s", "computed before"]

    async def test_a_reply_slides_the_deadline_of_the_session(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", ttl=100)
        await manager.set_session_ttl("s", 100)
        async with manager.turn("s") as turn:
            await turn.reply("hello")
        assert await manager.get_session_ttl("s") > 90

    async def test_a_worker_that_slept_past_its_lease_cannot_write(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost) as lost:
            async with manager.turn("s", lease=SHORT_LEASE) as turn:
                time.sleep(1.5 * SHORT_LEASE)  # noqa: ASYNC251 - the process stands still
                await turn.reply(LATE)
        assert lost.value.reason == "expired"
        assert await history(manager, "s") == ["question in s"]

    async def test_a_worker_that_slept_cannot_write_beside_the_next_one(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost) as lost:
            async with manager.turn("s", lease=SHORT_LEASE) as turn:
                time.sleep(1.5 * SHORT_LEASE)  # noqa: ASYNC251 - the process stands still
                await manager._turns.take_turn("s", "next", LONG_LEASE)  # noqa: SLF001 - without an await in between
                await turn.reply(LATE)
        assert lost.value.reason == "expired"
        assert await history(manager, "s") == ["question in s"]

    @pytest.mark.parametrize("handed_back", [False, True])
    async def test_a_reply_computed_before_a_takeover_is_refused(
        self, manager: SessionManager, *, handed_back: bool
    ) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost) as left:
            async with manager.turn("s", lease=LONG_LEASE) as turn:
                await Desk(manager).take_over("s", "anna")
                if handed_back:
                    await Desk(manager).hand_back("s", "anna")
                with pytest.raises(TurnLost) as refused:
                    await turn.reply([LATE, "and more"])
                raise refused.value
        assert left.value.reason == "taken_over"
        assert texts(refused.value.messages) == ["computed before", "and more"]
        assert await history(manager, "s") == ["question in s"]

    async def test_a_reply_after_a_stop_is_refused(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(TurnLost) as lost:
            async with manager.turn("s", lease=LONG_LEASE) as turn:
                assert (await manager.stop_turn("s")).success
                await turn.reply(LATE)
        assert (lost.value.reason, lost.value.session_id) == ("stopped", "s")
        assert await history(manager, "s") == ["question in s"]

    async def test_what_a_tool_did_is_stored_as_internal(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(LookOnly):
            async with manager.turn("s") as turn:
                result = await turn.record("order 42 is cancelled")
                raise LookOnly
        assert (result.message.sender, result.message.internal) == ("tool", True)
        assert await history(manager, "s") == ["question in s"]
        assert await history(manager, "s", internal=True) == ["question in s", "order 42 is cancelled"]
        assert await unanswered(manager, "s") == ["question in s"]

    @pytest.mark.parametrize("how", ["taken over", "stopped", "expired"])
    async def test_what_a_tool_did_is_stored_when_the_turn_is_lost(self, manager: SessionManager, how: str) -> None:
        await create_asking(manager, "s")
        turn = manager.turn("s", lease=SHORT_LEASE if how == "expired" else LONG_LEASE)
        with pytest.raises(TurnLost):
            async with turn:
                match how:
                    case "taken over":
                        await Desk(manager).take_over("s", "anna")
                    case "stopped":
                        await manager.stop_turn("s")
                    case _:
                        time.sleep(1.5 * SHORT_LEASE)  # noqa: ASYNC251 - the process stands still
                await turn.reply(LATE)
        await turn.record({"text": "order 42 is cancelled"})
        internal = await history(manager, "s", internal=True)
        assert "order 42 is cancelled" in internal
        assert "computed before" not in internal

    async def test_an_internal_reply_does_not_answer_the_round(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(LookOnly):
            async with manager.turn("s") as turn:
                await turn.reply({"text": "thinking", "internal": True})
                raise LookOnly
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_after_a_visible_reply_an_exception_does_not_bring_the_round_back(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s")
        with pytest.raises(LookOnly):
            async with manager.turn("s") as turn:
                await turn.reply("hello")
                raise LookOnly
        assert await unanswered(manager, "s") == []

    async def test_a_reply_does_not_answer_what_came_after_the_round_was_read(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            await ask(manager, "s", "one more thing")
            await turn.reply("first")
            await turn.reply("second")
        assert await unanswered(manager, "s") == ["one more thing"]
