"""The contract of a turn's messages: what the customer said and nobody has answered."""

from typing import Any

import pytest

from chat_session.desk import Desk
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import LookOnly, answer, ask, create, create_asking, texts, unanswered


class UnansweredContract:
    """The messages that a turn begins with."""

    async def test_a_turn_has_the_customers_messages_in_order(self, manager: SessionManager) -> None:
        await create(manager, "s")
        await ask(manager, "s", "one", "two", "three")
        async with manager.turn("s") as turn:
            assert texts(turn.messages) == ["one", "two", "three"]
            assert [message.seq for message in turn.messages] == [1, 2, 3]
            assert turn.missed == 0

    async def test_what_a_turn_answered_is_not_in_the_next(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await answer(manager, "s")
        await ask(manager, "s", "and then?")
        assert await answer(manager, "s") == ["and then?"]
        assert await unanswered(manager, "s") == []

    async def test_internal_and_retracted_messages_are_not_in_a_turn(self, manager: SessionManager) -> None:
        await create(manager, "s")
        await ask(manager, "s", "seen")
        await manager.add_message("s", {"from": "user", "text": "for the log", "internal": True})
        await manager.add_message("s", {"id": "wrong", "from": "user", "text": "my password"})
        await manager.retract_message("s", "wrong")
        assert await unanswered(manager, "s") == ["seen"]

    async def test_a_message_that_was_replaced_is_read_as_it_is_now(self, manager: SessionManager) -> None:
        await create(manager, "s")
        await manager.add_message("s", {"id": "m", "from": "user", "text": "helo"})
        await manager.replace_message("s", {"id": "m", "from": "user", "text": "hello"})
        assert await unanswered(manager, "s") == ["hello"]

    async def test_a_turn_has_nobodys_messages_but_the_customers(self, manager: SessionManager) -> None:
        await create(manager, "s")
        await ask(manager, "s", "question")
        await manager.add_message("s", {"from": "system", "text": "the shop is closed"})
        await manager.add_message("s", {"from": "tool", "text": "42", "internal": True})
        assert await unanswered(manager, "s") == ["question"]

    async def test_a_session_without_messages_has_a_turn_without_messages(self, manager: SessionManager) -> None:
        await create(manager, "s")
        async with manager.turn("s") as turn:
            assert (turn.messages, turn.missed) == ([], 0)

    @pytest.mark.parametrize("sender", ["assistant", "operator"])
    async def test_before_the_first_turn_all_that_stands_before_an_answer_is_answered(
        self, manager: SessionManager, sender: str
    ) -> None:
        await create(manager, "s")
        await ask(manager, "s", "old question")
        await manager.add_message("s", {"from": sender, "text": "old answer"})
        await ask(manager, "s", "new question", "another")
        assert await unanswered(manager, "s") == ["new question", "another"]

    async def test_what_the_desk_said_before_the_first_turn_answers_nothing_where_workers_find_the_session(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s", turns=True)
        await Desk(manager).take_over("s", "anna")
        await Desk(manager).hand_back("s", "anna", say="You are talking to the AI again.")
        await ask(manager, "s", "is anybody there?")
        assert await answer(manager, "s") == ["question in s", "is anybody there?"]
        assert await unanswered(manager, "s") == []

    async def test_an_internal_message_of_the_assistant_answers_nothing(self, manager: SessionManager) -> None:
        await create(manager, "s")
        await ask(manager, "s", "question")
        await manager.add_message("s", {"from": "assistant", "text": "thinking", "internal": True})
        assert await unanswered(manager, "s") == ["question"]

    async def test_messages_that_were_trimmed_before_an_answer_are_counted(self, manager: SessionManager) -> None:
        await create(manager, "s", max_history=3)
        await ask(manager, "s", "1")
        await answer(manager, "s")  # the answer is message 2
        await ask(manager, "s", *"34567")
        async with manager.turn("s") as turn:
            assert (texts(turn.messages), turn.missed) == (["5", "6", "7"], 2)

    async def test_trimmed_messages_are_counted_before_the_first_turn_too(self, manager: SessionManager) -> None:
        await create(manager, "s", max_history=3)
        await ask(manager, "s", *"12345")
        async with manager.turn("s") as turn:
            assert (texts(turn.messages), turn.missed) == (["3", "4", "5"], 2)

    async def test_what_was_trimmed_after_it_was_answered_is_not_missed(self, manager: SessionManager) -> None:
        await create(manager, "s", max_history=3)
        await ask(manager, "s", *"12345")
        await answer(manager, "s")
        await ask(manager, "s", "7")
        async with manager.turn("s") as turn:
            assert (texts(turn.messages), turn.missed) == (["7"], 0)

    @pytest.mark.parametrize("by_desk", [True, False])
    async def test_what_an_operator_answered_is_answered(self, manager: SessionManager, *, by_desk: bool) -> None:
        await create_asking(manager, "s")
        if by_desk:
            await Desk(manager).answer("s", "anna", "let me see")
            await Desk(manager).hand_back("s", "anna")
        else:
            await manager.add_message("s", {"from": "operator", "text": "let me see"})
        assert await unanswered(manager, "s") == []

    async def test_an_operators_note_answers_nothing(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await Desk(manager).take_over("s", "anna")
        await Desk(manager).note("s", "anna", "a difficult case")
        await Desk(manager).hand_back("s", "anna", note="left as it is")
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_a_hand_back_leaves_a_question_that_nobody_answered(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        await Desk(manager).answer("s", "anna", "let me see")
        await ask(manager, "s", "and the bill?")
        await Desk(manager).hand_back("s", "anna")
        assert await unanswered(manager, "s") == ["and the bill?"]

    async def test_an_operators_message_during_a_turn_is_not_undone_by_its_reply(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        with pytest.raises(LookOnly):
            async with manager.turn("s") as turn:
                await ask(manager, "s", "another question")
                await manager.add_message("s", {"from": "operator", "text": "both answered"})
                await turn.reply("the first one answered")
                raise LookOnly
        assert await unanswered(manager, "s") == []

    async def test_a_switch_with_a_note_of_the_operator_answers(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        note: dict[str, Any] = {"from": "operator", "text": "done"}
        await manager.switch_agent("s", "human", note=note)
        await manager.switch_agent("s", "ai")
        assert await unanswered(manager, "s") == []
