"""The contract of markers: what a step leaves in the transcript, and what a customer can read of it."""

from collections.abc import Callable
from datetime import UTC

from chat_session.desk import Desk
from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.testing.desk.scene import SHORT_LEASE, DeskFixture, claim, create, let_wait, markers, until_waiting
from chat_session.testing.sessions.edits import read

PRIVATE = "what no customer may read"


class MarkerContract(DeskFixture):
    """Messages of the type "handoff"."""

    async def test_a_marker_is_a_message_of_the_system(self, manager: SessionManager, desk: Desk) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        [marker] = await manager.get_history("s", include_internal=True)
        assert (marker.sender, marker.type, marker.seq, marker.internal) == ("system", "handoff", 1, True)
        assert marker.id
        assert marker.timestamp is not None
        assert marker.timestamp.tzinfo is UTC
        assert marker.text == "Operator anna took over the session."
        assert marker.extra == {"handoff": {"event": "taken_over", "operatorId": "anna"}}
        assert Message.from_dict(marker.to_dict()) == marker

    async def test_each_marker_holds_the_facts_of_its_step(self, manager: SessionManager, desk: Desk) -> None:
        await let_wait(manager, "s", reason="a refund", priority=2, team="billing")
        await desk.request_human("s", priority=4)
        await claim(manager, "anna")
        await desk.transfer("s", "anna", to="ben", note="yours")
        await desk.decline("s", "ben")
        await desk.answer("s", "carl", "hello")
        await desk.take_over("s", "dora")
        await desk.transfer("s", "dora", team="sales")
        await desk.hand_back("s", "emil")
        found = await markers(manager, "s")
        for marker in found:
            if marker["event"] in ("claimed", "answered"):
                assert marker.pop("waited") >= 0
        assert found == [
            {"event": "requested", "reason": "a refund", "priority": 2, "team": "billing"},
            {"event": "raised", "priority": 4},
            {"event": "claimed", "operatorId": "anna"},
            {"event": "transferred", "operatorId": "anna", "to": "ben", "note": "yours"},
            {"event": "declined", "operatorId": "ben"},
            {"event": "answered", "operatorId": "carl"},
            {"event": "taken_over", "operatorId": "dora", "before": "carl"},
            {"event": "transferred", "operatorId": "dora", "team": "sales"},
            {"event": "handed_back", "operatorId": "emil"},
        ]

    async def test_a_customer_reads_no_operator_no_reason_and_no_note(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(claim_lease=SHORT_LEASE)
        desk = Desk(manager)
        await create(manager, "s")
        await desk.request_human("s", reason=PRIVATE, say="soon")
        await claim(manager, PRIVATE)
        await desk.note("s", PRIVATE, PRIVATE)
        await until_waiting(manager, "s")
        await desk.take_over("s", PRIVATE)
        await desk.transfer("s", PRIVATE, to=f"{PRIVATE} 2", note=PRIVATE)
        await desk.decline("s", f"{PRIVATE} 2")
        await desk.take_over("s", PRIVATE)
        await desk.transfer("s", PRIVATE, team="sales", note=PRIVATE)
        await desk.take_over("s", PRIVATE)
        await desk.hand_back("s", PRIVATE, note=PRIVATE, say="bye", resolved=True)
        visible = await manager.get_history("s", 100)
        assert [message.text for message in visible] == ["soon", "bye"]
        paged = [message async for message in manager.iter_history("s", page=2)]
        assert paged == visible
        window = await manager.get_window("s", include_internal=False)
        assert PRIVATE not in repr(visible) + repr(window)
        everything = await manager.get_history("s", 100, include_internal=True)
        assert len(everything) == (await read(manager, "s")).message_count
        assert sum(PRIVATE in repr(message) for message in everything) == len(everything) - 2

    async def test_a_request_without_a_reason_leaves_a_marker_that_a_customer_may_see(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s", "with-reason")
        await desk.request_human("s", team="billing", priority=1)
        await desk.request_human("s", priority=2)
        assert [message.extra["handoff"]["event"] for message in await manager.get_history("s")] == [
            "requested",
            "raised",
        ]
        await desk.request_human("with-reason", reason="a refund")
        assert await manager.get_history("with-reason") == []

    async def test_the_marker_of_a_hand_back_says_who_had_the_session_and_for_how_long(
        self, manager: SessionManager, desk: Desk
    ) -> None:
        await create(manager, "s")
        await desk.take_over("s", "anna")
        await desk.hand_back("s", "anna", note="refunded", resolved=True)
        marker = (await manager.get_window("s"))[-1]
        assert marker.text == (
            "Operator anna handed the session back to the AI after less than a minute."
            " The matter is resolved. Note: refunded"
        )

    async def test_a_marker_is_trimmed_as_any_message(self, open_manager: Callable[..., SessionManager]) -> None:
        manager = open_manager(max_message_history=4)
        desk = Desk(manager)
        await create(manager, "s")
        for _ in range(3):
            await desk.request_human("s", say="soon")
            await desk.hand_back("s", "anna", say="bye")
        history = await manager.get_history("s", 100, include_internal=True)
        assert [message.seq for message in history] == [9, 10, 11, 12]
        assert [message.sender for message in history] == ["system", "assistant"] * 2
