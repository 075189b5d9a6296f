"""The contract of the desk's lists: the queue by page, and the sessions that operators have."""

import pytest

from chat_session.desk import Desk
from chat_session.errors import InvalidInput
from chat_session.manager import SessionManager
from chat_session.testing.desk.scene import DeskFixture, claim, create, let_wait
from chat_session.testing.sessions.edits import read


async def list_waiting(desk: Desk, limit: int, team: str | None = None) -> tuple[list[str], list[int]]:
    """All ids by following the cursors, and the sizes of the pages."""
    found, sizes, cursor = [], [], None
    while True:
        page = await desk.waiting(team=team, limit=limit, cursor=cursor)
        found += [entry.session_id for entry in page]
        sizes.append(len(page))
        cursor = page.cursor
        if cursor is None:
            return found, sizes


class DeskListContract(DeskFixture):
    """Waiting and assigned."""

    async def test_the_entries_of_the_queue_say_what_the_sessions_say(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        assert await desk.waiting() == []
        assert (await desk.waiting()).cursor is None
        await let_wait(manager, "s", reason="a refund", priority=2, team="billing")
        [entry] = await desk.waiting()
        expected = (await read(manager, "s")).desk
        assert (entry.session_id, entry.state, entry.operator_id) == ("s", "waiting", None)
        assert (entry.reason, entry.priority, entry.team) == ("a refund", 2, "billing")
        assert (entry.since, entry.waiting_since) == (expected.since, expected.waiting_since)
        assert entry.to_dict() == {"sessionId": "s", **expected.to_dict()}

    async def test_the_queue_comes_in_pages_that_meet_each_session_once(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        for i in range(23):
            await let_wait(manager, f"s{i}", priority=i % 3, team="sales" if i % 2 else None)
        in_order = [f"s{i}" for i in sorted(range(23), key=lambda i: (-(i % 3), i))]
        sales = [session_id for session_id in in_order if int(session_id[1:]) % 2]
        for limit in (1, 4, 22, 23, 24, 10_000):
            found, sizes = await list_waiting(desk, limit)
            assert found == in_order
            assert max(sizes) <= limit
            assert (await list_waiting(desk, limit, "sales"))[0] == sales
        assert (await list_waiting(desk, 4))[1][:5] == [4] * 5
        assert [entry.session_id for entry in await desk.waiting()] == in_order
        assert await list_waiting(desk, 4, "nobody") == ([], [0])

    async def test_a_page_shows_fifty_unless_it_is_told_otherwise(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, *(f"s{i}" for i in range(51)))
        first = await desk.waiting()
        assert [entry.session_id for entry in first] == [f"s{i}" for i in range(50)]
        assert first.cursor is not None
        assert [entry.session_id for entry in await desk.waiting(cursor=first.cursor)] == ["s50"]

    async def test_sessions_that_leave_while_the_queue_is_read_hide_no_others(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await let_wait(manager, *(f"s{i}" for i in range(12)))
        page = await desk.waiting(limit=4)
        found = [entry.session_id for entry in page]
        for _ in range(3):
            await claim(manager, "anna")
        await manager.delete_session("s3")  # the last one that was shown
        await desk.hand_back("s7", "anna")
        await let_wait(manager, "late")
        while page.cursor is not None:
            page = await desk.waiting(limit=4, cursor=page.cursor)
            found += [entry.session_id for entry in page]
        assert found == [*(f"s{i}" for i in range(12) if i != 7), "late"]

    @pytest.mark.parametrize("cursor", ["", "x", "x" * 3000, "é", "WzEsInVzZXIiXQ", "WzEsImFsbCIsIngiXQ"])
    async def test_a_cursor_that_no_page_of_the_queue_gave_is_refused(
        self, manager: SessionManager, desk: Desk, cursor: str
    ) -> None:
        await let_wait(manager, "s")
        with pytest.raises(InvalidInput, match="cursor"):
            await desk.waiting(cursor=cursor)

    async def test_the_cursor_of_another_list_is_refused(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "a", "b")
        other = (await manager.list_user_sessions("u", limit=1)).cursor
        own = (await desk.waiting(limit=1)).cursor
        assert other is not None
        assert own is not None
        with pytest.raises(InvalidInput, match="cursor"):
            await desk.waiting(cursor=other)
        with pytest.raises(InvalidInput, match="cursor"):
            await manager.list_user_sessions("u", cursor=own)

    async def test_the_sessions_of_an_operator_are_listed(self, manager: SessionManager, desk: Desk) -> None:
        assert await desk.assigned("anna") == []
        assert await desk.assigned() == []
        await let_wait(manager, "a", "b", "waits", reason="a refund", priority=1, team="billing")
        await create(manager, "open", "c")
        for session_id, operator in (("b", "ben"), ("a", "anna"), ("c", "anna")):
            await desk.take_over(session_id, operator)
        anna = {entry.session_id: entry for entry in await desk.assigned("anna")}
        assert sorted(anna) == ["a", "c"]
        for session_id, entry in anna.items():
            expected = (await read(manager, session_id)).desk
            assert entry.to_dict() == {"sessionId": session_id, **expected.to_dict()}
        everyone = await desk.assigned()
        assert [entry.operator_id for entry in everyone] == ["anna", "anna", "ben"]
        assert sorted(entry.session_id for entry in everyone) == ["a", "b", "c"]
        assert await desk.assigned("nobody") == []
        await manager.delete_session("a")
        await desk.hand_back("b", "ben")
        assert [entry.session_id for entry in await desk.assigned()] == ["c"]
