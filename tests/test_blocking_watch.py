"""The feed for synchronous code."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from chat_session import Hooks, InvalidInput, ManagerClosed, SessionNotFound, blocking
from chat_session.events import DeskChanged, DeskSnapshot, MessageAppended, SessionDeleted, State, Typing
from chat_session.loop_iterator import take_each
from chat_session.loop_thread import LoopThread
from testkit.backends import Backend

PATIENCE = 20  # seconds


@pytest.fixture
def connect(backend: Backend) -> Callable[..., blocking.SessionManager]:
    return lambda **settings: blocking.SessionManager.from_url(backend.url, **{**backend.settings, **settings})


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Press Ctrl-C: the main thread, which runs the test, gets a KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


class Watchers(Hooks):
    """Counts those that watch."""

    def __init__(self) -> None:
        self.count = 0

    def watch_begun(self, session_id: str) -> None:
        self.count += 1

    def watch_ended(self, session_id: str) -> None:
        self.count -= 1


def test_a_feed_is_an_ordinary_iterator_that_ends_with_the_session(
    connect: Callable[..., blocking.SessionManager],
) -> None:
    with connect() as manager:
        manager.create_session("u", session_id="s")
        told = []
        for event in manager.watch("s"):
            told.append(event)
            if isinstance(event, State):
                manager.add_message("s", {"from": "user", "text": "hello"})
            elif isinstance(event, MessageAppended):
                manager.delete_session("s")
        assert [type(event) for event in told] == [State, MessageAppended, SessionDeleted]


def test_a_feed_that_is_left_goes_on_behind_its_last_event(connect: Callable[..., blocking.SessionManager]) -> None:
    watchers = Watchers()
    with connect(hooks=[watchers]) as manager:
        manager.create_session("u", session_id="s")
        for event in manager.watch("s"):
            cursor = event.cursor
            assert watchers.count == 1
            break
        assert watchers.count == 0
        for text in ("one", "two"):
            manager.add_message("s", {"from": "user", "text": text})
        _, one, two = islice(manager.watch("s", after=cursor), 3)
        assert isinstance(one, MessageAppended)
        assert isinstance(two, MessageAppended)
        assert [one.message.text, two.message.text] == ["one", "two"]
        assert watchers.count == 0


def test_arguments_of_a_feed_are_checked_by_the_call_and_the_session_by_the_first_step() -> None:
    with blocking.SessionManager.from_url("sqlite:///:memory:") as manager:
        with pytest.raises(InvalidInput, match=r"^after must be the cursor"):
            manager.watch("s", after="x")
        with pytest.raises(InvalidInput, match=r"^session_id must be"):
            manager.watch("a/b")
        with pytest.raises(InvalidInput, match=r"^limit must be"):
            blocking.Desk(manager).watch(limit=0)
        feed = manager.watch("missing")
        with pytest.raises(SessionNotFound):
            next(feed)


def test_who_types_is_told_to_another_thread(connect: Callable[..., blocking.SessionManager]) -> None:
    with connect() as manager, ThreadPoolExecutor(1) as threads:
        manager.create_session("u", session_id="s")
        told = threads.submit(lambda: next(event for event in manager.watch("s") if isinstance(event, Typing)))
        while not told.done():  # it is lost as long as the other thread does not watch
            manager.send_typing("s", "assistant")
        assert told.result().who == "assistant"


def test_the_feed_of_the_desk_is_an_ordinary_iterator(connect: Callable[..., blocking.SessionManager]) -> None:
    with connect() as manager:
        manager.create_session("u", session_id="s")
        desk = blocking.Desk(manager)
        feed = desk.watch(limit=5)
        assert isinstance(next(feed), DeskSnapshot)
        desk.request_human("s")
        changed = next(feed)
        assert isinstance(changed, DeskChanged)
        assert (changed.session_id, changed.desk.state) == ("s", "waiting")


def test_a_thread_that_watches_is_at_the_end_when_another_closes_the_manager(
    connect: Callable[..., blocking.SessionManager],
) -> None:
    begun = threading.Event()

    def watch() -> list[str]:
        names = []
        for event in manager.watch("s"):
            names.append(event.name)
            begun.set()
        return names

    manager = connect()
    manager.create_session("u", session_id="s")
    with ThreadPoolExecutor(1) as threads:
        watching = threads.submit(watch)
        assert begun.wait(PATIENCE)
        manager.close()
        assert watching.result(PATIENCE) == ["state"]


def test_a_feed_whose_manager_was_closed_between_two_steps_is_at_its_end() -> None:
    manager = blocking.SessionManager.from_url("sqlite:///:memory:")
    manager.create_session("u", session_id="s")
    feed, not_begun = manager.watch("s"), manager.watch("s")
    next(feed)
    manager.close()
    assert list(feed) == []
    with pytest.raises(ManagerClosed):
        next(not_begun)


def test_ctrl_c_ends_a_feed_that_waits_and_leaves_the_manager_usable(
    connect: Callable[..., blocking.SessionManager], interrupt: Callable[[], None]
) -> None:
    watchers = Watchers()
    with connect(hooks=[watchers]) as manager:
        manager.create_session("u", session_id="s")
        feed = manager.watch("s")
        next(feed)
        pressing = threading.Timer(0.1, interrupt)  # it waits by then, or is about to
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            list(feed)
        pressing.join()
        assert watchers.count == 0
        assert next(manager.watch("s")).name == "state"


def test_ctrl_c_waits_until_the_step_that_it_has_cancelled_is_over(interrupt: Callable[[], None]) -> None:
    ended = threading.Event()

    async def give() -> AsyncGenerator[int, None]:
        try:
            yield 1
            asyncio.get_running_loop().call_later(0.05, interrupt)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.1)  # as a call to the store that gives its connection back
            ended.set()

    thread = LoopThread()
    items = take_each(thread, give(), ends_when_closed=True)
    assert next(items) == 1
    with pytest.raises(KeyboardInterrupt):
        next(items)
    assert ended.is_set()
    thread.end()
    thread.join()
