"""Every operation of the desk once, through its facade, on the embedded store."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chat_session import AgentConflict, Desk, DeskConflict, Message, MessageConflict, SessionManager, SessionNotFound
from chat_session.clock import now
from chat_session.desk_results import DeskEntry
from chat_session.desk_status import OPEN
from chat_session.errors import OperatorFull
from chat_session.session import Session
from chat_session.testing.waiting import until
from testkit.present import present


@pytest.fixture(params=["file", "memory"])
async def manager(request: pytest.FixtureRequest) -> AsyncIterator[SessionManager]:
    url = "sqlite:///:memory:" if request.param == "memory" else "sqlite:///chat.db"
    async with SessionManager.from_url(url, waiting_ttl=10_000, claim_lease=100.0) as manager:
        for name in ("a", "b", "c"):
            await manager.create_session("u", session_id=name, ttl=600)
        yield manager


@pytest.fixture
def desk(manager: SessionManager) -> Desk:
    return Desk(manager)


async def read(manager: SessionManager, session_id: str) -> Session:
    return present(await manager.get_session(session_id))


async def events(manager: SessionManager, session_id: str) -> list[str]:
    """The markers' events, and the texts of the other messages."""
    messages = await manager.get_history(session_id, include_internal=True)
    return [message.extra["handoff"]["event"] if message.type == "handoff" else message.text for message in messages]


def names(entries: list[DeskEntry]) -> list[str]:
    return [entry.session_id for entry in entries]


async def test_a_request_puts_the_session_into_the_queue_once(manager: SessionManager, desk: Desk) -> None:
    first = await desk.request_human("a", reason="r", priority=2, team="t", say="one moment")
    again = await desk.request_human("a", reason="other", priority=1)
    assert (first.state, first.place) == ("waiting", 1)
    assert again == first
    raised = await desk.request_human("a", priority=5)
    assert raised == first
    session = await read(manager, "a")
    assert (session.desk.reason, session.desk.priority, session.desk.team) == ("r", 5, "t")
    assert (session.current_agent, session.agent_epoch) == ("human", 1)
    assert await events(manager, "a") == ["requested", "one moment", "raised"]
    with pytest.raises(AgentConflict):
        await manager.add_message("a", {"from": "assistant", "text": "late"}, epoch=0)


async def test_an_ai_that_is_not_held_may_go_on(manager: SessionManager, desk: Desk) -> None:
    await desk.request_human("a", hold_ai=False)
    session = await read(manager, "a")
    assert (session.desk.state, session.current_agent, session.agent_epoch) == ("waiting", "ai", 0)
    await manager.add_message("a", {"from": "assistant", "text": "meanwhile"}, epoch=0)


async def test_places_are_counted_within_a_team(desk: Desk) -> None:
    assert (await desk.request_human("a", team="t")).place == 1
    assert (await desk.request_human("b", team="t")).place == 2
    assert (await desk.request_human("c")).place == 1
    assert (await desk.request_human("b", priority=1)).place == 1
    assert (await desk.request_human("a")).place == 2


async def test_claims_come_in_order_and_up_to_the_capacity(manager: SessionManager, desk: Desk) -> None:
    for name, priority in (("a", 0), ("b", 0), ("c", 9)):
        await desk.request_human(name, priority=priority, team="t")
    assert await desk.claim_next("anna", teams=["other"]) is None
    await desk.operator_seen("anna", capacity=2)
    assert [present(await desk.claim_next("anna", teams=["t"])).session_id for _ in range(2)] == ["c", "a"]
    with pytest.raises(OperatorFull) as full:
        await desk.claim_next("anna")
    assert (full.value.assigned, full.value.capacity) == (2, 2)
    assert present(await desk.claim_next("bob")).session_id == "b"
    assert await desk.claim_next("bob") is None
    assert (await desk.request_human("a")).state == "assigned"
    assert await events(manager, "a") == ["requested", "claimed"]


