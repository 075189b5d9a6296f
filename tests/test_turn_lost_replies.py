"""Every call of turns when one of its replies is lost: it is asked for again, happens once and answers as ever."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from chat_session import AgentConflict, Desk, SessionManager, TurnBusy, TurnLost
from chat_session.testing.replies.scene import Worker, take, until_shown
from chat_session.testing.turns.scene import LONG_LEASE, LookOnly, ask, create_asking, forever, history, unanswered
from testkit.backends import ServerBackend, StartBackend, store_of
from testkit.fault_proxy import FaultProxy, open_proxies
from testkit.meanwhile import Act, do_meanwhile

FAULTS = ["swallow", "reset", "cut"]  # the reply does not come; it does not come and the connection ends; half of it
SETTINGS: dict[str, Any] = {"redis_retry_delay": 20, "store_timeout": 1.5, "redis_max_retries": 20}

Lose = Callable[..., None]


class Lossy(NamedTuple):
    """A manager behind a proxy, one that goes directly to the server, and how the next reply but n is lost.

    Before the call is repeated, others may do something.
    """

    manager: SessionManager
    direct: SessionManager
    lose: Lose


@pytest.fixture(params=FAULTS)
async def lossy(request: pytest.FixtureRequest, redis_backend: ServerBackend) -> AsyncIterator[Lossy]:
    async with FaultProxy(redis_backend.server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        async with SessionManager.from_url(url, **SETTINGS) as manager, redis_backend.open() as direct:
            await create_asking(direct, "s", turns=True)
            assert await manager.is_session_active("s")
            await store_of(manager)._executor._checking  # its replies are none of the test's

            def lose(replies_before: int, act: Act | None = None) -> None:
                faults = itertools.chain(["pass"] * replies_before, [request.param], itertools.repeat("pass"))

                def fault() -> str:
                    chosen: str = next(faults)
                    if act is not None and chosen != "pass":
                        do_meanwhile(redis_backend, act)
                    return chosen

                proxy.fault = fault

            yield Lossy(manager, direct, lose)
            assert proxy.injected[request.param] == 1


async def test_a_turn_whose_reply_is_lost_is_taken_once(lossy: Lossy) -> None:
    lossy.lose(0)
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
        with pytest.raises(TurnBusy):
            await unanswered(lossy.direct, "s")
        await turn.reply("hello")
    assert await history(lossy.direct, "s") == ["question in s", "hello"]
    assert await unanswered(lossy.direct, "s") == []


async def test_a_renewal_whose_reply_is_lost_keeps_the_turn(lossy: Lossy) -> None:
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
        lossy.lose(0)
        assert (await turn._renew()).customer == 1
        await turn.reply("hello")
    assert await history(lossy.direct, "s") == ["question in s", "hello"]


async def test_a_reply_whose_answer_is_lost_is_stored_once(lossy: Lossy) -> None:
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
        lossy.lose(0)
        results = await turn.reply(["hello", "how are you?"])
    assert [result.seq for result in results] == [2, 3]
    assert await history(lossy.direct, "s") == ["question in s", "hello", "how are you?"]
    assert await unanswered(lossy.direct, "s") == []


async def test_a_record_whose_answer_is_lost_is_stored_once(lossy: Lossy) -> None:
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
        lossy.lose(0)
        assert (await turn.record("cancelled order 42")).seq == 2
    assert await history(lossy.direct, "s", internal=True) == ["question in s", "cancelled order 42"]


async def test_a_release_whose_reply_is_lost_marks_the_round_and_ends_the_turn(lossy: Lossy) -> None:
    async with lossy.manager.turn("s", lease=LONG_LEASE):
        lossy.lose(0)
    assert await lossy.direct.pending_turns() == []
    assert await unanswered(lossy.direct, "s") == []


@pytest.mark.parametrize("lost", [0, 1], ids=["release", "entry"])
async def test_a_release_that_leaves_work_for_others_lets_them_find_it(lossy: Lossy, lost: int) -> None:
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
        await turn.reply("hello")
        await ask(lossy.direct, "s", "more")
        assert await lossy.direct.pending_turns() == []
        lossy.lose(lost)
    assert await lossy.direct.pending_turns() == ["s"]
    assert await unanswered(lossy.direct, "s") == ["more"]


@pytest.mark.parametrize("lost", [0, 1], ids=["release", "entry"])
async def test_a_round_that_failed_is_found_although_a_reply_is_lost(lossy: Lossy, lost: int) -> None:
    with pytest.raises(LookOnly):
        async with lossy.manager.turn("s", lease=LONG_LEASE):
            assert await lossy.direct.pending_turns() == []
            lossy.lose(lost)
            raise LookOnly
    assert await lossy.direct.pending_turns() == ["s"]


async def test_the_last_step_of_a_loop_whose_reply_is_lost_ends_it(lossy: Lossy) -> None:
    rounds = 0
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
        async for _ in turn:
            rounds += 1
            await turn.reply("hello")
            lossy.lose(0)
        assert await unanswered(lossy.direct, "s") == []
    assert rounds == 1


@pytest.mark.parametrize("lost", [0, 1, 2], ids=["release", "renewal", "read"])
async def test_a_step_to_the_next_round_whose_reply_is_lost_leads_there(lossy: Lossy, lost: int) -> None:
    rounds = []
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
        async for messages in turn:
            rounds.append([message.text for message in messages])
            await turn.reply("hello")
            if len(rounds) == 1:
                await ask(lossy.direct, "s", "more")
                lossy.lose(lost)
    assert rounds == [["question in s"], ["more"]]


@pytest.mark.parametrize("lost", [0, 1], ids=["stop", "entry"])
async def test_a_stop_whose_reply_is_lost_says_that_it_stopped_a_turn(lossy: Lossy, lost: int) -> None:
    with pytest.raises(TurnLost) as ended:
        async with lossy.direct.turn("s", lease=LONG_LEASE):
            lossy.lose(lost)
            assert (await lossy.manager.stop_turn("s")).success
    assert ended.value.reason == "stopped"
    assert await lossy.direct.pending_turns() == ["s"]


@pytest.mark.parametrize("lost", [0, 1], ids=["entries", "looks"])
async def test_a_list_whose_replies_are_lost_is_complete(lossy: Lossy, lost: int) -> None:
    lossy.lose(lost)
    assert await lossy.manager.pending_turns() == ["s"]


@pytest.mark.parametrize("lost", [0, 1], ids=["switch", "entry"])
async def test_a_switch_to_the_ai_whose_reply_is_lost_lets_workers_find_the_session(lossy: Lossy, lost: int) -> None:
    await lossy.direct.switch_agent("s", "human")
    assert await lossy.direct.pending_turns() == []
    lossy.lose(lost)
    assert (await lossy.manager.switch_agent("s", "ai")).epoch == 2
    assert await lossy.direct.pending_turns() == ["s"]


async def take_over(_: SessionManager, desk: Desk) -> None:
    await desk.take_over("s", "anna")


async def take_turn(manager: SessionManager, _: Desk) -> None:
    await manager._turns.take_turn("s", "next", LONG_LEASE)


async def test_the_repeat_of_a_reply_that_was_stored_is_no_loss_after_a_takeover(lossy: Lossy) -> None:
    with pytest.raises(TurnLost) as lost:
        async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
            lossy.lose(0, take_over)
            assert (await turn.reply("hello")).seq == 2
    assert lost.value.reason == "taken_over"
    assert await history(lossy.direct, "s") == ["question in s", "hello"]


async def test_the_repeat_of_a_renewal_is_a_loss_after_a_takeover(lossy: Lossy) -> None:
    with pytest.raises(TurnLost) as lost:
        async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
            lossy.lose(0, take_over)
            await turn._renew()
    assert lost.value.reason == "taken_over"


@pytest.mark.parametrize("in_loop", [True, False], ids=["end of the loop", "end of the block"])
async def test_the_repeat_of_a_release_is_no_loss_although_another_has_taken_the_turn(
    lossy: Lossy, *, in_loop: bool
) -> None:
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
        if in_loop:
            async for _ in turn:
                lossy.lose(0, take_turn)
        else:
            lossy.lose(0, take_turn)
    assert (await lossy.direct._turns.renew_turn("s", "next", LONG_LEASE)).answered == 1


async def test_the_repeat_of_taking_a_turn_is_refused_after_a_takeover(lossy: Lossy) -> None:
    lossy.lose(0, take_over)
    with pytest.raises(AgentConflict):
        async with lossy.manager.turn("s", lease=LONG_LEASE):
            pass


# Streaming replies


@pytest.fixture
async def worker(lossy: Lossy) -> Worker:
    """Has begun a reply, and written a text."""
    worker = await take(lossy.manager)
    await worker.begin()
    await worker.write(0, b"hello")
    return worker


async def test_a_beginning_whose_reply_is_lost_begins_one_reply(lossy: Lossy) -> None:
    worker = await take(lossy.manager)
    lossy.lose(0)
    await worker.begin()
    assert await worker.write(0, b"hello") == 5


async def test_a_delta_whose_reply_is_lost_is_written_once(lossy: Lossy, worker: Worker) -> None:
    lossy.lose(0)
    assert await worker.write(5, b" you") == 9
    assert await worker.count_bytes() == 9


async def test_a_commit_whose_reply_is_lost_stores_one_message(lossy: Lossy) -> None:
    async with lossy.manager.turn("s", lease=LONG_LEASE) as turn, turn.stream() as reply:
        await reply.write("hello")
        await until_shown(reply, 5)
        lossy.lose(0)
    assert reply.result is not None
    assert (reply.result.seq, reply.result.message.text) == (2, "hello")
    assert await history(lossy.direct, "s") == ["question in s", "hello"]
    assert await unanswered(lossy.direct, "s") == []


async def test_an_abort_whose_reply_is_lost_ends_the_reply_for_its_reason(lossy: Lossy, worker: Worker) -> None:
    lossy.lose(0)
    await worker.abort()
    with pytest.raises(TurnLost) as over:
        await worker.count_bytes()
    assert over.value.reason == "failed"


async def test_a_part_whose_reply_is_lost_is_stored_once(lossy: Lossy, worker: Worker) -> None:
    lossy.lose(0)
    assert await worker.commit_partial("hello") == 2
    assert await history(lossy.direct, "s") == ["question in s", "hello"]


async def test_a_release_whose_reply_is_lost_ends_the_reply(lossy: Lossy, worker: Worker) -> None:
    lossy.lose(0)
    await worker.release()
    assert await worker.commit_partial("hello") is None


async def stop_turn(manager: SessionManager, _: Desk) -> None:
    await manager.stop_turn("s")


@pytest.mark.parametrize("act", [take_over, stop_turn])
async def test_the_repeat_of_a_commit_that_was_done_is_no_loss(lossy: Lossy, act: Act) -> None:
    with pytest.raises(TurnLost):
        async with lossy.manager.turn("s", lease=LONG_LEASE) as turn:
            async with turn.stream() as reply:
                await reply.write("hello")
                await until_shown(reply, 5)
                lossy.lose(0, act)
            assert reply.result is not None
    assert await history(lossy.direct, "s") == ["question in s", "hello"]


@pytest.mark.parametrize("act", [take_over, stop_turn])
async def test_the_repeat_of_a_delta_is_a_loss_when_the_turn_was_lost_meanwhile(
    lossy: Lossy, worker: Worker, act: Act
) -> None:
    lossy.lose(0, act)
    with pytest.raises(TurnLost):
        await worker.write(5, b" you")
    assert await worker.commit_partial("hello") is None  # other text is there
    assert (await worker.commit_partial("hello you") or 0) >= 2


async def test_a_block_whose_worker_does_not_reach_the_store_ends_with_its_lease(redis_backend: ServerBackend) -> None:
    """Also if the store's timeout is longer."""
    loop = asyncio.get_running_loop()
    async with FaultProxy(redis_backend.server.port) as proxy, redis_backend.open() as direct:
        await create_asking(direct, "s", turns=True)
        async with SessionManager.from_url(f"redis://127.0.0.1:{proxy.port}", store_timeout=8.0) as manager:
            with pytest.raises(TurnLost) as lost:
                async with manager.turn("s", lease=1):
                    proxy.fault = lambda: "stall"
                    began = loop.time()
                    await forever()
            assert lost.value.reason == "expired"
            assert loop.time() - began < 6
        assert await unanswered(direct, "s") == ["question in s"]


