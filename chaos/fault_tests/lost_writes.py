"""R49 and R52: a failover loses the last writes of sessions, and others take their places."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from chaos.case import Allowances
from chaos.fault_tests.failovers import HEALTHY
from chaos.feed_scene import FeedScene
from chaos.trial import Trial
from chat_session import Message, SessionManager
from chat_session.events import Event, MessageAppended, MessageRetracted, Reset, State
from chat_session.testing.feed.scene import Watch, read_until
from testkit.backends import RedisBackend, SentinelBackend
from testkit.topology import Node

Step = Callable[["Loss"], Awaitable[None]]
KEPT, LOST = 5, 3  # messages that are there before, and those that are lost
SESSIONS = 8
ALONE = 0.7  # seconds in which the primary takes writes that no replica receives


class Loss:
    """A session ``id`` of which an older state can be brought back, as a failover does that loses the last writes."""

    def __init__(self, trial: Trial, backend: RedisBackend[Any], manager: SessionManager, session_id: str) -> None:
        self.id = session_id
        self.manager = manager
        self._writer = trial.caller(f"w.{session_id}", manager)
        self._editor = trial.editor(f"e.{session_id}", manager)
        self._backend = backend
        self._kept: dict[bytes, tuple[bytes, int] | None] = {}

    async def say(self, count: int) -> list[str]:
        """Their ids."""
        return [(await self._writer.append(self.id)).id for _ in range(count)]

    async def edit(self, message_id: str) -> None:
        await self._editor.retract(self.id, Message(id=message_id, sender="user", text=""))

    def keep(self) -> None:
        keys = (*self._backend.keys.session(self.id), self._backend.keys.draft(self.id))
        with self._backend.clients() as [client]:
            for key in keys:
                dumped = client.dump(key)
                self._kept[key] = None if dumped is None else (dumped, client.pttl(key))

    def lose(self) -> None:
        """All that was written since ``keep``; the connections of subscriptions are lost with it."""
        with self._backend.clients() as [client]:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            for key, kept in self._kept.items():
                client.delete(key)
                if kept is not None:
                    client.restore(key, max(kept[1], 0), kept[0])


async def _as_many_others(loss: Loss) -> None:
    loss.lose()
    await loss.say(LOST)


async def _more_others(loss: Loss) -> None:
    loss.lose()
    await loss.say(LOST + 2)


async def _fewer_others(loss: Loss) -> None:
    """The watcher is ahead of the session."""
    loss.lose()
    await loss.say(LOST - 1)


async def _none_since(loss: Loss) -> None:
    loss.lose()


AFTERWARDS: tuple[Step, ...] = (_as_many_others, _more_others, _fewer_others, _none_since)


async def run(trial: Trial) -> None:
    """A watcher that comes back with its cursor, and one that stays, get a Reset in every case."""
    backend = await trial.open_backend()
    manager = trial.open_manager(backend)
    founder = trial.caller("founder", manager)
    for number in range(trial.pick(20, 2)):
        for afterwards in AFTERWARDS:
            for inside in (False, True):
                name = f"{afterwards.__name__}.{inside}.{number}"
                await founder.create(name, "u")
                await _lose_messages(trial, Loss(trial, backend, manager, name), afterwards, inside=inside)
        await founder.create(f"edits.{number}", "u")
        await _lose_edits(trial, Loss(trial, backend, manager, f"edits.{number}"))
    trial.outcome.load = "one watcher that stays and one that comes back, with and without internal messages"
    await trial.judge(backend, Allowances(lossy=True))


async def _lose_messages(trial: Trial, loss: Loss, afterwards: Step, *, inside: bool) -> None:
    options = {"include_internal": inside}
    await loss.say(KEPT)
    loss.keep()
    async with Watch(loss.manager, loss.id, **options) as watch:
        last = (await loss.say(LOST))[-1]
        told = await watch.next(MessageAppended, lambda event: event.message.id == last)
        await afterwards(loss)
        trial.faults["last writes lost"] += 1
        reset = await watch.next(Reset)
        await watch.next(State)
        _expect_rewritten(trial, loss, "one that stays", reset)
        [after] = await loss.say(1)
        await watch.next(MessageAppended, lambda event: event.message.id == after)
    await _come_back(trial, loss, told, options)


async def _come_back(trial: Trial, loss: Loss, told: Event, options: dict[str, Any]) -> None:
    events = await read_until(loss.manager, Reset, loss.id, after=told.cursor, **options)
    _expect_rewritten(trial, loss, "one that came back", events[-1])
    if any(isinstance(event, MessageAppended) for event in events):
        trial.break_rule("was told messages before the Reset", loss.id)


def _expect_rewritten(trial: Trial, loss: Loss, who: str, event: Event) -> None:
    if not isinstance(event, Reset) or event.reason != "rewritten":
        trial.break_rule(f"{who} was told {event.name}, not a Reset because of lost writes", loss.id)


async def _lose_edits(trial: Trial, loss: Loss) -> None:
    """A retraction is lost, and another one has its revision: the histories are equally long."""
    ids = await loss.say(KEPT)
    loss.keep()
    async with Watch(loss.manager, loss.id) as watch:
        await loss.edit(ids[0])
        told = await watch.next(MessageRetracted)
    loss.lose()
    await loss.edit(ids[1])
    trial.faults["last edit lost"] += 1
    await _come_back(trial, loss, told, {})


async def failover(trial: Trial) -> None:
    """R52: the primary dies with writes that no replica has received, and of which watchers were told."""
    backend: SentinelBackend = await trial.open_backend(store_timeout=10.0)
    scene = FeedScene(trial, backend, SESSIONS)

    async def lose_writes(scene: FeedScene) -> None:
        await scene.stream("streamer")
        for _ in range(trial.pick(5, 1)):
            await asyncio.sleep(trial.pick(3.0, 1.0))
            old = await asyncio.to_thread(backend.server.primary)
            others = [server for server in backend.server.servers if server is not old]
            await asyncio.to_thread(_cut_off, old, others)
            await asyncio.sleep(ALONE)
            await asyncio.to_thread(old.kill)
            await asyncio.to_thread(_let_follow, others)
            trial.faults["primary killed with its last writes"] += 1
            await asyncio.to_thread(backend.server.wait_for_failover, old)
            await asyncio.to_thread(backend.server.restart, old)
            await asyncio.to_thread(backend.server.wait_until_healthy, HEALTHY)
        await asyncio.sleep(1.0)
        await scene.workers.kill("streamer")

    await scene.run(lose_writes, workload=scene.writers())
    resets = [op.told["reason"] for op in trial.recorder.history if op.kind == "told" and op.told["event"] == "reset"]
    trial.note(f"{len(resets)} resets were told")
    if not resets or set(resets) != {"rewritten"}:
        trial.break_rule(f"the resets that were told: {resets}")
    await scene.judge(Allowances(lossy=True))


def _cut_off(primary: Node, replicas: list[Node]) -> None:
    """The replicas lose their connection, and are refused when they come back."""
    for replica in replicas:
        with replica.client() as client:
            client.config_set("masteruser", "nobody")
            client.config_set("masterauth", "wrong")
    with primary.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")


def _let_follow(replicas: list[Node]) -> None:
    for replica in replicas:
        with replica.client() as client:
            client.config_set("masteruser", "")
            client.config_set("masterauth", "")
