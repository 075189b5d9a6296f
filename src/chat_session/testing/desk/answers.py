"""The contract of answers and notes: what operators write, and that an answer takes the session over."""

import asyncio
from typing import Any

import pytest

from chat_session.desk import Desk
from chat_session.errors import AgentConflict, DeskConflict, MessageConflict
from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.testing.desk.scene import (
    LATE,
    DeskFixture,
    create,
    events,
    let_wait,
    markers,
    place,
    stored,
    waiting_ids,
)
from chat_session.testing.sessions.edits import read


class AnswerContract(DeskFixture):
    """Answer as an operator, and leave notes."""

    @pytest.mark.parametrize(
        "message",
        [
            "hello",
            {"text": "hello"},
            {"from": "operator", "text": "hello"},
            {"sender": "operator", "text": "hello", "author": "anna"},
            Message(sender="operator", text="hello"),
        ],
        ids=["a text", "no sender", "from", "sender and author", "a message"],
    )
    async def test_an_answer_is_a_message_of_the_operator(
        self, manager: SessionManager, desk: Desk, message: Any
    ) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        result = await desk.answer("s", "anna", message)
        [answer] = await manager.get_history("s")
        assert (answer.sender, answer.author, answer.text, answer.internal) == ("operator", "anna", "hello", False)
        assert (result.success, result.duplicate, result.message_id, result.seq) == (True, False, answer.id, 2)
        assert result.message == answer
        assert await events(manager, "s") == ["taken_over"]
        assert (await read(manager, "s")).agent_epoch == 1

    @pytest.mark.parametrize("state", ["open", "waiting", "assigned"])
    async def test_an_answer_takes_the_session_over_in_the_same_step(
        self, manager: SessionManager, desk: Desk, state: str
    ) -> None:
        await create(manager, "s")
        if state != "open":
            await desk.request_human("s")
        if state == "assigned":
            await desk.take_over("s", "ben")
        before = await read(manager, "s")
        result = await desk.answer("s", "anna", {"id": "m", "text": "I am here"})
        session = await read(manager, "s")
        assert (session.desk.state, session.desk.operator_id) == ("assigned", "anna")
        assert (session.current_agent, session.agent_epoch) == ("human", before.agent_epoch + 1)
        marker, answer = (await manager.get_history("s", 100, include_internal=True))[-2:]
        assert (marker.type, marker.extra["handoff"]["event"]) == ("handoff", "answered")
        assert (answer.id, answer.seq, result.seq) == ("m", before.message_count + 2, before.message_count + 2)
        assert marker.extra["handoff"].get("before") == before.desk.operator_id
        assert await waiting_ids(manager) == []
        assert await desk.assigned("ben") == []
        with pytest.raises(AgentConflict):
            await manager.add_message("s", LATE, epoch=before.agent_epoch)

    async def test_a_polite_answer_takes_nothing_over(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "open", "assigned")
        await let_wait(manager, "waiting")
        taken = await desk.take_over("assigned", "ben")
        for session_id, state, operator in (
            ("open", "open", None),
            ("waiting", "waiting", None),
            ("assigned", "assigned", "ben"),
        ):
            before = await stored(manager, session_id)
            with pytest.raises(DeskConflict) as refused:
                await desk.answer(session_id, "anna", "hello", polite=True)
            assert (refused.value.state, refused.value.operator_id) == (state, operator)
            assert await stored(manager, session_id) == before
        assert refused.value.since == taken.desk.since
        assert not (await desk.answer("assigned", "ben", "hello", polite=True)).duplicate

    async def test_an_answer_with_the_same_id_is_stored_once(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s")
        message = {"id": "m", "text": "hello"}
        first = await desk.answer("s", "anna", message)
        before = await stored(manager, "s")
        again = await desk.answer("s", "anna", message)
        assert (again.duplicate, again.message, again.seq) == (True, first.message, first.seq)
        assert (await stored(manager, "s")).messages == before.messages

    async def test_a_repeated_answer_does_not_take_the_session_back(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s")
        message = {"id": "m", "text": "hello"}
        await desk.answer("s", "anna", message)
        await desk.take_over("s", "ben")
        before = await stored(manager, "s")
        again = await desk.answer("s", "anna", message)
        assert again.duplicate
        assert (await stored(manager, "s")).messages == before.messages
        assert await place(manager, "s") == ("assigned", "ben")
        assert (await desk.answer("s", "anna", message, polite=True)).duplicate
        await desk.hand_back("s", "ben")
        assert (await desk.answer("s", "anna", message)).duplicate
        assert await place(manager, "s") == ("open", None)

    async def test_an_answer_whose_id_is_stored_with_other_content_is_refused(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, "s")
        await manager.add_message("s", {"id": "theirs", "from": "user", "text": "x"})
        await desk.answer("s", "anna", {"id": "m", "text": "hello"})
        await desk.take_over("s", "ben")
        before = await stored(manager, "s")
        for operator, message_id, text in (
            ("anna", "m", "other"),
            ("ben", "m", "hello"),  # as another author
            ("anna", "theirs", "x"),
        ):
            with pytest.raises(MessageConflict) as refused:
                await desk.answer("s", operator, {"id": message_id, "text": text})
            assert refused.value.message_id == message_id
        assert await stored(manager, "s") == before

    async def test_answers_at_once_are_all_stored(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s")
        answers = [desk.answer("s", f"operator {i % 3}", {"id": f"m{i}", "text": str(i)}) for i in range(12)]
        results = await asyncio.gather(*answers)
        history = await manager.get_history("s", 100, include_internal=True)
        assert {m.id for m in history if m.sender == "operator"} == {f"m{i}" for i in range(12)}
        assert len({result.seq for result in results}) == 12
        holder = None
        for message in history:
            if message.type == "handoff":
                holder = message.extra["handoff"].get("operatorId", holder)
            elif message.sender == "operator":
                assert message.author == holder, "who writes has the session"
        assert await place(manager, "s") == ("assigned", holder)

    async def test_an_answer_keeps_all_fields_of_the_message(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        given = {
            "id": "m",
            "text": "漢",
            "type": "offer",
            "timestamp": "2026-01-31T08:00:00Z",
            "price": [1, {"a": None}],
        }
        await desk.answer("s", "anna", {**given, "content": {"n": 1}})
        [answer] = await manager.get_history("s")
        assert (answer.id, answer.type, answer.extra, answer.content) == (
            "m",
            "offer",
            {"price": [1, {"a": None}]},
            {"n": 1},
        )
        assert answer.to_dict()["timestamp"] == "2026-01-31T08:00:00.000Z"

    @pytest.mark.parametrize("state", ["open", "waiting", "assigned"])
    async def test_a_note_is_internal_and_changes_nobody(self, manager: SessionManager, desk: Desk, state: str) -> None:
        await create(manager, "s")
        if state != "open":
            await desk.request_human("s")
        if state == "assigned":
            await desk.take_over("s", "ben")
        before = await read(manager, "s")
        visible = await manager.get_history("s")
        result = await desk.note("s", "anna", "asked for the order's number twice")
        note = (await manager.get_history("s", include_internal=True))[-1]
        assert result.message == note
        assert (note.sender, note.author, note.type, note.internal) == ("operator", "anna", "note", True)
        assert note.text == "asked for the order's number twice"
        assert await manager.get_history("s") == visible
        after = await read(manager, "s")
        assert (after.desk, after.agent_epoch, after.current_agent) == (
            before.desk,
            before.agent_epoch,
            before.current_agent,
        )
        assert len(await markers(manager, "s")) == ("open", "waiting", "assigned").index(state)
