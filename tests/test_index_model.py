"""Every order of the steps of counts, lists, sweeps and writers of one session on a cluster.

The code that runs is the package's own: ClusterIndex and RedisSessions as they are, and the text of the scripts under
Lua. Only the nodes are replaced, by a dictionary. Each command is one step, and a search tries all orders of
the steps of several calls. A call that was answered the same way so far is in the same state. States that were
met before are not searched again.
"""

import itertools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from chat_session.desk_options import DeskOptions
from chat_session.errors import SessionExists, SessionNotFound, StoreCorrupt
from chat_session.session import Session
from chat_session.storage.redis.desk.entries import DeskEntries
from chat_session.storage.redis.desk.steps import SessionSteps
from chat_session.storage.redis.index.cluster import ClusterIndex
from chat_session.storage.redis.keys import Keys, due_member
from chat_session.storage.redis.net.commands import Call, Script
from chat_session.storage.redis.sessions import RedisSessions
from chat_session.storage.redis.turn_entries import TurnEntries
from testkit.steps import StepExecutor

lua51 = pytest.importorskip("lupa.lua51")

START = 1_800_000_000_000  # milliseconds
FIRST = datetime(2026, 1, 31, 8, tzinfo=UTC)
SECOND = datetime(2026, 1, 31, 9, tzinfo=UTC)
MINUTE = 60_000


class OneBucket(Keys):
    """Counts and sweeps read only the bucket that matters, since each command is one more step to search."""

    def due_buckets(self) -> list[bytes]:
        return [self.due("s")]


KEYS = OneBucket("", "tagged")
META, DUE, USER, MEMBER = KEYS.meta("s"), KEYS.due("s"), KEYS.user("u"), due_member("s", "u")
OTHER_USER = KEYS.user("v")

Words = tuple[Any, ...]


