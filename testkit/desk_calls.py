"""Calls of the desk on one session, each in a store of its own as in a process of its own, on one real server."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, NamedTuple

from chat_session import handoff
from chat_session.desk_options import DeskOptions
from chat_session.errors import DeskConflict, OperatorFull, SessionNotFound
from chat_session.handoff import Step
from chat_session.message import Draft, Message
from chat_session.session import Session
from chat_session.storage.contract import Stepped
from chat_session.storage.redis.desk.entries import DeskEntries
from chat_session.storage.redis.desk.steps import SessionSteps
from chat_session.storage.redis.desk.store import RedisDesk
from chat_session.storage.redis.index.cluster import ClusterIndex
from chat_session.storage.redis.index.server import ServerIndex
from chat_session.storage.redis.keys import Keys, Layout
from chat_session.storage.redis.sessions import RedisSessions
from chat_session.storage.redis.turn_entries import TurnEntries
from testkit.orders import HoldingExecutor
from testkit.raw_server import Copy, RawServer

LONG_AGO = datetime(2025, 1, 2, tzinfo=UTC)  # a creation of that day is not counted
OPTIONS = DeskOptions(waiting_ttl=7 * 86_400, claim_lease=3600, hand_back_after=30 * 86_400)
SAID = datetime(2026, 1, 31, tzinfo=UTC)


class OneBucket(Keys):
    """A sweep reads only one bucket: each command is one more step to search."""

    def check_bucket(self, number: int) -> bytes:  # noqa: ARG002 - there is only this one
        return f"{self.prefix}sessions:desk:0".encode()

    def check_buckets(self) -> list[bytes]:
        return [self.check_bucket(0)]

    def due_bucket(self, number: int) -> bytes:  # noqa: ARG002 - there is only this one
        return f"{self.prefix}sessions:due:0".encode()

    def due_buckets(self) -> list[bytes]:
        return [self.due_bucket(0)]


class Store(NamedTuple):
    """What one process has."""

    sessions: RedisSessions
    desk: RedisDesk


class World:
    """The server, and how the keys are laid out on it. "tagged" is as on a cluster."""

    def __init__(self, server: RawServer, layout: Layout) -> None:
        self.server = server
        self.on_cluster = layout == "tagged"
        self.keys = OneBucket("", layout)
        self.bucket = self.keys.check_bucket(0)
        self.desk_keys = self.keys.desk()

    def executor(self) -> HoldingExecutor:
        return HoldingExecutor(self.server, on_cluster=self.on_cluster)

    def store(self, executor: HoldingExecutor | None = None) -> Store:
        run: Any = executor or self.executor()
        index: Any = (ClusterIndex if self.on_cluster else ServerIndex)(run, self.keys, OPTIONS.waiting_ttl)
        entries = DeskEntries(run, self.keys, OPTIONS)
        entries.creations.is_off = True
        common: Any = {"on_cluster": self.on_cluster, "default_ttl": 600, "max_history": 100}
        turn_entries = TurnEntries(run, self.keys)
        steps = SessionSteps(run, self.keys, index, entries, turn_entries, presence_ms=OPTIONS.presence_ms, **common)
        return Store(
            RedisSessions(run, self.keys, index, steps, **common), RedisDesk(run, self.keys, entries, steps, OPTIONS)
        )

    def make_checks_due(self) -> None:
        [members] = self.server.send((b"ZRANGE", self.bucket, 0, -1))
        self.server.send(*((b"ZADD", self.bucket, 1, member) for member in members))

    def postpone_checks(self) -> None:
        [members] = self.server.send((b"ZRANGE", self.bucket, 0, -1))
        self.server.send(*((b"ZADD", self.bucket, 10**15, member) for member in members))

    def end_leases(self) -> None:
        [members] = self.server.send((b"ZRANGE", self.desk_keys.leases, 0, -1))
        self.server.send(*((b"ZADD", self.desk_keys.leases, 1, member) for member in members))

    def end_presence(self, operator: str) -> None:
        self.server.send((b"ZADD", self.desk_keys.presence, b"XX", 1, operator))


# The calls. ``who`` is 0 or 1, so that two calls of one kind are of two operators

Make = Callable[[Store, int], Coroutine[Any, Any, Any]]


def answer_of(who: int) -> Message:
    return Message(
        sender="operator", text="I look into it.", id=f"answer{who}", author=f"answering{who}", timestamp=SAID
    )


def said(text: str) -> Draft:
    return Draft(Message(sender="assistant", text=text, id=text, timestamp=SAID), timestamp_generated=False)


def step(name: str, decide: handoff.Decide, **fields: Any) -> Make:
    return lambda store, _: store.desk.take_step("s", Step(name, decide, **fields))


def take_over(store: Store, who: int) -> Coroutine[Any, Any, Stepped]:
    operator = f"taking{who}"
    decide = handoff.assign(operator, "taken_over", lambda _: True)
    return store.desk.take_step("s", Step("take_over", decide, operator, operator))


def answer(store: Store, who: int) -> Coroutine[Any, Any, Stepped]:
    operator = f"answering{who}"
    draft = Draft(answer_of(who), timestamp_generated=False)
    return store.desk.take_step("s", Step("answer", handoff.answer(operator, polite=False), operator, operator, draft))


def note(store: Store, who: int) -> Coroutine[Any, Any, Stepped]:
    message = Message(sender="operator", text="A note.", id=f"note{who}", type="note", internal=True, timestamp=SAID)
    return store.desk.take_step("s", Step("note", handoff.keep, actor="noting", message=Draft(message, False)))


def request(priority: int) -> Make:
    decide = handoff.request(reason="why", priority=priority, team="a", say=said("Wait."), hold_ai=True)
    return step("request_human", decide)


CALLS: dict[str, Make] = {
    "request": request(7),
    "claim": lambda store, who: store.desk.claim(f"claiming{who}", ["a"]),
    "take over": take_over,
    "answer": answer,
    "transfer": step("transfer", handoff.transfer_to_operator("op", "other", "n"), actor="op", holder="other"),
    "to team": step("transfer", handoff.transfer_to_team("op", "b", None), actor="op"),
    "decline": step("decline", handoff.decline("op"), actor="op"),
    "hand back": step("hand_back", handoff.hand_back("op", note="n", say=said("Bye."), resolved=False), actor="op"),
    "lapse": lambda store, _: store.desk.sweep(),
    "check": lambda store, _: store.desk.sweep(),
    "delete": lambda store, _: store.sessions.delete_session("s"),
    "to human": lambda store, _: store.sessions.switch_agent("s", "human", None, None),
    "to ai": lambda store, _: store.sessions.switch_agent("s", "ai", None, None),
    "note": note,
}
BYPASSES = ("to human", "to ai")
STATES = ("open", "waiting", "assigned", "returned")  # "returned": open again, after its last check


async def quietly(call: Coroutine[Any, Any, Any]) -> Any:
    """A refusal is a result."""
    try:
        return await call
    except (SessionNotFound, DeskConflict, OperatorFull) as error:
        return error


async def create(store: Store, name: str) -> None:
    session = Session(session_id=name, user_id="user", created_at=LONG_AGO, last_active_at=LONG_AGO, ttl=600)
    await store.sessions.create_session(session)


async def begin_with(world: World, state: str) -> Copy:
    """The session "s" in a state, and two others: "t" waits in a team of its own, "u" is assigned."""
    world.server.send((b"FLUSHDB",))
    store = world.store()
    for name in ("s", "t", "u"):
        await create(store, name)
    for name, team in (("t", "z"), ("u", "y")):
        decide = handoff.request(reason=None, priority=3, team=team, say=None, hold_ai=True)
        await store.desk.take_step(name, Step("request_human", decide))
    await store.desk.claim("busy", ["y"])
    if state != "open":
        await request(5)(store, 0)
    if state in ("assigned", "returned"):
        await store.desk.claim("op", ["a"])
    if state == "returned":
        await CALLS["hand back"](store, 0)
        world.make_checks_due()
        await store.desk.sweep()
    world.postpone_checks()
    return world.server.copy()


def prepare(world: World, copy: Copy, names: tuple[str, ...]) -> None:
    world.server.put_back(copy)
    if "lapse" in names:
        world.end_presence("op")
    if "check" in names:
        world.server.send((b"ZADD", world.bucket, 1, b"s"))