async def test_operators_who_claim_at_once_get_different_sessions(manager: SessionManager, desk: Desk) -> None:
    for i in range(30):
        await manager.create_session("u", session_id=f"s{i}")
        await desk.request_human(f"s{i}")
    claimed = await asyncio.gather(*(desk.claim_next(f"operator {i}") for i in range(40)))
    found = [session.session_id for session in claimed if session is not None]
    assert (len(found), len(set(found))) == (30, 30)


async def test_a_takeover_may_name_what_it_expects(manager: SessionManager, desk: Desk) -> None:
    with pytest.raises(DeskConflict):
        await desk.take_over("a", "anna", expect="waiting")
    assert (await desk.take_over("a", "anna", expect=0)).desk.operator_id == "anna"
    assert (await desk.take_over("a", "anna", expect=0)).agent_epoch == 1
    with pytest.raises(DeskConflict) as refused:
        await desk.take_over("a", "bob", expect=0)
    assert (refused.value.operator_id, refused.value.state) == ("anna", "assigned")
    assert "bob" in [operator.operator_id for operator in await desk.operators()]
    assert (await desk.take_over("a", "bob")).desk.operator_id == "bob"
    assert await events(manager, "a") == ["taken_over", "taken_over"]
    with pytest.raises(SessionNotFound):
        await desk.take_over("none", "anna")


async def test_an_answer_takes_over_and_its_repeat_does_not(manager: SessionManager, desk: Desk) -> None:
    message = Message(sender="operator", text="hello", id="m1")
    first = await desk.answer("a", "anna", message)
    assert (first.message.author, first.duplicate) == ("anna", False)
    with pytest.raises(DeskConflict):
        await desk.answer("a", "bob", "no", polite=True)
    await desk.answer("a", "bob", "mine")
    again = await desk.answer("a", "anna", message)
    assert (again.duplicate, again.seq) == (True, first.seq)
    assert (await read(manager, "a")).desk.operator_id == "bob"
    with pytest.raises(MessageConflict):
        await desk.answer("a", "anna", Message(sender="operator", text="other", id="m1"))
    assert (await read(manager, "a")).desk.operator_id == "bob"
    assert await events(manager, "a") == ["answered", "hello", "answered", "mine"]


async def test_a_note_changes_nothing_else(manager: SessionManager, desk: Desk) -> None:
    await desk.note("a", "anna", "careful")
    assert (await read(manager, "a")).desk == OPEN
    assert [message.text for message in await manager.get_history("a")] == []
    assert await events(manager, "a") == ["careful"]


async def test_a_transfer_to_an_operator_may_be_declined(manager: SessionManager, desk: Desk) -> None:
    ticket = await desk.request_human("a")
    await desk.claim_next("anna")
    with pytest.raises(DeskConflict):
        await desk.transfer("a", "bob", to="carl")
    assert "carl" not in [operator.operator_id for operator in await desk.operators()]
    assert (await desk.transfer("a", "anna", to="bob", note="n")).desk.operator_id == "bob"
    bob = next(operator for operator in await desk.operators() if operator.operator_id == "bob")
    assert (bob.assigned, bob.seen_at is not None) == (1, True)
    declined = await desk.decline("a", "bob")
    assert (declined.desk.state, declined.desk.waiting_since) == ("waiting", ticket.waiting_since)
    with pytest.raises(DeskConflict):
        await desk.decline("a", "bob")
    assert await events(manager, "a") == ["requested", "claimed", "transferred", "declined"]


async def test_one_who_was_only_given_a_session_was_not_seen(desk: Desk) -> None:
    await desk.take_over("a", "anna")
    await desk.transfer("a", "anna", to="bob")
    anna, bob = await desk.operators()
    assert (anna.available, anna.seen_at is None) == (True, False)
    assert (bob.available, bob.seen_at is None, bob.assigned) == (False, True, 1)
    await desk.note("a", "bob", "I am here")
    assert [operator.available for operator in await desk.operators()] == [True, True]
    await desk.operator_seen("bob", available=False)
    await desk.note("a", "bob", "I am still here")
    assert [operator.available for operator in await desk.operators()] == [True, False]


