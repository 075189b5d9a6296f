"""What another caller does between the two round trips of an edit, or between an edit and its repeat.

It is neither lost nor told as ours. The other caller is a function that the proxy calls when a reply comes back.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NamedTuple

import pytest
import redis

from chat_session import MessageNotFound, SessionManager
from testkit.backends import ServerBackend
from testkit.fault_proxy import FaultProxy, open_proxies
from testkit.present import present

NEWER = b'{"id":"newer","from":"user","text":"newer","timestamp":"2026-01-31T08:00:00.000Z"}'
IDS, HISTORY = "session:s:ids", "session:s:history"


class Watched(NamedTuple):
    """A manager whose replies come through a proxy, and another client of the same server."""

    manager: SessionManager
    proxy: FaultProxy
    other: redis.Redis


@pytest.fixture
async def watched(redis_backend: ServerBackend) -> AsyncIterator[Watched]:
    """With a session "s" whose only message is "m". Each kind of edit was done once, so the server has the scripts."""
    async with open_proxies(redis_backend) as (url, [proxy]), SessionManager.from_url(url) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        for message_id in ("old", "m"):
            await manager.add_message("s", {"id": message_id, "from": "user", "text": message_id})
        await manager.replace_message("s", {"id": "old", "from": "user", "text": "again"})
        await manager.retract_message("s", "old")
        with redis_backend.server.client() as other:
            yield Watched(manager, proxy, other)


async def test_a_message_that_was_cleared_after_it_was_read_is_not_retracted(watched: Watched) -> None:
    watched.proxy.fault = lambda: clear(watched)
    assert not (await watched.manager.retract_message("s", "m")).success


async def test_a_message_that_was_cleared_after_it_was_read_is_not_replaced(watched: Watched) -> None:
    watched.proxy.fault = lambda: clear(watched)
    with pytest.raises(MessageNotFound):
        await watched.manager.replace_message("s", {"id": "m", "from": "user", "text": "second"})


async def test_a_pop_takes_a_message_that_came_after_it_had_read(watched: Watched) -> None:
    watched.proxy.fault = lambda: append(watched)
    assert [message.id for message in await watched.manager.pop_messages("s")] == ["newer"]
    watched.proxy.fault = lambda: "pass"
    assert [message.id for message in await watched.manager.get_history("s")] == ["m"]


async def test_a_pop_passes_over_a_message_that_was_cleared_after_it_had_read(watched: Watched) -> None:
    watched.proxy.fault = lambda: clear(watched)
    assert await watched.manager.pop_messages("s") == []


X: dict[str, Any] = {"id": "x", "from": "user", "text": "x"}
Edit = Callable[[SessionManager], Coroutine[Any, Any, Any]]
EDITS: dict[str, tuple[Edit, list[str], int, dict[str, Any]]] = {  # what is there afterwards: ids, revision, metadata
    "retract": (lambda s: s.retract_message("s", "m"), ["newer"], 3, {}),
    "pop": (lambda s: s.pop_messages("s"), ["newer"], 3, {}),
    "replace": (lambda s: s.replace_message("s", {**X, "id": "m"}), ["m", "newer"], 3, {}),
    "clear": (lambda s: s.clear_history("s"), ["newer"], 3, {}),
    "replace history": (lambda s: s.replace_history("s", [X], expect_revision=2), ["x", "newer"], 3, {}),
    "increment": (lambda s: s.increment("s", "hits", 5), ["m", "newer"], 2, {"hits": 5}),
    "append after": (
        lambda s: s.add_messages("s", [X], expect_seq=2, metadata={"of": "x"}),
        ["m", "x", "newer"],
        2,
        {"of": "x"},
    ),
    "compare metadata": (
        lambda s: s.add_messages("s", [], expect_seq=2, expect_metadata={"of": None}, metadata={"of": "x"}),
        ["m", "newer"],
        2,
        {"of": "x"},
    ),
    "update": (lambda s: s.update_session("s", {"of": "x"}, expect={"of": None}), ["m", "newer"], 2, {"of": "x"}),
}


@pytest.mark.parametrize("name", EDITS)
async def test_an_edit_whose_reply_is_lost_is_done_once_and_harms_nothing_that_came_before_its_repeat(
    watched: Watched, name: str
) -> None:
    edit, ids, revision, metadata = EDITS[name]
    before = watched.other.hget("session:s:meta", "cs:done")

    def lose() -> str:
        """Once, when the server has done it. Then another caller appends."""
        if watched.proxy.injected["reset"] or watched.other.hget("session:s:meta", "cs:done") == before:
            return "pass"
        append(watched)
        return "reset"

    watched.proxy.fault = lose
    await edit(watched.manager)
    assert watched.proxy.injected["reset"] == 1
    session = present(await watched.manager.get_session("s"))
    assert [message.id for message in await watched.manager.get_history("s")] == ids
    assert (session.revision, session.metadata) == (revision, metadata)


def clear(watched: Watched) -> str:
    watched.other.delete(HISTORY, IDS)
    return "pass"


def append(watched: Watched) -> str:
    if not watched.other.hexists(IDS, "newer"):
        seq = watched.other.hincrby("session:s:meta", "messageCount")
        watched.other.rpush(HISTORY, NEWER)
        watched.other.hset(IDS, "newer", f"{seq}:{'0' * 16}")
    return "pass"
