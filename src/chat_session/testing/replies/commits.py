"""The contract of what is stored when the block of a reply is left: one message."""

import asyncio
from typing import Any

import pytest

from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.testing.replies.scene import expect_end, until_shown
from chat_session.testing.turns.scene import ask, create_asking, history, unanswered

TEXTS = ["hello", "", "漢字 — naïve 🙂", "a\x00b\r\n\t", " ", "x" * 100_000]


class CommitContract:
    """Leaving the block stores one message."""

    async def test_leaving_the_block_stores_one_message_with_the_whole_text(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            async with turn.stream(author="Bot", type="answer") as reply:
                for word in ("Where ", "is ", "it?"):
                    await reply.write(word)
                    assert reply.result is None
                assert reply.text == "Where is it?"
            assert reply.result is not None
            assert (reply.result.success, reply.result.seq, reply.result.duplicate) == (True, 2, False)
        [_, message] = await manager.get_history("s")
        assert message == reply.result.message
        assert (message.id, message.sender, message.text) == (reply.id, "assistant", "Where is it?")
        assert (message.author, message.type, message.seq) == ("Bot", "answer", 2)
        await expect_end(manager, "committed")

    @pytest.mark.parametrize("text", TEXTS, ids=["plain", "empty", "wide", "controls", "blank", "long"])
    async def test_a_text_comes_out_as_it_was_written(self, manager: SessionManager, text: str) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            for begin in range(0, len(text), 7):
                await reply.write(text[begin : begin + 7])
            await reply.write("")
        assert await history(manager, "s") == ["question in s", text]

    async def test_the_end_of_a_block_waits_for_no_delta(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("shown")
            await until_shown(reply, 5)
            await reply.write(", not shown")
        assert await history(manager, "s") == ["question in s", "shown, not shown"]

    async def test_the_message_has_the_fields_that_were_set_while_it_grew(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        fields: dict[str, Any] = {"format": "f/1", "content": {"a": [1]}, "calls": ["c"], "tokens": 3, "mood": "good"}
        async with manager.turn("s") as turn, turn.stream(author="Bot", type="draft") as reply:
            reply.set_fields(tokens=1, type="final")
            await reply.write("hi")
            reply.set_fields(**fields)
        [_, message] = await manager.get_history("s")
        expected = Message(
            id=reply.id,
            sender="assistant",
            text="hi",
            timestamp=message.timestamp,
            author="Bot",
            type="final",
            seq=2,
            format="f/1",
            calls=("c",),
            tokens=3,
            content={"a": [1]},
            extra={"mood": "good"},
        )
        assert message.to_dict() == expected.to_dict()

    async def test_a_reply_answers_its_round(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("hello")
        assert await unanswered(manager, "s") == []

    async def test_a_reply_answers_its_round_even_if_the_block_of_the_turn_fails_later(
        self, manager: SessionManager
    ) -> None:
        await create_asking(manager, "s")
        with pytest.raises(ZeroDivisionError):
            async with manager.turn("s") as turn:
                async with turn.stream() as reply:
                    await reply.write("hello")
                raise ZeroDivisionError
        assert await unanswered(manager, "s") == []

    async def test_a_reply_does_not_answer_what_came_while_it_grew(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        rounds = []
        async with manager.turn("s") as turn:
            async for messages in turn:
                rounds.append([message.text for message in messages])
                async with turn.stream() as reply:
                    await reply.write(f"answer {len(rounds)}")
                    if len(rounds) == 1:
                        await ask(manager, "s", "and?")
        assert rounds == [["question in s"], ["and?"]]
        assert await history(manager, "s") == ["question in s", "and?", "answer 1", "answer 2"]

    async def test_one_reply_follows_another_in_a_turn(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn:
            for text in ("one", "two", "three"):
                async with turn.stream() as reply:
                    await reply.write(text)
        assert await history(manager, "s") == ["question in s", "one", "two", "three"]

    async def test_a_whole_message_may_be_appended_while_a_reply_grows(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        async with manager.turn("s") as turn, turn.stream() as reply:
            await reply.write("as I ")
            await turn.reply("one moment")
            await turn.record("looked it up")
            await reply.write("said")
        texts = await history(manager, "s", internal=True)
        assert texts == ["question in s", "one moment", "looked it up", "as I said"]

    async def test_replies_in_many_sessions_grow_at_once(self, manager: SessionManager) -> None:
        sessions = [f"s{i}" for i in range(20)]
        await create_asking(manager, *sessions)

        async def answer(session_id: str) -> None:
            async with manager.turn(session_id) as turn, turn.stream() as reply:
                for i in range(10):
                    await reply.write(f"{session_id} {i} ")
                    await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            for session_id in sessions:
                group.create_task(answer(session_id))
        for session_id in sessions:
            text = "".join(f"{session_id} {i} " for i in range(10))
            assert await history(manager, session_id) == [f"question in {session_id}", text]