async def test_a_transfer_to_a_team_waits_behind_the_others(manager: SessionManager, desk: Desk) -> None:
    await desk.take_over("a", "anna")
    await desk.request_human("b", team="t")
    assert (await desk.transfer("a", "anna", team="t")).desk.team == "t"
    assert names(await desk.waiting(team="t")) == ["b", "a"]
    assert await desk.assigned("anna") == []


async def test_a_hand_back_begins_an_epoch_and_tells_the_customer(manager: SessionManager, desk: Desk) -> None:
    await desk.take_over("a", "anna")
    with pytest.raises(DeskConflict):
        await desk.hand_back("a", "bob")
    back = await desk.hand_back("a", "anna", note="n", say="bye", resolved=True)
    assert (back.desk.state, back.current_agent, back.agent_epoch) == ("open", "ai", 2)
    assert (await desk.hand_back("a", "anna")).agent_epoch == 2
    assert await events(manager, "a") == ["taken_over", "handed_back", "bye"]


async def test_a_session_lives_longer_while_it_depends_on_people(manager: SessionManager, desk: Desk) -> None:
    await desk.request_human("a")
    await manager.add_message("a", {"from": "user", "text": "x"})
    assert (await manager.get_session_ttl("a"), (await read(manager, "a")).ttl) == (10_000, 600)
    await manager.set_session_ttl("a", 700)
    assert (await manager.get_session_ttl("a"), (await read(manager, "a")).ttl) == (10_000, 700)
    await manager.set_session_ttl("a", 20_000)
    assert (await manager.get_session_ttl("a"), (await read(manager, "a")).ttl) == (20_000, 20_000)
    await manager.set_session_ttl("a", None)
    assert (await manager.get_session_ttl("a"), (await read(manager, "a")).ttl) == (-1, None)
    await manager.set_session_ttl("a", 10_000)  # what the desk would set
    assert (await read(manager, "a")).ttl == 10_000
    await manager.set_session_ttl("a", 500)
    await desk.take_over("a", "anna")
    await manager.extend_session("a")
    assert await manager.get_session_ttl("a") == 10_000
    await desk.hand_back("a", "anna")
    assert (await manager.get_session_ttl("a"), (await read(manager, "a")).ttl) == (500, 500)


async def test_a_switch_without_the_desk_leaves_queue_and_seat_at_once(manager: SessionManager, desk: Desk) -> None:
    await desk.request_human("a")
    await desk.request_human("b")
    await desk.take_over("c", "anna")
    await manager.switch_agent("a", "ai")
    await manager.switch_agent("b", "human")
    await manager.switch_agent("c", "human")
    assert (await read(manager, "a")).desk.state == "open"
    assert await manager.get_session_ttl("a") == 600
    for name in ("b", "c"):
        status = (await read(manager, name)).desk
        assert (status.state, status.operator_id) == ("assigned", None)
        assert await manager.get_session_ttl(name) == 10_000
    stats = await desk.stats()
    assert (stats.waiting, stats.assigned) == ({}, 0)
    assert (await desk.waiting(), await desk.assigned(), await desk.claim_next("anna")) == ([], [], None)
    assert (await desk.hand_back("b", "anna")).ttl == 600


async def test_pages_of_the_queue_follow_each_other(manager: SessionManager, desk: Desk) -> None:
    wanted = []
    for i in range(12):
        await manager.create_session("u", session_id=f"s{i}")
        await desk.request_human(f"s{i}", priority=9 - i % 2, team=["t", "u"][i % 3 == 0])
        wanted.append((i % 2, i))
    for team in (None, "t"):
        found: list[str] = []
        cursor, pages = None, 0
        while pages == 0 or cursor is not None:
            page = await desk.waiting(team=team, limit=3, cursor=cursor)
            found += names(page)
            cursor, pages = page.cursor, pages + 1
        assert found == [f"s{i}" for _, i in sorted(wanted) if team is None or i % 3]


