"""Every order of the steps of an append, a worker's release and looks for work: no message is left without a worker.

The calls are the package's own. Each of their commands is one step on a real server, and every order of the steps is
tried, each from the beginning. A cluster differs in what the calls do, not in what a command does, so one server is
enough for both.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import redis

from chat_session import Session, TurnLost
from chat_session.clock import now
from chat_session.desk_options import DeskOptions
from chat_session.message import Draft, Message
from chat_session.storage.redis.desk.entries import DeskEntries
from chat_session.storage.redis.desk.steps import SessionSteps
from chat_session.storage.redis.index.cluster import ClusterIndex
from chat_session.storage.redis.index.server import ServerIndex
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.sessions import RedisSessions
from chat_session.storage.redis.turn_entries import TurnEntries
from chat_session.storage.redis.turns import BUSY_EVERY, LOOKS, RedisTurns
from testkit.backends import ServerBackend
from testkit.steps import StepExecutor, run_in_order, try_every_order

LEASE = 60.0


class OneBucket(Keys):
    """A look for work reads only the bucket that matters, since each command is one more step."""

    def turn_buckets(self) -> list[bytes]:
        return [self.turns("s")]


class Stores(NamedTuple):
    sessions: RedisSessions
    turns: RedisTurns
    entries: TurnEntries
    keys: Keys


def open_stores(*, on_cluster: bool) -> Stores:
    executor: Any = StepExecutor()
    keys = OneBucket("", "tagged" if on_cluster else "plain")
    common: Any = {"default_ttl": 600, "max_history": 100}
    index = (ClusterIndex if on_cluster else ServerIndex)(executor, keys, 600)
    desk_entries = DeskEntries(executor, keys, DeskOptions(600, 120, None))
    desk_entries.creations.is_off = True
    entries = TurnEntries(executor, keys)
    steps = SessionSteps(
        executor, keys, index, desk_entries, entries, presence_ms=120_000, on_cluster=on_cluster, **common
    )
    sessions = RedisSessions(executor, keys, index, steps, on_cluster=on_cluster, **common)
    return Stores(sessions, RedisTurns(executor, keys, entries, **common), entries, keys)


def message(number: int, sender: Any = "user") -> list[Draft]:
    return [Draft(Message(id=f"m{number}", sender=sender, text="x", timestamp=now()), timestamp_generated=False)]


class World:
    """A session on a server. Its first message was answered, or a worker has read it and not replied yet."""

    def __init__(self, client: Any, *, on_cluster: bool, is_known: bool, is_busy: bool) -> None:
        self.client = client
        client.flushall()
        self.stores = open_stores(on_cluster=on_cluster)
        self.entry = self.stores.keys.turns("s")
        moment = now()
        session = Session(session_id="s", user_id="u", created_at=moment, last_active_at=moment, ttl=600, turns=True)
        self.run(self.stores.sessions.create_session(session))
        self.run(self.stores.sessions.append_messages("s", message(1), None))
        self.run(self.stores.turns.take_turn("s", "worker", LEASE))
        if not is_busy:
            self.run(self.stores.turns.release_turn("s", "worker", 1, unless_newer=False))
        if not is_known:
            self.stores.entries._known.clear()

    def run(self, call: Any) -> Any:
        [result] = run_in_order([call], self.execute, lambda _: 0)
        return result

    def execute(self, command: Any) -> Any:
        if isinstance(command, Call):
            try:
                return self.client.execute_command(*command.as_evalsha())
            except redis.exceptions.NoScriptError:
                return self.client.execute_command(*command.as_eval())
        return self.client.execute_command(*command.words)

    def set_entry(self, kind: str) -> None:
        """As it may be left by looks from before."""
        self.client.zrem(self.entry, "s")
        past, ahead = int(time.time() * 1000) - 5_000, int(time.time() * 1000) + 55_000
        scores: dict[str, float] = {"due": past, "ahead": ahead}
        scores |= {f"looked at {i}": past + fraction for i, (_, fraction) in enumerate(LOOKS)}
        scores |= {f"to be looked at {i}": ahead + fraction for i, (_, fraction) in enumerate(LOOKS)}
        if kind != "none":
            self.client.zadd(self.entry, {"s": scores[kind]})

    def is_found_within(self, milliseconds: int) -> bool:
        """Whether a look for work finds the session, now or after that time."""
        if self.run(self.stores.turns.list_pending_turns(10)) == ["s"]:
            return True
        score: Any = self.client.zscore(self.entry, "s")
        if score is None or score > time.time() * 1000 + milliseconds + 1:  # a fraction of a millisecond is a mark
            return False
        self.client.zadd(self.entry, {"s": score - milliseconds - 1})
        return bool(self.run(self.stores.turns.list_pending_turns(10)) == ["s"])


ENTRIES = ["none", "due", "ahead", *(f"{kind} {i}" for kind in ("looked at", "to be looked at") for i in range(3))]


@pytest.fixture
def client(redis_backend: ServerBackend) -> Iterator[redis.Redis]:
    with redis_backend.server.client() as client:
        yield client


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("on_cluster", [False, True], ids=["server", "cluster"])
def test_a_message_is_found_in_every_order_of_its_steps_and_those_of_two_looks(
    client: Any, entry: str, *, on_cluster: bool, is_known: bool
) -> None:
    def run(choose: Any) -> None:
        world = World(client, on_cluster=on_cluster, is_known=is_known, is_busy=False)
        world.set_entry(entry)
        sessions, turns, *_ = world.stores
        calls = [sessions.append_messages("s", message(2), None), turns.list_pending_turns(10)]
        if is_known:
            calls.append(turns.list_pending_turns(10))
        run_in_order(calls, world.execute, choose)
        assert world.is_found_within(LOOKS[0][0])

    assert try_every_order(run) >= 3


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("on_cluster", [False, True], ids=["server", "cluster"])
def test_a_message_that_was_stored_is_found_although_its_process_stopped(
    client: Any, entry: str, *, on_cluster: bool, is_known: bool
) -> None:
    """After any of the append's steps, in every order with a look for work."""
    steps = 2 if is_known else 3

    def run(choose: Any) -> None:
        world = World(client, on_cluster=on_cluster, is_known=is_known, is_busy=False)
        world.set_entry(entry)
        sessions, turns, *_ = world.stores
        calls = [sessions.append_messages("s", message(2), None), turns.list_pending_turns(10)]
        run_in_order(calls, world.execute, choose, stop_first_after=1 + choose(steps))
        if world.client.llen(world.stores.keys.session("s").history) == 2:
            assert world.is_found_within(LOOKS[0][0])

    assert try_every_order(run) >= steps


