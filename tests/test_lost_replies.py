"""Every write that is not repeatable by nature, when its reply is lost: it is asked for again, and happens once."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from chat_session import SessionManager
from testkit.backends import ServerBackend, store_of
from testkit.fault_proxy import FaultProxy
from testkit.present import present

FAULTS = ["swallow", "reset", "cut"]  # the reply does not come; it does not come and the connection ends; half of it

Change = Callable[[SessionManager], Awaitable[Any]]


def message(number: int) -> dict[str, Any]:
    return {"id": f"m{number}", "from": "user", "text": f"text {number}", "timestamp": "2026-01-31T08:00:00Z"}


THIRD = {**message(3), "seq": 3}  # as it is read


@pytest.fixture(params=FAULTS)
async def proxied(request: pytest.FixtureRequest, redis_backend: ServerBackend) -> AsyncIterator[Any]:
    """A manager behind a proxy, and a function that loses the next reply. The session s has 8 messages."""
    async with FaultProxy(redis_backend.server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        settings: Any = {"redis_retry_delay": 20, "store_timeout": 1.5, "redis_max_retries": 20}
        async with SessionManager.from_url(url, **settings) as manager:
            await manager.create_session("u", {"n": 1}, session_id="s", ttl=600)
            await manager.add_messages("s", [message(i) for i in range(1, 9)])

            def lose(replies_before: int = 0) -> None:
                faults = itertools.chain(["pass"] * replies_before, [request.param], itertools.repeat("pass"))
                proxy.fault = lambda: next(faults)

            await store_of(manager)._executor._checking  # its replies are none of the test's
            yield manager, lose
            assert proxy.injected[request.param] > 0


async def ids(manager: SessionManager) -> list[str | None]:
    return [message.id for message in await manager.get_history("s", 100)]


async def test_a_pop_whose_reply_is_lost_pops_one_message(proxied: Any) -> None:
    manager, lose = proxied
    for expected in (8, 7, 6):
        lose(1)  # the first reply is that of the read
        assert [popped.id for popped in await manager.pop_messages("s")] == [f"m{expected}"]
    assert await ids(manager) == [f"m{i}" for i in range(1, 6)]
    assert (await manager.get_session("s")).revision == 3


async def test_sixty_four_pops_in_one_round_trip_repeated_after_a_lost_reply_take_sixty_four(proxied: Any) -> None:
    manager, lose = proxied
    await manager.add_messages("s", [message(i) for i in range(9, 81)])
    lose(1)
    popped = await asyncio.gather(*(manager.pop_messages("s") for _ in range(64)))
    taken = [one.id for (one,) in popped]
    assert sorted(taken) == sorted(f"m{i}" for i in range(17, 81))
    assert await ids(manager) == [f"m{i}" for i in range(1, 17)]


async def test_a_clear_whose_reply_is_lost_removes_nothing_of_what_came_after_it(
    proxied: Any, redis_backend: ServerBackend
) -> None:
    manager, lose = proxied
    lose()
    clearing = asyncio.ensure_future(manager.clear_history("s"))
    async with redis_backend.open() as other:
        while present(await other.get_session("s")).revision == 0:
            await asyncio.sleep(0)
        await other.add_message("s", message(9))
        assert await clearing == 8
        assert [each.id for each in await other.get_history("s")] == ["m9"]


CHANGES: dict[str, tuple[Change, int]] = {  # and how many replies come before that of the change
    "retract": (lambda manager: manager.retract_message("s", "m3"), 1),
    "replace": (lambda manager: manager.replace_message("s", {**message(3), "text": "other"}), 1),
    "replace as expected": (
        lambda manager: manager.replace_message("s", {**message(3), "text": "other"}, expect=THIRD),
        1,
    ),
    "clear": (lambda manager: manager.clear_history("s"), 0),
    "replace history": (lambda manager: manager.replace_history("s", [message(20)], expect_revision=0), 0),
    "increment": (lambda manager: manager.increment("s", "n", 5), 0),
    "append if": (lambda manager: manager.add_messages("s", [message(9)], expect_seq=8, metadata={"a": 1}), 0),
    "append nothing if": (
        lambda manager: manager.add_messages("s", [], expect_metadata={"n": 1}, metadata={"n": 2}),
        0,
    ),
    "assign": (lambda manager: manager.assign_session("s", "v"), 1),
    "state": (lambda manager: manager.update_state("user:u", {"a": 1}), 0),
    "get or create": (lambda manager: manager.get_or_create_session("new", "u"), 0),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_whose_reply_is_lost_happens_once_and_answers_as_if_it_were_not_lost(
    proxied: Any, redis_backend: ServerBackend, name: str
) -> None:
    manager, lose = proxied
    change, replies_before = CHANGES[name]
    lose(replies_before)
    answer = await change(manager)
    session = await manager.get_session("s")
    assert session is not None
    changes_history = name in ("retract", "replace", "replace as expected", "clear", "replace history")
    assert session.revision == changes_history
    match name:
        case "retract":
            assert answer.success
            assert "m3" not in await ids(manager)
        case "replace" | "replace as expected":
            assert answer.text == (await manager.get_history("s", 100))[2].text == "other"
        case "clear":
            assert answer == 8
        case "replace history":
            assert [(stored.id, stored.seq) for stored in answer] == [("m20", 9)]
        case "increment":
            assert answer == session.metadata["n"] == 6
        case "append if":
            assert ([result.seq for result in answer], session.message_count, session.metadata["a"]) == ([9], 9, 1)
        case "append nothing if":
            assert (answer, session.metadata["n"]) == ([], 2)
        case "assign":
            assert answer == session
            assert await manager.get_user_sessions("u") == []
        case "state":
            assert answer == {"a": 1}
        case "get or create":
            assert answer[1], "its own repeat found the session"
