"""What others do between the read and the change of a step of the desk: the step is decided again."""

from collections.abc import AsyncIterator

import pytest

from chat_session import Desk, DeskConflict, SessionManager, SessionNotFound
from testkit.backends import ServerBackend
from testkit.desk_steps import STEPS, Lossy, open_lossy, place
from testkit.meanwhile import Act, do_meanwhile
from testkit.present import present


@pytest.fixture
async def lossy(redis_backend: ServerBackend) -> AsyncIterator[Lossy]:
    async with open_lossy(redis_backend) as opened:
        yield opened


@pytest.mark.parametrize("name", STEPS)
async def test_a_step_decides_again_if_another_operator_was_faster(lossy: Lossy, name: str) -> None:
    step = STEPS[name]

    async def take(_: SessionManager, desk: Desk) -> None:
        await desk.take_over(step.session_id, "carl")

    act_after_read(lossy, take)
    refused = name in (
        *("take over politely", "take over at an epoch", "answer politely"),
        *("transfer", "transfer to a team", "decline", "hand back"),
    )
    holder: str | None = "carl"
    if refused:
        with pytest.raises(DeskConflict) as conflict:
            await step.take(lossy.desk)
        assert (conflict.value.state, conflict.value.operator_id) == ("assigned", "carl")
    else:
        answer = await step.take(lossy.desk)
        if name in ("request", "raise"):
            assert (answer.state, answer.place) == ("assigned", 0)
        elif name == "claim":
            assert answer is None
        elif name != "note":
            holder = step.operator
    assert await place(lossy.direct, step.session_id) == ("assigned", holder)
    visible = [message.text for message in await lossy.direct.get_history(step.session_id) if message.type is None]
    assert visible == (step.texts if name in ("answer", "answer and take over") else [])
    expected = {step.session_id} if holder == "carl" else set()
    assert {entry.session_id for entry in await Desk(lossy.direct).assigned("carl")} == expected


@pytest.mark.parametrize("name", [name for name in STEPS if name != "claim"])
async def test_a_step_is_not_taken_on_a_session_that_was_deleted_after_it_was_read(lossy: Lossy, name: str) -> None:
    step = STEPS[name]

    async def delete(manager: SessionManager, _: Desk) -> None:
        await manager.delete_session(step.session_id)

    act_after_read(lossy, delete)
    with pytest.raises(SessionNotFound):
        await step.take(lossy.desk)
    assert await lossy.direct.get_session(step.session_id) is None
    desk = Desk(lossy.direct)
    assert step.session_id not in {entry.session_id for entry in [*await desk.waiting(), *await desk.assigned()]}


@pytest.mark.parametrize("change", ["deleted", "handed back", "switched", "transferred"])
async def test_a_claim_passes_over_a_session_that_left_the_queue_after_it_was_leased(lossy: Lossy, change: str) -> None:
    await lossy.desk.request_human("open", team="sales")

    async def leave(manager: SessionManager, desk: Desk) -> None:
        match change:
            case "deleted":
                await manager.delete_session("waiting")
            case "handed back":
                await desk.hand_back("waiting", "carl")
            case "switched":
                await manager.switch_agent("waiting", "ai")
            case _:
                await desk.take_over("waiting", "carl")
                await desk.transfer("waiting", "carl", team="sales")

    act_after_read(lossy, leave)
    session = present(await lossy.desk.claim_next("ben", teams=["billing", "sales"]))
    assert session.session_id == "open"
    left = ["waiting"] if change == "transferred" else []
    assert [entry.session_id for entry in await Desk(lossy.direct).waiting()] == left


async def test_a_claim_for_one_team_does_not_get_a_session_that_was_transferred_to_another_after_it_was_leased(
    lossy: Lossy,
) -> None:
    async def transfer(_: SessionManager, desk: Desk) -> None:
        await desk.take_over("waiting", "carl")
        await desk.transfer("waiting", "carl", team="sales")

    act_after_read(lossy, transfer)
    assert await lossy.desk.claim_next("ben", teams=["billing"]) is None
    assert [entry.session_id for entry in await Desk(lossy.direct).waiting(team="sales")] == ["waiting"]
    assert present(await lossy.desk.claim_next("ben", teams=["sales"])).session_id == "waiting"


async def test_a_ttl_that_was_set_after_the_session_was_read_is_kept(lossy: Lossy) -> None:
    async def set_ttl(manager: SessionManager, _: Desk) -> None:
        await manager.set_session_ttl("held", 900)

    act_after_read(lossy, set_ttl)
    assert (await lossy.desk.hand_back("held", "anna")).ttl == 900
    assert 800 <= await lossy.direct.get_session_ttl("held") <= 900


def act_after_read(lossy: Lossy, act: Act) -> None:
    """When the first reply comes back, which is that of the read."""
    acted = False

    def fault() -> str:
        nonlocal acted
        if not acted:
            acted = True
            do_meanwhile(lossy.backend, act)
        return "pass"

    lossy.proxy.fault = fault