class Nodes:
    """The keys of a cluster's nodes as far as the index needs them, and their one clock."""

    def __init__(self) -> None:
        self.now = START
        self.hashes: dict[bytes, dict[bytes, bytes]] = {}
        self.sets: dict[bytes, dict[bytes, float]] = {}
        self.deadlines: dict[bytes, int] = {}
        self._scripts: dict[Script, Any] = {}
        self._lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=False)
        self._lua.globals()[b"redis"] = self._lua.table_from(
            {b"call": self._call_from_lua, b"pcall": lambda *_: 0}  # nobody listens
        )

    def state(self) -> Any:
        """Everything except the token of a creation, which is different whenever a call is run again."""
        hashes = tuple(
            (key, tuple(sorted((name, each) for name, each in value.items() if name != b"cs:created")))
            for key, value in sorted(self.hashes.items())
        )
        sets = tuple((key, tuple(sorted(value.items()))) for key, value in sorted(self.sets.items()) if value)
        return self.now, hashes, sets, tuple(sorted(self.deadlines.items()))

    def save(self) -> Any:
        return (
            self.now,
            {key: dict(value) for key, value in self.hashes.items()},
            {key: dict(value) for key, value in self.sets.items()},
            dict(self.deadlines),
        )

    def load(self, saved: Any) -> None:
        self.now = saved[0]
        self.hashes = {key: dict(value) for key, value in saved[1].items()}
        self.sets = {key: dict(value) for key, value in saved[2].items()}
        self.deadlines = dict(saved[3])

    def lives(self) -> bool:
        self._expire()
        return b"userId" in self.hashes.get(META, {})

    def run(self, command: Any) -> Any:
        """One command as one step. A whole script is one command."""
        if isinstance(command, Call):
            return self._run_script(command)
        return self.execute(*command.words)

    def execute(self, name: bytes, *words: Any) -> Any:  # noqa: PLR0911 - one line for each command
        self._expire()
        key, *rest = [word if isinstance(word, bytes) else str(word).encode() for word in words] or [b""]
        match name:
            case b"TIME":
                return [b"%d" % (self.now // 1000), b"%d" % (self.now % 1000 * 1000)]
            case b"HGET":
                return self.hashes.get(key, {}).get(rest[0])
            case b"HMGET":
                return [self.hashes.get(key, {}).get(field) for field in rest]
            case b"HGETALL":
                return [part for pair in self.hashes.get(key, {}).items() for part in pair]
            case b"HSET":
                self.hashes.setdefault(key, {}).update(zip(rest[::2], rest[1::2], strict=True))
                return 1
            case b"SET":
                return b"OK"  # the string beside meta does not matter here
            case b"PERSIST":
                return int(self.deadlines.pop(key, None) is not None)
            case b"PEXPIREAT":
                if key in self.hashes:
                    self.deadlines[key] = int(rest[0])
                return 1
            case b"PTTL":
                return -2 if key not in self.hashes else self.deadlines.get(key, self.now - 1) - self.now
            case b"UNLINK":
                gone = [each for each in (key, *rest) if self.hashes.pop(each, None) is not None]
                for each in (key, *rest):
                    self.deadlines.pop(each, None)
                return len(gone)
        return self._execute_on_set(name, key, rest)

    def _execute_on_set(self, name: bytes, key: bytes, rest: list[bytes]) -> Any:
        scores = self.sets.setdefault(key, {})
        match name:
            case b"ZADD":
                if rest[0] != b"NX" or rest[2] not in scores:
                    scores[rest[-1]] = float(rest[-2])
                return 1
            case b"ZREM":
                return int(scores.pop(rest[0], None) is not None)
            case b"ZCARD":
                return len(scores)
            case b"ZSCORE":
                return _score(scores[rest[0]]) if rest[0] in scores else None
            case b"ZCOUNT":
                return sum(score > float(rest[0][1:]) for score in scores.values())
            case b"ZRANGEBYSCORE":
                low = rest[0]
                limit = float(low.lstrip(b"("))
                found = sorted(scores.items(), key=lambda p: (p[1], p[0]))
                found = [p for p in found if (p[1] > limit if low.startswith(b"(") else p[1] >= limit)]
                found = [p for p in found if p[1] <= float(rest[1])][int(rest[4]) :][: int(rest[5])]
                return [part for member, score in found for part in (member, _score(score))]
            case b"ZREVRANGEBYSCORE":
                found = [p for p in scores.items() if float(rest[1]) <= p[1] <= float(rest[0])]
                newest = max(found, key=lambda p: (p[1], p[0]), default=None)
                return [] if newest is None else [newest[0], _score(newest[1])]
            case b"ZREVRANGE" | b"ZRANGE":
                order = sorted(scores.items(), key=lambda p: (p[1], p[0]), reverse=name == b"ZREVRANGE")
                found = order[int(rest[0]) : int(rest[1]) + 1]
                return [part for member, score in found for part in (member, _score(score))]
        raise AssertionError(name)

    def _expire(self) -> None:
        for key in [key for key, deadline in self.deadlines.items() if deadline <= self.now]:
            self.hashes.pop(key, None)
            del self.deadlines[key]

    def _run_script(self, call: Call[Any]) -> Any:
        text = self._scripts.get(call.script)
        if text is None:
            text = self._lua.execute(b"return function(KEYS, ARGV) " + call.script.text + b"\nend")
            self._scripts[call.script] = text
        args = [word if isinstance(word, bytes) else str(word).encode() for word in call.args]
        return _from_lua(text(self._lua.table_from(list(call.keys)), self._lua.table_from(args)))

    def _call_from_lua(self, name: bytes, *words: Any) -> Any:
        plain = [word if isinstance(word, bytes) else b"%d" % word for word in words]
        return self._to_lua(self.execute(name, *plain))

    def _to_lua(self, value: Any) -> Any:
        if value is None:
            return False
        if isinstance(value, list):
            return self._lua.table_from([self._to_lua(each) for each in value])
        return value


def _score(score: float) -> bytes:
    return b"inf" if score == float("inf") else b"%.17g" % score


def _from_lua(value: Any) -> Any:
    if lua51.lua_type(value) == "table":
        return [_from_lua(value[i]) for i in range(1, len(value) + 1)]
    if value is False:
        return None
    return int(value) if isinstance(value, float) else value


WAITING_TTL = 604_800


def make_store() -> RedisSessions:
    executor: Any = StepExecutor()
    common: Any = {"on_cluster": True, "default_ttl": 600, "max_history": 100}
    index = ClusterIndex(executor, KEYS, WAITING_TTL)
    entries = DeskEntries(executor, KEYS, DeskOptions(WAITING_TTL, 120, None))
    entries.creations.is_off = True
    turn_entries = TurnEntries(executor, KEYS)
    steps = SessionSteps(executor, KEYS, index, entries, turn_entries, presence_ms=120_000, **common)
    return RedisSessions(executor, KEYS, index, steps, **common)


class Operation:
    """A call in progress. The replies that it got identify its state."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]], replies: tuple[Any, ...] = ()) -> None:
        self.make = make
        self.replies = replies
        self._running = make()
        self.next: Any = None
        self.result: Any = None
        self.done = False
        self._advance(None)
        for reply in replies:
            self._advance(reply)

    def _advance(self, reply: Any) -> None:
        try:
            self.next = self._running.send(reply)
        except StopIteration as end:
            self.done, self.result = True, end.value

    def after(self, reply: Any) -> "Operation":
        self._running.close()
        return Operation(self.make, (*self.replies, reply))


def session(created_at: datetime) -> Session:
    return Session(session_id="s", user_id="u", created_at=created_at, last_active_at=created_at, ttl=600)


async def quietly(call: Coroutine[Any, Any, Any]) -> Any:
    """A writer that finds its session gone, or its id taken, has done its work."""
    try:
        return await call
    except (SessionNotFound, SessionExists) as error:
        return type(error).__name__


def run_alone(nodes: Nodes, call: Coroutine[Any, Any, Any]) -> Any:
    """Run a call to its end while nothing else happens."""
    reply = None
    while True:
        try:
            command = call.send(reply)
        except StopIteration as end:
            return end.value
        reply = nodes.run(command)


OPERATIONS: dict[str, Callable[[RedisSessions, datetime], Coroutine[Any, Any, Any]]] = {
    "count": lambda store, _: store.count_sessions(),
    "sweep": lambda store, _: store.sweep(),
    "list": lambda store, _: store.list_user_sessions("u", 10, None),
    "create": lambda store, now: quietly(store.create_session(session(now))),
    "delete": lambda store, _: store.delete_session("s"),
    "shorten": lambda store, _: quietly(store.set_ttl("s", 1)),
    "keep": lambda store, _: quietly(store.set_ttl("s", None)),
    "assign": lambda store, _: quietly(store.assign_session("s", "v")),
    "assign back": lambda store, _: quietly(store.assign_session("s", "u")),
}


def search(first: tuple[str, ...], names: tuple[str, ...], *, crash: bool = False) -> int:
    """Try all orders of the steps. Returns the number of states.

    A count must be right after each step; when all is done, lists and sweeps must be right, too.
    ``crash``: the first call may also stop for ever after any of its steps.
    """
    store = make_store()
    nodes = Nodes()
    for name in first:
        run_alone(nodes, OPERATIONS[name](store, FIRST))
    begin = [Operation(partial(OPERATIONS[name], store, SECOND)) for name in names]
    seen: set[Any] = set()
    open_states = [(nodes.save(), [operation.replies for operation in begin], False)]
    while open_states:
        saved, histories, crashed = open_states.pop()
        nodes.load(saved)
        key = (nodes.state(), _freeze(histories), crashed)
        if key in seen:
            continue
        seen.add(key)
        assert run_alone(nodes, store.count_sessions()) == int(nodes.lives()), (names, histories, nodes.state())
        nodes.load(saved)
        running = [Operation(op.make, tuple(history)) for op, history in zip(begin, histories, strict=True)]
        active = [i for i, op in enumerate(running) if not op.done and not (crashed and i == 0)]
        assert not any(op.done and op.result for op, name in zip(running, names, strict=True) if name == "sweep"), names
        if not active:
            judge(nodes, store, running, names, crashed=crashed)
        for i in active:
            nodes.load(saved)
            reply = nodes.run(running[i].next)
            after = [*histories]
            after[i] = (*histories[i], reply)
            open_states.append((nodes.save(), after, crashed))
        if crash and not crashed and 0 in active and running[0].replies:
            open_states.append((saved, histories, True))
        for op in running:
            op._running.close()
    return len(seen)


def judge(
    nodes: Nodes, store: RedisSessions, running: list[Operation], names: tuple[str, ...], *, crashed: bool
) -> None:
    """When all is done: counts and lists are exact, now and after every deadline, and a sweep leaves nothing."""
    saved = nodes.save()
    for later in (0, 2_000, MINUTE + 1_000):
        nodes.load(saved)
        nodes.now += later
        living = int(nodes.lives())
        story = (names, [op.result for op in running], later, crashed, nodes.state())
        assert run_alone(nodes, store.count_sessions()) == living, story
        pages = [run_alone(nodes, store.list_user_sessions(user, 10, None)) for user in ("u", "v")]
        listed = sum(len(page.sessions) for page in pages)
        unlisted = crashed and names[0] == "create" and later < MINUTE  # it crashed before it entered the session
        assert listed == living or (unlisted and listed == 0), story
        if later >= MINUTE or not crashed:
            died = run_alone(nodes, store.sweep())
            # A call that crashed in the middle leaves the entry of the user before. If the session dies before anything
            # looks at that entry, its death is counted once for each user.
            assert died <= (0 if living else 1 + (crashed and names[0] == "assign")), story
            due = nodes.sets.get(DUE, {})
            assert len(due) == living, story
            assert len(nodes.sets.get(USER, {})) + len(nodes.sets.get(OTHER_USER, {})) == living, story
    nodes.load(saved)


def _freeze(value: Any) -> Any:
    return tuple(_freeze(each) for each in value) if isinstance(value, (list, tuple)) else value


WRITERS = ("create", "delete", "shorten", "keep")
LOOKERS = ("count", "sweep", "list")
PAIRS = [*itertools.product(WRITERS, LOOKERS), *itertools.combinations_with_replacement(WRITERS, 2)]
ASSIGNS = [("assign", other) for other in (*LOOKERS, *WRITERS, "assign", "assign back")]


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
@pytest.mark.parametrize("first", [(), ("create",), ("create", "keep")], ids=lambda first: "-".join(first) or "nothing")
def test_two_calls_in_every_order_leave_exact_counts(first: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert search(first, names) > 0


@pytest.mark.parametrize("names", [*PAIRS, *itertools.permutations(WRITERS, 2), *ASSIGNS], ids="-".join)
def test_a_writer_that_crashes_at_any_step_or_never_leaves_exact_counts(names: tuple[str, ...]) -> None:
    assert search(("create",), names, crash=True) > 0


def test_a_session_that_is_given_away_is_counted_once_at_every_step() -> None:
    assert search(("create",), ("assign", "keep")) > 0


TRIPLES = [(*writers, looker) for writers in itertools.combinations(WRITERS, 2) for looker in LOOKERS]


@pytest.mark.parametrize("names", TRIPLES, ids="-".join)
def test_three_calls_in_every_order_leave_exact_counts(names: tuple[str, ...]) -> None:
    assert search(("create",), names) > 0


class DeafNodes(Nodes):
    """Nodes that confirm every change of an index and do nothing."""

    def _execute_on_set(self, name: bytes, key: bytes, rest: list[bytes]) -> Any:
        return 1 if name in (b"ZADD", b"ZREM") else super()._execute_on_set(name, key, rest)


@pytest.mark.parametrize("look", ["count", "sweep"])
def test_a_look_at_entries_that_changes_nothing_ends_with_an_error_that_names_the_entry(look: str) -> None:
    store, nodes = make_store(), DeafNodes()
    run_alone(nodes, OPERATIONS["create"](store, FIRST))
    nodes.sets[DUE] = {MEMBER: float(START - 1)}
    with pytest.raises(StoreCorrupt, match=r"sessions:due:11 has the entry b's/u', which stays due") as caught:
        run_alone(nodes, OPERATIONS[look](store, FIRST))
    assert "doctor" in str(caught.value)
