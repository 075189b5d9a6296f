"""Every step of the desk when one of its replies is lost: it is asked for again, happens once and answers as ever."""

import itertools
from collections.abc import AsyncIterator

import pytest

from chat_session import Desk, Session, SessionManager, StoreCorrupt
from testkit.backends import ServerBackend
from testkit.desk_steps import STEPS, Expected, Lossy, open_lossy, place, read_events
from testkit.meanwhile import Act, do_meanwhile

FAULTS = ["swallow", "reset", "cut"]  # the reply does not come; it does not come and the connection ends; half of it


@pytest.fixture
async def lossy(redis_backend: ServerBackend) -> AsyncIterator[Lossy]:
    async with open_lossy(redis_backend) as opened:
        yield opened


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", STEPS)
async def test_a_step_whose_reply_is_lost_happens_once(lossy: Lossy, name: str, fault: str, lost: int) -> None:
    """``lost``: which of its replies: that of the read (of a claim: of the lease), of the change, of the queue."""
    step = STEPS[name]
    faults = itertools.chain(["pass"] * lost, [fault], itertools.repeat("pass"))
    lossy.proxy.fault = lambda: next(faults)
    answer = await step.take(lossy.desk)
    lossy.proxy.fault = lambda: "pass"
    if not lossy.proxy.injected[fault]:
        assert (lost, name) in {(2, "answer"), (2, "answer politely"), (2, "note")}, "these change no queue"
    assert answer is not None
    if isinstance(answer, Session):
        assert (answer.desk.state, answer.desk.operator_id) == (step.state, step.operator)
    assert await place(lossy.direct, step.session_id) == (step.state, step.operator)
    assert await read_events(lossy.direct, step.session_id) == step.events
    visible = await lossy.direct.get_history(step.session_id)
    assert [message.text for message in visible if message.type is None] == step.texts
    desk = Desk(lossy.direct)
    waiting = {"waiting"} - {step.session_id} | ({step.session_id} if step.state == "waiting" else set())
    assert {entry.session_id for entry in await desk.waiting()} == waiting
    holders = {"held": "anna", step.session_id: step.operator}
    assigned = {entry.session_id: entry.operator_id for entry in await desk.assigned()}
    assert assigned == {session_id: operator for session_id, operator in holders.items() if operator}


async def test_a_step_whose_entry_cannot_follow_is_not_told_as_not_done(redis_backend: ServerBackend) -> None:
    async with redis_backend.open() as manager:
        await manager.create_session("u", session_id="s")
        with redis_backend.server.client() as client:
            client.set(redis_backend.keys.desk().entries, "of another type")
        with pytest.raises(StoreCorrupt) as caught:
            await Desk(manager).request_human("s")
        assert caught.value.outcome_unknown
        assert "a part of what was asked was done" in str(caught.value)
        assert await place(manager, "s") == ("waiting", None)


TAKEN_SINCE = ["claim", "take over", "barge in", "take over politely", "take over at an epoch", "answer and take over"]


@pytest.mark.parametrize(
    "name", [*TAKEN_SINCE, "answer", "answer politely", "transfer", "transfer to a team", "decline"]
)
async def test_the_repeat_of_a_step_does_not_take_the_session_from_one_who_has_taken_it_since(
    lossy: Lossy, name: str
) -> None:
    step = STEPS[name]

    async def take(_: SessionManager, desk: Desk) -> None:
        await desk.take_over(step.session_id, "carl")

    lose_change(lossy, step, take)
    answer = await step.take(lossy.desk)
    assert lossy.proxy.injected["reset"] == 1
    assert answer is not None
    assert await place(lossy.direct, step.session_id) == ("assigned", "carl")
    assert await read_events(lossy.direct, step.session_id) == [*step.events, "taken_over"]
    assert [entry.session_id for entry in await Desk(lossy.direct).assigned("carl")] == [step.session_id]
    assert step.session_id not in {entry.session_id for entry in await Desk(lossy.direct).assigned("ben")}
    assert step.session_id not in {entry.session_id for entry in await Desk(lossy.direct).waiting()}


async def test_the_repeat_of_a_hand_back_leaves_the_session_to_one_who_has_taken_it_since(lossy: Lossy) -> None:
    async def take(_: SessionManager, desk: Desk) -> None:
        await desk.take_over("held", "carl")

    lose_change(lossy, STEPS["hand back"], take)
    await lossy.desk.hand_back("held", "anna", say="bye")
    assert lossy.proxy.injected["reset"] == 1
    assert await place(lossy.direct, "held") == ("assigned", "carl")
    assert [message.text for message in await lossy.direct.get_history("held")] == ["bye"]


async def test_the_repeat_of_a_request_does_not_ask_again_after_a_hand_back(lossy: Lossy) -> None:
    async def hand_back(_: SessionManager, desk: Desk) -> None:
        await desk.hand_back("open", "carl")

    lose_change(lossy, STEPS["request"], hand_back)
    await lossy.desk.request_human("open", say="soon")
    assert lossy.proxy.injected["reset"] == 1
    assert await place(lossy.direct, "open") == ("open", None)
    assert await read_events(lossy.direct, "open") == ["requested", "handed_back"]
    assert [entry.session_id for entry in await Desk(lossy.direct).waiting()] == ["waiting"]


def lose_change(lossy: Lossy, step: Expected, act: Act) -> None:
    """Lose the reply of the step's change, and let ``act`` happen before the step is repeated."""

    def fault() -> str:
        if lossy.proxy.injected["reset"]:
            return "pass"
        with lossy.backend.server.client() as client:
            elements = client.lrange(f"session:{step.session_id}:history", 0, -1)
        if sum(b'"handoff"' in element for element in elements) < len(step.events):
            return "pass"
        if step.texts and not any(step.texts[0].encode() in element for element in elements):
            return "pass"
        do_meanwhile(lossy.backend, act)
        return "reset"

    lossy.proxy.fault = fault
