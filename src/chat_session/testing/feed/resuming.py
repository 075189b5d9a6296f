"""A feed that goes on behind a cursor: nothing is left out without a word."""

import pytest

from chat_session.errors import SessionNotFound
from chat_session.events import (
    Gap,
    HistoryCleared,
    MessageAppended,
    MessageReplaced,
    MessageRetracted,
    Reset,
    State,
)
from chat_session.manager import SessionManager
from chat_session.testing.feed.scene import Watch, create, last_cursor, read_until, say


class ResumingContract:
    async def test_a_feed_goes_on_behind_any_event(self, manager: SessionManager) -> None:
        await create(manager)
        async with Watch(manager) as watch:
            await say(manager, *(f"m{n}" for n in range(10)))
            await watch.next(MessageAppended, lambda event: event.message.text == "m9")
        for i, event in enumerate(watch.events):
            async with Watch(manager, after=event.cursor) as later:
                await say(manager, f"end {i}")
                while f"end {i}" not in later.texts:
                    await later.next(MessageAppended)
            assert later.texts[: 10 - i] == [f"m{n}" for n in range(i, 10)]
            assert later.texts[10 - i :] == [f"end {n}" for n in range(i + 1)]

    async def test_many_messages_that_were_missed_come_in_order(self, manager: SessionManager) -> None:
        await create(manager, max_history=1000)
        cursor = await last_cursor(manager)
        await manager.add_messages("s", [{"from": "user", "text": f"{n} {'x' * 3000}"} for n in range(400)])
        async with Watch(manager, after=cursor) as watch:
            await watch.next(MessageAppended, lambda event: event.message.seq == 400)
        assert [text.split()[0] for text in watch.texts] == [str(n) for n in range(400)]

    async def test_changes_that_were_missed_are_told(self, manager: SessionManager) -> None:
        await create(manager)
        for n in (1, 2, 3):
            await say(manager, f"text {n}", id=f"m{n}")
        cursor = await last_cursor(manager)
        await manager.replace_message("s", {"id": "m1", "from": "user", "text": "better"})
        await manager.retract_message("s", "m3")
        await say(manager, "end")
        events = await read_until(manager, MessageAppended, after=cursor)
        assert [event.name for event in events] == [
            "state",
            "message_replaced",
            "message_retracted",
            "message_appended",
        ]
        assert isinstance(events[1], MessageReplaced)
        assert isinstance(events[2], MessageRetracted)
        assert (events[1].message.id, events[1].message.text, events[2].message.id) == ("m1", "better", "m3")

    async def test_a_change_that_was_told_is_not_told_again(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "one", id="m1")
        async with Watch(manager) as watch:
            await manager.retract_message("s", "m1")
            cursor = (await watch.next(MessageRetracted)).cursor
        await say(manager, "end")
        events = await read_until(manager, MessageAppended, after=cursor)
        assert [event.name for event in events] == ["state", "message_appended"]

    async def test_a_history_that_was_cleared_meanwhile_is_told(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "one", id="m1")
        cursor = await last_cursor(manager)
        await manager.retract_message("s", "m1")
        await manager.clear_history("s")
        await say(manager, "end")
        events = await read_until(manager, MessageAppended, after=cursor)
        assert [event.name for event in events] == ["state", "history_cleared", "message_appended"]
        assert isinstance(events[1], HistoryCleared)

    async def test_messages_that_were_trimmed_are_a_gap(self, manager: SessionManager) -> None:
        await create(manager, max_history=5)
        await say(manager, "told")
        cursor = await last_cursor(manager)
        await say(manager, *(f"m{n}" for n in range(2, 11)))
        events = await read_until(manager, MessageAppended, after=cursor)
        [_, gap, first] = events
        assert isinstance(gap, Gap)
        assert isinstance(first, MessageAppended)
        assert (gap.from_seq, gap.to_seq, first.message.seq) == (2, 5, 6)
        after_gap = await read_until(manager, MessageAppended, after=gap.cursor)
        assert [event.name for event in after_gap] == ["state", "message_appended"]

    async def test_another_session_with_the_id_is_a_reset(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "old")
        cursor = await last_cursor(manager)
        await manager.delete_session("s")
        with pytest.raises(SessionNotFound):
            await read_until(manager, State, after=cursor)
        await create(manager)
        await say(manager, "new")
        async with Watch(manager, after=cursor) as watch:
            reset = await watch.next(Reset)
            await watch.next(State)
            await say(manager, "newer")
            await watch.next(MessageAppended)
        assert reset.reason == "recreated"
        assert watch.names == ["state", "reset", "state", "message_appended"]
        assert watch.texts == ["newer"]

    async def test_more_changes_than_are_listed_are_a_reset(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "one", id="m1")
        cursor = await last_cursor(manager)
        for n in range(65):
            await manager.replace_message("s", {"id": "m1", "from": "user", "text": f"form {n}"})
        async with Watch(manager, after=cursor) as watch:
            assert (await watch.next(Reset)).reason == "too_old"
            await watch.next(State)

    async def test_as_many_changes_as_are_listed_are_told(self, manager: SessionManager) -> None:
        await create(manager)
        await say(manager, "one", id="m1")
        cursor = await last_cursor(manager)
        for n in range(64):
            await manager.replace_message("s", {"id": "m1", "from": "user", "text": f"form {n}"})
        await say(manager, "end")
        events = await read_until(manager, MessageAppended, after=cursor)
        assert {event.message.text for event in events if isinstance(event, MessageReplaced)} == {"form 63"}
        assert not any(isinstance(event, Reset) for event in events)