async def test_a_block_that_was_told_that_its_turn_is_lost_writes_nothing_more(redis_backend: ServerBackend) -> None:
    """Although the turn goes on in the store, as after a renewal whose reply was lost."""
    async with FaultProxy(redis_backend.server.port) as proxy, redis_backend.open() as direct:
        await create_asking(direct, "s", turns=True)
        async with SessionManager.from_url(f"redis://127.0.0.1:{proxy.port}", store_timeout=8.0) as manager:
            with pytest.raises(TurnLost):
                async with manager.turn("s", lease=1) as turn:
                    proxy.fault = lambda: "stall"
                    try:
                        await forever()
                    except asyncio.CancelledError:
                        proxy.fault = lambda: "pass"
                        await direct._turns.take_turn("s", turn._token, LONG_LEASE)
                        with pytest.raises(TurnLost) as refused:
                            await turn.reply("too late")
                        raise
        assert (refused.value.reason, [each.text for each in refused.value.messages]) == ("expired", ["too late"])
        assert await history(direct, "s") == ["question in s"]


APPENDS: dict[str, Callable[[SessionManager, str], Awaitable[Any]]] = {
    "message": lambda manager, text: manager.add_message("t", {"id": text, "from": "user", "text": text}),
    "messages": lambda manager, text: manager.add_messages("t", [{"id": text, "from": "user", "text": text}]),
    "conditional": lambda manager, text: manager.add_messages(
        "t", [{"id": text, "from": "user", "text": text}], expect_metadata={"a": None}, metadata={"b": 1}
    ),
}


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", APPENDS)
@pytest.mark.parametrize("store", ["redis", "cluster"])
async def test_a_message_whose_reply_is_lost_is_stored_once_and_found_by_workers(
    start_empty: StartBackend, store: str, name: str, fault: str, lost: int
) -> None:
    """``lost``: which of the replies, of the first try, which finds no entry, of the entry, or of the message."""
    backend = start_empty(store)
    async with open_proxies(backend) as (url, proxies), backend.open() as direct:
        await direct.create_session("u", session_id="t", ttl=600, turns=True)
        async with SessionManager.from_url(url, **SETTINGS) as manager:
            assert await manager.is_session_active("t")
            await store_of(manager)._executor._checking
            for text in ("first", "second"):  # by then the manager knows that the session has an entry
                faults = itertools.chain(["pass"] * lost, [fault], itertools.repeat("pass"))
                for proxy in proxies:
                    proxy.fault = lambda faults=faults: next(faults)  # type: ignore[misc]
                await APPENDS[name](manager, text)
                for proxy in proxies:
                    proxy.fault = lambda: "pass"
                assert (await history(direct, "t"))[-1] == text
                assert await direct.pending_turns() == ["t"]
                assert await unanswered(direct, "t") == [text]
                async with direct.turn("t"):
                    pass
                assert await direct.pending_turns() == []
            assert await history(direct, "t") == ["first", "second"]