@pytest.mark.parametrize("end", ["next round", "left cleanly", "exception", "stopped"])
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("on_cluster", [False, True], ids=["server", "cluster"])
def test_a_message_is_found_or_in_a_round_in_every_order_with_the_end_of_a_turn(
    client: Any, end: str, *, on_cluster: bool, is_known: bool
) -> None:
    """And of a look for work."""

    def run(choose: Any) -> None:
        world = World(client, on_cluster=on_cluster, is_known=is_known, is_busy=True)
        sessions, turns, *_ = world.stores
        ends: dict[str, Any] = {
            "next round": lambda: turns.release_turn("s", "worker", 1, unless_newer=True),
            "left cleanly": lambda: turns.release_turn("s", "worker", 1, unless_newer=False),
            "exception": lambda: turns.release_turn("s", "worker", None, unless_newer=False),
            "stopped": lambda: turns.stop_turn("s"),
        }
        calls = [sessions.append_messages("s", message(2), None), turns.list_pending_turns(10), ends[end]()]
        *_, is_over = run_in_order(calls, world.execute, choose)
        if is_over:
            assert world.is_found_within(BUSY_EVERY)
            state = world.run(turns.take_turn("s", "next", LEASE))
            assert (state.customer, state.answered) == (2, 0 if end in ("exception", "stopped") else 1)
        else:
            assert world.run(turns.renew_turn("s", "worker", LEASE)).customer == 2, "it is in the next round"

    assert try_every_order(run) >= 20


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("on_cluster", [False, True], ids=["server", "cluster"])
def test_a_message_is_found_or_answered_in_every_order_with_a_reply_and_a_release(
    client: Any, *, on_cluster: bool, is_known: bool
) -> None:
    def run(choose: Any) -> None:
        world = World(client, on_cluster=on_cluster, is_known=is_known, is_busy=True)
        sessions, turns, *_ = world.stores

        async def answer() -> bool:
            await turns.append_in_turn("s", "worker", message(10, "assistant"), 1)
            return await turns.release_turn("s", "worker", 1, unless_newer=True)

        calls = [sessions.append_messages("s", message(2), None), turns.list_pending_turns(10), answer()]
        *_, is_over = run_in_order(calls, world.execute, choose)
        if is_over:
            assert world.is_found_within(BUSY_EVERY)
        else:
            state = world.run(turns.renew_turn("s", "worker", LEASE))
            assert state.customer > state.answered

    assert try_every_order(run) >= 20


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("on_cluster", [False, True], ids=["server", "cluster"])
def test_a_message_is_found_in_every_order_with_a_person_who_comes_and_goes(
    client: Any, *, on_cluster: bool, is_known: bool
) -> None:
    def run(choose: Any) -> None:
        world = World(client, on_cluster=on_cluster, is_known=is_known, is_busy=True)
        sessions, turns, *_ = world.stores

        async def come_and_go() -> None:
            await sessions.switch_agent("s", "human", None, None)
            await sessions.switch_agent("s", "ai", None, None)

        calls = [sessions.append_messages("s", message(2), None), turns.list_pending_turns(10), come_and_go()]
        run_in_order(calls, world.execute, choose)
        assert world.is_found_within(BUSY_EVERY)
        with pytest.raises(TurnLost):
            world.run(turns.renew_turn("s", "worker", LEASE))

    assert try_every_order(run) >= 20
