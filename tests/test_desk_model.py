"""Every order of the commands of two calls of the desk on one session, and a crash after each command.

The code that runs is the package's own, on a real server. Only the connections are replaced: see testkit/orders.py.
Each call has a store of its own, as in a process of its own.
"""

import itertools
import os
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from chat_session import handoff
from chat_session.handoff import Step
from chat_session.storage.redis.keys import DeskKeys
from testkit.backends import ServerBackend
from testkit.desk_calls import CALLS, STATES, World, begin_with, create, prepare, quietly
from testkit.desk_judge import check, judge, look, look_at_others
from testkit.desk_state import differences
from testkit.orders import Calls, all_orders, until_quiet
from testkit.raw_server import Copy, RawServer

MOST = int(os.environ.get("CHAT_SESSION_ORDERS", "24"))  # orders of one pair of calls, at random if it has more


async def search(
    world: World, state: str, names: tuple[str, ...], crash_after: int | None = None, limit: int = MOST
) -> int:
    """Try every order, and judge what each one leaves. How many there were; 0 if the crash came after the end."""
    copy = await begin_with(world, state)
    others = look_at_others(world)

    async def start() -> Calls:
        prepare(world, copy, names)
        executor = world.executor()
        stores = [world.store(executor) for _ in names]

        def call(who: int) -> Coroutine[Any, Any, Any]:
            return quietly(CALLS[names[who]](stores[who], who))

        return Calls(executor, [partial(call, who) for who in range(len(names))], crash_after)

    count = 0
    async for calls in all_orders(start, limit):
        if crash_after is not None and calls.released_of_first < crash_after:
            continue
        count += 1
        with noted(state, names, crash_after, calls.order, calls.results()):
            await judge(world, names, calls, is_crashed=crash_after is not None)
            assert look_at_others(world) == others
    return count


@contextmanager
def noted(*facts: Any) -> Iterator[None]:
    """A failure says what was tried."""
    try:
        yield
    except BaseException as error:
        error.add_note(repr(facts))
        raise


@pytest.fixture(params=["plain", "tagged"])
def world(request: pytest.FixtureRequest, redis_backend: ServerBackend) -> Iterator[World]:
    with RawServer(redis_backend.server) as server:
        yield World(server, request.param)


PAIRS = list(itertools.combinations_with_replacement(CALLS, 2))


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
async def test_two_calls_in_every_order_leave_a_desk_that_follows_from_the_session(
    world: World, names: tuple[str, ...]
) -> None:
    for state in STATES:
        assert await search(world, state, names) > 0


@pytest.mark.parametrize("name", CALLS)
async def test_after_a_crash_at_any_command_a_check_makes_the_desk_follow_from_the_session(
    world: World, name: str
) -> None:
    for state in STATES:
        assert await search_crashes(world, state, (name,)) > 0


FROM = {  # a state in which each call changes something
    "request": "open",
    "claim": "waiting",
    "take over": "waiting",
    "answer": "open",
    "transfer": "assigned",
    "to team": "assigned",
    "decline": "assigned",
    "hand back": "assigned",
    "lapse": "assigned",
    "delete": "waiting",
}


@pytest.mark.parametrize("name", FROM)
async def test_a_crash_at_any_command_while_another_call_runs_does_no_harm_either(world: World, name: str) -> None:
    for other in ("request", "claim", "take over", "hand back", "lapse", "check", "delete"):
        assert await search_crashes(world, FROM[name], (name, other), limit=4) > 0


async def search_crashes(world: World, state: str, names: tuple[str, ...], limit: int = MOST) -> int:
    """The first of the calls crashes after each of its commands. How many orders were tried."""
    count = 0
    for crash_after in itertools.count(1):
        tried = await search(world, state, names, crash_after, limit)
        if not tried:
            break
        count += tried
    return count


@pytest.mark.parametrize("waiting", [{"s": 5}, {"s": 5, "v": 5}, {"s": 5, "v": 7}], ids=str)
@pytest.mark.parametrize("claims", [2, 3])
async def test_claims_at_once_never_get_the_same_session_and_get_the_first_first(
    world: World, waiting: dict[str, int], claims: int
) -> None:
    await begin_with(world, "open")
    store = world.store()
    await create(store, "v")
    for name, priority in waiting.items():
        decide = handoff.request(reason=None, priority=priority, team="a", say=None, hold_ai=True)
        await store.desk.take_step(name, Step("request_human", decide))
    copy = world.server.copy()

    async def start() -> Calls:
        world.server.put_back(copy)
        executor = world.executor()
        stores = [world.store(executor) for _ in range(claims)]
        return Calls(executor, [partial(each.desk.claim, f"claiming{i}", ["a"]) for i, each in enumerate(stores)])

    expected = sorted(waiting, key=lambda name: -waiting[name])
    async for calls in all_orders(start, MOST):
        first = list(dict.fromkeys(who for who, command in calls.order if command == "lease_entry"))
        results = calls.results()
        got = [results[who] and results[who].session.session_id for who in first]
        assert got == [*expected, None, None][:claims], calls.order
        actual, right = look(world, ("s", "t", "u", "v"))
        assert not differences(actual, right), calls.order


async def test_a_sweep_after_the_lease_of_a_crashed_claim_leaves_a_right_queue_before_any_check(world: World) -> None:
    copy = await begin_with(world, "waiting")
    for crash_after in (1, 2):
        world.server.put_back(copy)
        executor = world.executor()
        calls = Calls(executor, [partial(world.store(executor).desk.claim, "claiming", ["a"])])
        for number in range(1, crash_after + 1):
            await until_quiet()
            await calls.release((0, number))
        await calls.end()
        world.end_leases()
        await world.store().desk.sweep()
        assert not differences(*look(world))


# All keys as they were before the call, as after a failover to a replica that lagged; all gone; or one of them gone
LOSSES = ("older", "all", *DeskKeys._fields)


@pytest.mark.parametrize("name", FROM)
async def test_what_the_node_of_the_queue_lost_is_back_after_the_checks(world: World, name: str) -> None:
    """The call is followed by a loss, and that by another call or none."""
    copy = await begin_with(world, FROM[name])
    for loss in LOSSES:
        for after in ("",) if loss == "entries" else ("", *CALLS):  # without entries nobody knows the old places
            prepare(world, copy, (name, after))
            older = world.server.copy(b"{desk}:*")
            await quietly(CALLS[name](world.store(), 0))
            lose(world, loss, older)
            if after:
                await quietly(CALLS[after](world.store(), 1))
            with noted(name, loss, after):
                await check(world)


def lose(world: World, loss: str, older: Copy) -> None:
    lost = world.desk_keys if loss in ("older", "all") else (getattr(world.desk_keys, loss),)
    world.server.send((b"UNLINK", *lost))
    if loss == "older":
        world.server.send(*((b"RESTORE", key, at, dump, b"ABSTTL") for key, at, dump in older))
