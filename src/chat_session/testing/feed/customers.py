"""What a watcher without ``include_internal`` is not told."""

from chat_session.desk import Desk
from chat_session.desk_status import DeskStatus
from chat_session.events import DeskChanged, Gap, MessageAppended, MessageRetracted
from chat_session.manager import SessionManager
from chat_session.testing.feed.scene import Watch, create, last_cursor, read_until, say


class CustomerFeedContract:
    async def test_nothing_internal_is_told(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        await create(manager, metadata={"plan": "SECRET plan"})
        async with Watch(manager) as watch:
            await desk.request_human("s", reason="SECRET reason", team="SECRET team", say="One moment.")
            await desk.take_over("s", "SECRET ann")
            await desk.note("s", "SECRET ann", "SECRET note")
            await desk.answer("s", "SECRET ann", "Hello.")
            await manager.update_session("s", {"other": "SECRET"})
            await manager.add_message("s", {"from": "tool", "text": "SECRET", "internal": True, "id": "tool"})
            await manager.retract_message("s", "tool")
            await desk.hand_back("s", "SECRET ann", note="SECRET note", say="Goodbye.")
            await watch.next(MessageAppended, lambda event: event.message.text == "Goodbye.")
            await say(manager, "end")
            await watch.next(MessageAppended, lambda event: event.message.text == "end")
        assert "SECRET" not in str(watch.events)
        assert "SECRET" not in str([event.to_dict() for event in watch.events])
        assert watch.texts == ["One moment.", "Hello.", "Goodbye.", "end"]
        assert not any(isinstance(event, MessageRetracted) for event in watch.events)
        states = [event.desk.state for event in watch.events if isinstance(event, DeskChanged)]
        assert states[-1:] in ([], ["open"])  # without notifications several changes are seen as one

    async def test_an_operator_sees_what_a_customer_does_not(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        await create(manager, metadata={"plan": "pro"})
        async with Watch(manager, include_internal=True) as watch:
            await desk.note("s", "ann", "a note")
            await desk.answer("s", "ann", "Hello.")
            answered = await watch.next(MessageAppended, lambda event: event.message.text == "Hello.")
        assert answered.message.author == "ann"
        assert "a note" in watch.texts

    async def test_who_types_is_told_without_the_id_of_an_operator(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager) as watch:
            for who, shown in (("ann", "operator"), ("user", "user"), ("u", "user"), ("assistant", "assistant")):
                await watch.see_typing(who, shown)
        assert "ann" not in str(watch.events)

    async def test_a_gap_of_internal_messages_alone_is_not_told(self, manager: SessionManager) -> None:
        await create(manager, max_history=4)
        await say(manager, "told")
        cursor = await last_cursor(manager)
        for n in range(5):
            await manager.add_message("s", {"from": "tool", "text": f"tool {n}", "internal": True})
        await say(manager, "one", "two", "three")
        events = await read_until(manager, MessageAppended, after=cursor)
        assert [event.name for event in events] == ["state", "message_appended"]
        inside = await read_until(manager, MessageAppended, after=cursor, include_internal=True)
        [gap] = [event for event in inside if isinstance(event, Gap)]
        assert (gap.from_seq, gap.to_seq) == (2, 5)

    async def test_the_first_message_that_is_trimmed_may_be_internal(self, manager: SessionManager) -> None:
        await create(manager, max_history=2)
        cursor = await last_cursor(manager)
        await manager.add_message("s", {"from": "tool", "text": "tool", "internal": True})
        await say(manager, "one", "two")
        events = await read_until(manager, MessageAppended, after=cursor)
        assert [event.name for event in events] == ["state", "message_appended"]
        await say(manager, "three")
        events = await read_until(manager, MessageAppended, after=cursor)
        assert [event.name for event in events] == ["state", "gap", "message_appended"]

    async def test_a_gap_with_a_visible_message_among_internal_ones_is_told(self, manager: SessionManager) -> None:
        await create(manager, max_history=4)
        await say(manager, "told")
        cursor = await last_cursor(manager)
        await manager.add_message("s", {"from": "tool", "text": "tool 1", "internal": True})
        await say(manager, "missed")
        await manager.add_message("s", {"from": "tool", "text": "tool 2", "internal": True})
        await say(manager, "one", "two", "three", "four")
        events = await read_until(manager, MessageAppended, after=cursor)
        assert [event.name for event in events] == ["state", "gap", "message_appended"]
        assert isinstance(events[1], Gap)
        assert events[1].to_seq == 3

    async def test_the_state_has_the_id_the_agent_and_the_state_of_the_desk(self, manager: SessionManager) -> None:
        await create(manager, metadata={"plan": "pro"})
        await Desk(manager).take_over("s", "ann")
        async with Watch(manager) as watch:
            session = watch.events[0].session  # type: ignore[attr-defined]
        assert (session.session_id, session.current_agent, session.desk.state) == ("s", "human", "assigned")
        assert session.metadata == {}
        assert session.desk == DeskStatus(state="assigned")
