"""What a watcher of the desk is told."""

from collections.abc import Callable
from typing import Any

import pytest

from chat_session.desk import Desk
from chat_session.errors import InvalidInput, ManagerClosed
from chat_session.events import DeskChanged, DeskSnapshot, Headline, Presence
from chat_session.manager import SessionManager
from chat_session.testing.desk.scene import SHORT_LEASE, create, let_wait
from chat_session.testing.feed.scene import DeskWatch, say
from chat_session.testing.waiting import until


class DeskFeedContract:
    async def test_the_feed_of_the_desk_begins_with_all_that_is_there(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        await let_wait(manager, "s1", "s2", reason="refund")
        await create(manager, "s3", "open")
        await desk.take_over("s3", "ann")
        await say(manager, "newest", session_id="s3")
        async with DeskWatch(manager) as watch:
            headline = await watch.next(Headline)
        [snapshot, *others] = watch.events
        assert isinstance(snapshot, DeskSnapshot)
        assert [(entry.session_id, entry.reason) for entry in snapshot.waiting] == [("s1", "refund"), ("s2", "refund")]
        assert [(entry.session_id, entry.operator_id) for entry in snapshot.assigned] == [("s3", "ann")]
        assert [(each.operator_id, each.assigned) for each in snapshot.operators] == [("ann", 1)]
        assert others == [headline]
        assert (headline.session_id, headline.message.text) == ("s3", "newest")

    async def test_each_step_of_a_session_at_the_desk_is_told(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        await create(manager, "s")
        async with DeskWatch(manager) as watch:
            await desk.request_human("s", priority=3)
            assert (await _next(watch, "s", "waiting")).desk.priority == 3
            await desk.claim_next("ann")
            assert (await _next(watch, "s", "assigned")).desk.operator_id == "ann"
            await desk.transfer("s", "ann", to="ben")
            await watch.next(DeskChanged, lambda event: event.desk.operator_id == "ben")
            await desk.transfer("s", "ben", team="billing")
            assert (await _next(watch, "s", "waiting")).desk.team == "billing"
            await desk.take_over("s", "ann")
            await _next(watch, "s", "assigned")
            await desk.hand_back("s", "ann")
            assert (await _next(watch, "s", "open")).desk.operator_id is None

    async def test_a_session_that_is_deleted_is_told_as_open(self, manager: SessionManager) -> None:
        await let_wait(manager, "s")
        async with DeskWatch(manager) as watch:
            await manager.delete_session("s")
            await _next(watch, "s", "open")

    async def test_an_operator_who_comes_and_changes_is_told(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        async with DeskWatch(manager) as watch:
            seen = await desk.operator_seen("ann", capacity=7)
            told = await watch.next(Presence)
            assert (told.operator, told.present, told.session_id) == (seen, True, "")
            await desk.operator_seen("ann", available=False)
            assert not (await watch.next(Presence)).operator.available

    async def test_an_operator_whose_presence_is_only_renewed_is_not_told(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        async with DeskWatch(manager) as watch:
            await desk.operator_seen("ann")
            await watch.next(Presence)
            await desk.operator_seen("ann")
            await desk.operator_seen("end")
            await watch.next(Presence, lambda event: event.operator.operator_id == "end")
        assert watch.names == ["desk_snapshot", "presence", "presence"]

    async def test_an_operator_who_has_gone_is_told(self, open_manager: Callable[..., SessionManager]) -> None:
        manager = open_manager(claim_lease=SHORT_LEASE)
        desk = Desk(manager)
        async with DeskWatch(manager) as watch:
            await desk.operator_seen("ann")
            await watch.next(Presence)

            async def has_gone() -> bool:
                await manager.cleanup_expired_sessions()
                return await desk.operators() == []

            await until(has_gone)
            gone = await watch.next(Presence, lambda event: not event.present)
        assert gone.operator.operator_id == "ann"

    async def test_the_newest_message_of_a_session_that_an_operator_has_is_told(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        await create(manager, "s", "other")
        async with DeskWatch(manager) as watch:
            await desk.answer("s", "ann", "Hello.")
            hello = await watch.next(Headline)
            await desk.note("s", "ann", "internal")
            await say(manager, "not for the desk", session_id="other")
            await say(manager, "Thank you.", session_id="s")
            thanks = await watch.next(Headline, lambda event: event.message.text == "Thank you.")
            headlines = [event.message.text for event in watch.events if isinstance(event, Headline)]
        assert (hello.session_id, hello.message.text, hello.message.author) == ("s", "Hello.", "ann")
        assert (thanks.session_id, headlines) == ("s", ["Hello.", "Thank you."])

    async def test_a_session_that_was_handed_back_has_no_headlines(self, manager: SessionManager) -> None:
        desk = Desk(manager)
        await create(manager, "s", "other")
        async with DeskWatch(manager) as watch:
            await desk.answer("s", "ann", "Hello.")
            await watch.next(Headline)
            await desk.hand_back("s", "ann")
            await _next(watch, "s", "open")
            await say(manager, "for the bot", session_id="s")
            await desk.answer("other", "ann", "end")
            await watch.next(Headline, lambda event: event.message.text == "end")
        assert "for the bot" not in [event.message.text for event in watch.events if isinstance(event, Headline)]

    async def test_a_session_that_only_leaves_the_head_of_the_queue_is_not_told_as_open(
        self, manager: SessionManager
    ) -> None:
        await let_wait(manager, "s1", "s2")
        await create(manager, "urgent")
        async with DeskWatch(manager, limit=2) as watch:
            await Desk(manager).request_human("urgent", priority=9)  # now s2 is the third
            await _next(watch, "urgent", "waiting")
            await Desk(manager).claim_next("ann")
            await _next(watch, "urgent", "assigned")
        states = [(each.session_id, each.desk.state) for each in watch.events if isinstance(each, DeskChanged)]
        assert [told for told in states if told[1] == "open"] == []
        assert ("s2", "waiting") in states  # it is at the head again

    async def test_the_snapshot_has_as_much_of_the_queue_as_was_asked_for(self, manager: SessionManager) -> None:
        await let_wait(manager, "s1", "s2", "s3")
        async with DeskWatch(manager, limit=2) as watch:
            [snapshot] = watch.events
        assert isinstance(snapshot, DeskSnapshot)
        assert [entry.session_id for entry in snapshot.waiting] == ["s1", "s2"]

    @pytest.mark.parametrize("limit", [0, -1, 10_001, "5", None, True, 1.5])
    async def test_what_is_no_length_of_a_list_is_refused_at_once(self, manager: SessionManager, limit: Any) -> None:
        with pytest.raises(InvalidInput, match=r"^limit must be"):
            Desk(manager).watch(limit=limit)

    async def test_the_feed_of_the_desk_ends_when_the_manager_is_closed(self, manager: SessionManager) -> None:
        async with DeskWatch(manager) as watch:
            await manager.close()
            await watch.end()
        assert watch.names == ["desk_snapshot"]
        with pytest.raises(ManagerClosed):
            await anext(Desk(manager).watch())

    async def test_each_watcher_of_the_desk_is_told_all(self, manager: SessionManager) -> None:
        await create(manager, "s")
        async with DeskWatch(manager) as one, DeskWatch(manager) as other:
            await Desk(manager).request_human("s")
            for watch in (one, other):
                await _next(watch, "s", "waiting")


async def _next(watch: DeskWatch, session_id: str, state: str) -> DeskChanged:
    return await watch.next(DeskChanged, lambda event: (event.session_id, event.desk.state) == (session_id, state))
