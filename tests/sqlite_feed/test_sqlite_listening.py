"""Listening in the embedded store: what wakes a listener, in one process and across several, and what then runs."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chat_session import Desk, SessionManager, StoreIncompatible
from chat_session.storage.contract import Position
from testkit.backends import store_of
from testkit.embedded import Open, change, feed_of

ALL = Position(0)
WITHIN = 10.0  # seconds: much more than is promised, for a busy machine


class Ears:
    """What one listener was told, in order: None for a change, bytes for news."""

    def __init__(self, manager: SessionManager, session_id: str | None) -> None:
        self.heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.end = feed_of(manager).listen(session_id, self.heard.put_nowait)

    async def next(self) -> bytes | None:
        async with asyncio.timeout(WITHIN):
            return await self.heard.get()


async def listen(manager: SessionManager, session_id: str | None) -> Ears:
    """Listen, and take the call that each listener gets at first."""
    ears = Ears(manager, session_id)
    assert await ears.next() is None
    return ears


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"from": "user", "text": text, **fields}


async def texts(manager: SessionManager, position: Position, size: int = 2**20) -> list[str]:
    return [message.text for message in (await feed_of(manager).observe("s", position, size)).messages]


# Listening


async def test_each_listener_is_woken_at_first_and_then_by_each_change(connect: Open, url: str) -> None:
    manager = connect(url)
    await manager.create_session("u", session_id="s")
    one = await listen(manager, "s")
    other = await listen(manager, "s")
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: manager.add_message("s", say("hello")),
        lambda: manager.update_session("s", {"a": 1}),
        lambda: manager.set_session_ttl("s", 77),
        lambda: manager.switch_agent("s", "human"),
        lambda: manager.assign_session("s", "v"),
        lambda: manager.clear_history("s"),
        lambda: manager.delete_session("s"),
        lambda: manager.create_session("u", session_id="s"),
    ]
    for make in changes:
        await make()
        assert [await one.next(), await other.next()] == [None, None]


async def test_another_session_and_mere_activity_wake_nobody(connect: Open, url: str) -> None:
    manager = connect(url)
    for session_id in ("s", "t"):
        await manager.create_session("u", session_id=session_id)
    ears, others = await listen(manager, "s"), await listen(manager, "t")
    await manager.extend_session("s")
    await manager.add_message("t", say("hello"))
    await others.next()
    assert ears.heard.empty()


async def test_one_that_has_ended_is_told_nothing_and_ends_no_other(connect: Open) -> None:
    manager = connect()
    await manager.create_session("u", session_id="s")
    ended, kept = await listen(manager, "s"), await listen(manager, "s")
    ended.end()
    ended.end()
    await manager.add_message("s", say("hello"))
    await kept.next()
    assert ended.heard.empty()


async def test_a_listener_may_end_itself_and_begin_again_while_it_is_woken(connect: Open) -> None:
    manager = connect()
    await manager.create_session("u", session_id="s")
    again: list[Ears] = []
    ends: list[Callable[[], None]] = []

    def wake(_: bytes | None) -> None:
        ends.pop()()
        again.append(Ears(manager, "s"))

    ends.append(feed_of(manager).listen("s", wake))
    kept = await listen(manager, "s")
    assert await again[0].next() is None
    await manager.add_message("s", say("hello"))
    assert [await kept.next(), await again[0].next()] == [None, None]


async def test_the_end_of_a_lifetime_is_told_although_nothing_is_written(connect: Open, url: str) -> None:
    manager = connect(url)
    await manager.create_session("u", session_id="s", ttl=1)
    ears = await listen(manager, "s")
    await ears.next()
    assert await feed_of(manager).observe("s", ALL, 1) is None


async def test_the_desk_is_told_of_its_sessions_and_of_its_operators(connect: Open, url: str) -> None:
    manager = connect(url)
    desk = Desk(manager)
    await manager.create_session("u", session_id="s")
    ears = await listen(manager, None)
    await desk.request_human("s")
    await ears.next()
    await desk.operator_seen("alice")
    await ears.next()
    assert await desk.claim_next("alice")
    await ears.next()


async def test_news_reach_those_who_listen_to_the_session_and_are_not_kept(connect: Open, url: str) -> None:
    manager = connect(url)
    for session_id in ("s", "t"):
        await manager.create_session("u", session_id=session_id)
    feed = feed_of(manager)
    store = store_of(manager)
    await feed.tell("s", b"before anybody listens")
    await store._writer.run("age", lambda db: db.execute("UPDATE news SET at = at - 1").rowcount)
    ears, others = await listen(manager, "s"), await listen(manager, "t")
    await feed.tell("s", b"one\0\xff")
    assert await ears.next() == b"one\0\xff"
    await store._writer.run("age", lambda db: db.execute("UPDATE news SET at = at - 10001").rowcount)
    await feed.tell("t", b"two")
    assert await others.next() == b"two"
    kept = "SELECT count(*) FROM news"
    assert await store._writer.run("count", lambda db: db.execute(kept).fetchone()) == (1,)
    assert ears.heard.empty()


# Several processes

WRITE = """
import asyncio, sys
from chat_session import SessionManager