async def test_assigned_sessions_and_stats_are_shown(manager: SessionManager, desk: Desk) -> None:
    for name, operator in (("a", "zoe"), ("b", "anna"), ("c", "anna")):
        await desk.take_over(name, operator)
    assert names(await desk.assigned()) == ["b", "c", "a"]
    assert names(await desk.assigned("zoe")) == ["a"]
    await desk.hand_back("b", "anna")
    await desk.request_human("b", team="t")
    stats = await desk.stats()
    assert (stats.waiting, stats.assigned, stats.longest_wait >= 0) == ({"t": 1}, 2, True)
    assert stats.hour.takeovers == {"taken_over": 3}
    assert (stats.hour.requests, stats.hour.hand_backs) == (1, 1)
    assert (stats.day.sessions_created, stats.day.sessions_handled) == (3, 3)


async def open_with_a_lapse(claimed: str) -> None:
    """In the file, "anna" has claimed a session, and the time of that presence is over."""
    async with SessionManager.from_url("sqlite:///chat.db", claim_lease=0.02) as manager:
        await manager.create_session("u", session_id=claimed)
        await Desk(manager).request_human(claimed)
        await Desk(manager).claim_next("anna")
        [anna] = await Desk(manager).operators()

    async def is_over() -> bool:
        return now() > anna.present_until

    await until(is_over)


def open_file() -> SessionManager:
    return SessionManager.from_url("sqlite:///chat.db", claim_lease=100.0)


async def test_an_operator_who_is_away_loses_the_sessions_to_their_old_places() -> None:
    await open_with_a_lapse("a")
    async with open_file() as manager:
        desk = Desk(manager)
        await manager.create_session("u", session_id="b")
        await desk.request_human("b")
        assert [operator.assigned for operator in await desk.operators()] == [1]
        for _ in range(2):
            await manager.cleanup_expired_sessions()
            assert await events(manager, "a") == ["requested", "claimed", "lapsed"]
            assert names(await desk.waiting()) == ["a", "b"]
            assert ((await desk.stats()).day.lapses, await desk.operators()) == (1, [])
        assert present(await desk.claim_next("anna")).session_id == "a"
        await manager.cleanup_expired_sessions()
        assert (await read(manager, "a")).desk.operator_id == "anna"


async def test_one_who_comes_back_before_a_sweep_keeps_the_sessions() -> None:
    await open_with_a_lapse("a")
    async with open_file() as manager:
        await Desk(manager).operator_seen("anna")
        await manager.cleanup_expired_sessions()
        assert (await read(manager, "a")).desk.operator_id == "anna"
        assert (await Desk(manager).stats()).day.lapses == 0


async def test_one_whose_presence_is_over_gets_a_new_one_with_a_transfer() -> None:
    await open_with_a_lapse("a")
    async with open_file() as manager:
        desk = Desk(manager)
        await manager.create_session("u", session_id="b")
        await desk.take_over("b", "bob")
        await desk.transfer("b", "bob", to="anna")
        await manager.cleanup_expired_sessions()
        assert (await read(manager, "b")).desk.operator_id == "anna"
        assert (await read(manager, "a")).desk.state == "waiting"
        assert (await desk.stats()).day.lapses == 1


async def test_a_session_that_nobody_answers_goes_back_to_the_ai() -> None:
    async with SessionManager.from_url("sqlite:///chat.db", hand_back_after=0.02) as manager:
        desk = Desk(manager)
        await manager.create_session("u", session_id="a")
        await desk.take_over("a", "anna")

        async def handed_back() -> bool:
            await manager.cleanup_expired_sessions()
            return (await read(manager, "a")).desk.state == "open"

        await until(handed_back)
        assert await events(manager, "a") == ["taken_over", "handed_back"]


async def test_internal_messages_are_stored_in_any_epoch(manager: SessionManager, desk: Desk) -> None:
    await desk.take_over("a", "anna")
    internal = {"from": "tool", "text": "ordered", "internal": True}
    await manager.add_message("a", internal, epoch=0)
    await manager.add_messages("a", [internal, internal], epoch=0)
    with pytest.raises(AgentConflict):
        await manager.add_messages("a", [internal, {"from": "assistant", "text": "done"}], epoch=0)
    assert await events(manager, "a") == ["taken_over", *["ordered"] * 3]
    with pytest.raises(AgentConflict):
        await manager.check_epoch("a", 0)
    await manager.check_epoch("a", 1)
    with pytest.raises(SessionNotFound):
        await manager.check_epoch("none", 0)
