"""What a watcher is told while it watches."""

import asyncio

import pytest

from chat_session.desk import Desk
from chat_session.errors import ManagerClosed
from chat_session.events import (
    AgentSwitched,
    DeskChanged,
    HistoryCleared,
    MessageAppended,
    MessageReplaced,
    MessageRetracted,
    SessionDeleted,
    SessionExpired,
    SessionUpdated,
    State,
)
from chat_session.manager import SessionManager
from chat_session.message import RETRACTED
from chat_session.testing.feed.scene import Watch, create, last_cursor, say
from chat_session.testing.turns.scene import answer


class WatchingContract:
    async def test_a_feed_begins_with_the_session_as_it_is_and_tells_nothing_that_was_before(
        self, manager: SessionManager
    ) -> None:
        await create(manager, metadata={"a": 1})
        await say(manager, "before")
        async with Watch(manager, include_internal=True) as watch:
            [state] = watch.events
            assert isinstance(state, State)
            assert state.session == await manager.get_session("s")
            await say(manager, "after")
            told = await watch.next(MessageAppended)
        assert watch.names == ["state", "message_appended"]
        assert [told.message] == await manager.get_history("s", 1)
        assert (told.session_id, told.message.seq) == ("s", 2)

    async def test_messages_come_complete_and_in_order(self, manager: SessionManager) -> None:
        await create(manager, max_history=1000)
        async with Watch(manager) as watch:
            await asyncio.gather(*(say(manager, *(f"{writer}.{n}" for n in range(20))) for writer in range(5)))
            await manager.add_messages("s", [{"from": "user", "text": f"b{n}"} for n in range(30)])
            await watch.next(MessageAppended, lambda event: event.message.text == "b29")
        assert watch.texts == [message.text for message in await manager.get_history("s", 1000)]

    async def test_each_watcher_is_told_all(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager) as one, Watch(manager) as other:
            await say(manager, "first", "second")
            for watch in (one, other):
                await watch.next(MessageAppended, lambda event: event.message.text == "second")
        assert one.texts == other.texts == ["first", "second"]

    async def test_a_watcher_is_told_of_no_other_session(self, manager: SessionManager) -> None:
        await create(manager)
        await create(manager, "other")
        async with Watch(manager) as watch:
            await say(manager, "not for you", session_id="other")
            await say(manager, "for you")
            await watch.next(MessageAppended)
        assert watch.texts == ["for you"]

    async def test_messages_that_are_replaced_or_retracted_are_told_again(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "one", id="m1")
        async with Watch(manager) as watch:
            await say(manager, "two", id="m2")
            await manager.replace_message("s", {"id": "m1", "from": "user", "text": "better"})
            replaced = await watch.next(MessageReplaced)
            await manager.retract_message("s", "m2")
            retracted = await watch.next(MessageRetracted)
        assert (replaced.message.id, replaced.message.seq, replaced.message.text) == ("m1", 1, "better")
        assert (retracted.message.id, retracted.message.seq, retracted.message.text) == ("m2", 2, "")

    async def test_popped_messages_are_told_as_retracted(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "one", "two", "three")
        async with Watch(manager) as watch:
            await manager.pop_messages("s", 2)
            first, second = await watch.next(MessageRetracted), await watch.next(MessageRetracted)
        assert [event.message.seq for event in (first, second)] == [2, 3]

    async def test_a_cleared_history_is_told(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "one", "two")
        async with Watch(manager) as watch:
            await manager.clear_history("s")
            await watch.next(HistoryCleared)
            await say(manager, "three")
            told = await watch.next(MessageAppended)
        assert told.message.seq == 3
        assert watch.names == ["state", "history_cleared", "message_appended"]

    async def test_a_replaced_history_is_told_as_cleared_and_then_as_it_is(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "one", "two")
        async with Watch(manager) as watch:
            await manager.replace_history("s", [{"from": "user", "text": "in short"}])
            await watch.next(HistoryCleared)
            await watch.next(MessageAppended)
        assert watch.texts == ["in short"]

    async def test_a_switch_of_the_agent_is_told(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager) as watch:
            await manager.switch_agent("s", "human")
            switched = await watch.next(AgentSwitched)
        assert (switched.agent, switched.epoch) == ("human", 1)

    async def test_the_steps_of_the_desk_are_told(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        await create(manager)
        async with Watch(manager, include_internal=True) as watch:
            await desk.request_human("s", reason="refund", say="One moment.")
            waiting = await watch.next(DeskChanged)
            await desk.take_over("s", "ann")
            assigned = await watch.next(DeskChanged, lambda event: event.desk.state == "assigned")
            await desk.hand_back("s", "ann")
            await watch.next(DeskChanged, lambda event: event.desk.state == "open")
        assert (waiting.desk.state, waiting.desk.reason) == ("waiting", "refund")
        assert assigned.desk.operator_id == "ann"
        assert "One moment." in watch.texts

    async def test_changed_metadata_and_a_new_lifetime_are_told(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager, include_internal=True) as watch:
            await manager.update_session("s", {"topic": "bread"})
            assert (await watch.next(SessionUpdated)).session.metadata == {"topic": "bread"}
            await manager.set_session_ttl("s", 300)
            assert (await watch.next(SessionUpdated)).session.ttl == 300
            await manager.increment("s", "count")
            assert (await watch.next(SessionUpdated)).session.metadata["count"] == 1

    async def test_a_session_that_is_only_read_or_extended_tells_nothing(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager, include_internal=True) as watch:
            await manager.get_session("s")
            await manager.extend_session("s")
            await say(manager, "end")
            await watch.next(MessageAppended)
        assert watch.names == ["state", "message_appended"]

    async def test_a_feed_ends_when_its_session_is_deleted(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager) as watch:
            await manager.delete_session("s")
            await watch.next(SessionDeleted)
            await watch.end()

    async def test_a_feed_ends_when_its_session_expires(self, manager: SessionManager) -> None:
        await create(manager, ttl=1)
        async with Watch(manager) as watch:
            await watch.next(SessionExpired)
            await watch.end()

    async def test_a_feed_ends_when_the_manager_is_closed(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager) as watch:
            await manager.close()
            await watch.end()
            assert watch.names == ["state"]
        with pytest.raises(ManagerClosed):
            await last_cursor(manager)

    async def test_typing_is_told_and_not_stored(self, manager: SessionManager) -> None:
        await create(manager)
        cursor = await last_cursor(manager)
        async with Watch(manager, include_internal=True) as watch:
            await watch.see_typing("ann", "ann")
        async with Watch(manager, after=cursor) as later:
            await say(manager, "end")
            await later.next(MessageAppended)
        assert later.names == ["state", "message_appended"]

    async def test_what_a_worker_does_in_a_turn_is_told(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager) as watch:
            await say(manager, "question")
            await answer(manager, "s", "reply")
            await watch.next(MessageAppended, lambda event: event.message.sender == "assistant")
        assert watch.texts == ["question", "reply"]

    async def test_a_message_that_was_retracted_before_it_was_told_is_told_as_its_tombstone(
        self, manager: SessionManager
    ) -> None:
        await create(manager)
        cursor = await last_cursor(manager)
        await say(manager, "gone", id="m1")
        await say(manager, "kept")
        await manager.retract_message("s", "m1")
        async with Watch(manager, after=cursor) as watch:
            first = await watch.next(MessageAppended)
            await watch.next(MessageAppended)
        assert (first.message.id, first.message.type) == ("m1", RETRACTED)
        assert watch.texts == ["", "kept"]

    async def test_watchers_who_go_away_leave_the_others_alone(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager) as watch:
            for _ in range(5):
                async with Watch(manager) as other:
                    await say(manager, "x")
                    await other.next(MessageAppended)
            await say(manager, "end")
            await watch.next(MessageAppended, lambda event: event.message.text == "end")
        assert watch.texts == ["x"] * 5 + ["end"]

    async def test_a_watcher_that_does_not_read_holds_up_nobody_and_goes_on_where_it_was(
        self, manager: SessionManager
    ) -> None:
        await create(manager, max_history=1000)
        feed = manager.watch("s")
        assert isinstance(await anext(feed), State)
        async with Watch(manager) as other:
            for number in range(5):
                await manager.add_messages("s", [{"from": "user", "text": f"{number}.{n}"} for n in range(100)])
            await other.next(MessageAppended, lambda event: event.message.seq == 500)
        told = [await anext(feed) for _ in range(500)]
        await feed.aclose()
        assert [event.message.seq for event in told if isinstance(event, MessageAppended)] == list(range(1, 501))