async def main(url):
    async with SessionManager.from_url(url) as manager:
        await manager.get_session("s")
        print("ready", flush=True)
        for line in sys.stdin:
            if line == "append\\n":
                await manager.add_message("s", {"from": "user", "text": "from another process"})
            else:
                await manager._store.feed.tell("s", b"typing")

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture
async def writer(path: Path, connect: Open) -> AsyncIterator[Callable[[str], None]]:
    """Another process; it does what it is given, "append" or "tell", on the session "s"."""
    await connect().create_session("u", session_id="s")
    command = [sys.executable, "-c", WRITE, f"sqlite:///{path}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin
        assert process.stdout
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
        to = process.stdin
        yield lambda what: print(what, file=to, flush=True)
        to.close()
        process.wait(WITHIN)


@pytest.mark.parametrize("mode", ["", "?mode=ro"])
async def test_what_another_process_writes_and_tells_is_heard_soon(
    connect: Open, path: Path, writer: Callable[[str], None], mode: str
) -> None:
    manager = connect(f"sqlite:///{path}{mode}")
    ears, desk = await listen(manager, "s"), await listen(manager, None)
    loop = asyncio.get_running_loop()
    waits = []
    for _ in range(5):
        begun = loop.time()
        writer("append")
        assert await ears.next() is None
        waits.append(loop.time() - begun)
    assert min(waits) < 0.5  # usually all are below 0.1
    assert await texts(manager, ALL) == ["from another process"] * 5
    await desk.next()
    writer("tell")
    assert await ears.next() == b"typing"


async def test_managers_of_one_process_hear_each_other(connect: Open) -> None:
    one, other = connect(), connect()
    await one.create_session("u", session_id="s")
    ears = await listen(one, "s")
    await other.add_message("s", say("hello"))
    assert await ears.next() is None
    await feed_of(other).tell("s", b"typing")
    assert await ears.next() == b"typing"


async def test_telling_where_nothing_can_be_written_raises_nothing(connect: Open, path: Path) -> None:
    await connect().create_session("u", session_id="s")
    await feed_of(connect(f"sqlite:///{path}?mode=ro")).tell("s", b"typing")


# Background work


def running() -> tuple[set[str], int]:
    """Names of the threads and the number of tasks, this one not counted."""
    return {thread.name for thread in threading.enumerate()}, len(asyncio.all_tasks()) - 1


async def test_nothing_runs_while_nobody_listens(connect: Open, url: str) -> None:
    manager = connect(url)
    await manager.create_session("u", session_id="s")
    await manager.get_session("s")
    before = running()
    ears, desk = await listen(manager, "s"), await listen(manager, None)
    assert running()[1] == before[1] + 1
    ears.end()
    assert running()[1] == before[1] + 1
    desk.end()
    await asyncio.sleep(0)  # the task takes its cancellation
    assert running() == before
    await listen(manager, "s")  # and begins again
    await manager.close()
    threads, tasks = running()
    assert tasks == 0
    assert not [name for name in threads if name.startswith("chat-session")]


async def test_a_manager_that_is_closed_while_a_look_runs_leaves_nothing(connect: Open) -> None:
    manager = connect()
    await manager.create_session("u", session_id="s")
    feed_of(manager).listen("s", lambda _: None)
    await asyncio.sleep(0)  # the task has begun to look
    await manager.close()
    assert running()[1] == 0


async def test_when_the_file_is_replaced_the_listeners_are_woken_and_learn_of_it(connect: Open, path: Path) -> None:
    manager = connect()
    await manager.create_session("u", session_id="s")
    ears = await listen(manager, "s")
    path.rename(path.with_name("moved.db"))
    assert await ears.next() is None
    with pytest.raises(StoreIncompatible):
        await feed_of(manager).observe("s", ALL, 1)
    ears.end()


async def test_a_damaged_session_id_is_swept_while_somebody_listens(connect: Open, path: Path) -> None:
    manager = connect()
    for session_id in ("s", "t"):
        await manager.create_session("u", session_id=session_id)
    ears = await listen(manager, "s")
    change(path, "UPDATE sessions SET session_id = CAST(x'ff41' AS TEXT), deadline = 1 WHERE session_id = 't'")
    await store_of(manager).sessions.sweep()
    await manager.add_message("s", say("hello"))
    assert await ears.next() is None
