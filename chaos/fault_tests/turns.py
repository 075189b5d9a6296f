"""R36 to R41: workers answer customers in turns, while workers are killed and frozen, and a server dies."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from chaos.case import Allowances
from chaos.desk_operator import OperatorCaller
from chaos.fault_tests.failovers import CONFIRMED, HEALTHY
from chaos.history import Operation
from chaos.realtime import CLOCKS
from chaos.trial import Trial, together
from chaos.turn_scene import Scene
from chaos.turn_worker import LEASE, LONG_THOUGHT
from chaos.workload import REFUSALS, Caller
from chat_session import Inspector
from chat_session.testing.waiting import until
from testkit.backends import ClusterBackend, SentinelBackend
from testkit.servers import wait_until

WORKERS = 2  # workers that are killed or frozen at the same time
STOPS = ("before", "after", "any")  # where a worker is killed: before or after its first reply, or at any moment
LATE = 10.0  # seconds after the lease of a dead worker in which another should have replied, on a busy machine
PERSON = "o0"
RECENT = 20  # of the last calls, how many the person looks at to find a turn in which a tool runs
MEDDLING = 0.02  # seconds at most between two steps of the person
UNCONFIRMED = Allowances(unconfirmed_reads=True)
PATIENT = 60.0  # seconds for what takes a few milliseconds, on a busy machine


async def four_workers(trial: Trial) -> None:
    """R36: four processes answer 200 sessions; a person takes sessions over, hands them back, and stops turns."""
    messages, limit = trial.pick((6000, 240.0), (800, 60.0))
    backend = await trial.open_backend(turns=True)
    scene = Scene(trial, backend, trial.pick(200, 40))
    person = OperatorCaller(PERSON, scene.manager, trial.recorder, trial.rng(PERSON))

    async def until_said(scene: Scene) -> None:
        async def is_said() -> bool:
            return scene.said >= messages

        await until(is_said, limit)

    await scene.run(until_said, [_meddle(trial, person, scene.sessions)])
    await scene.judge()
    _count_faults(trial)


async def killed_workers(trial: Trial) -> None:
    """R37, R40: a worker is killed in a turn. Another answers the round, unless it was answered before."""
    backend = await trial.open_backend(turns=True)
    scene = Scene(trial, backend, trial.pick(24, 12))
    waits: list[float] = []
    rounds = trial.pick(45, 3)
    await scene.run(
        lambda scene: together(_kill_in_turns(scene, worker, rounds, waits) for worker in range(WORKERS)), workers=2
    )
    trial.note(f"another replied {min(waits):.1f} to {max(waits):.1f} s after a kill, with a lease of {LEASE:g} s")
    await scene.judge()


async def frozen_workers(trial: Trial) -> None:
    """R38: a worker is frozen past its lease. Another answers; the reply of the one that wakes is refused."""
    backend = await trial.open_backend(turns=True)
    scene = Scene(trial, backend, trial.pick(24, 12))
    rounds = trial.pick(20, 2)
    await scene.run(
        lambda scene: together(_freeze_in_turns(scene, worker, rounds) for worker in range(WORKERS)), workers=2
    )
    await scene.judge()
    if not trial.faults["late reply refused"]:
        trial.break_rule("no worker replied late, so nothing was shown")


async def sentinel_failover(trial: Trial) -> None:
    """R39: the primary dies, and Sentinel promotes a replica. What was confirmed is answered once."""
    backend: SentinelBackend = await trial.open_backend(turns=True, store_timeout=10.0, **CONFIRMED)

    async def replace_primary() -> None:
        old = await asyncio.to_thread(backend.server.kill_primary)
        await asyncio.to_thread(backend.server.wait_for_failover, old)
        await asyncio.to_thread(backend.server.restart, old)
        await asyncio.to_thread(backend.server.wait_until_healthy, HEALTHY)

    scene = Scene(trial, backend, trial.pick(60, 24))
    await scene.run(lambda scene: _fail_over(scene.trial, replace_primary))
    await scene.judge(UNCONFIRMED)


async def cluster_failover(trial: Trial) -> None:
    """R41: a node dies that has sessions and a part of the index of turns. At the end the whole index is lost.

    Then the doctor puts it back.
    """
    options = "--cluster-node-timeout", "1500"
    backend: ClusterBackend = await trial.open_backend(*options, turns=True, store_timeout=10.0, **CONFIRMED)
    slots = trial.rng("slots")

    async def replace_primary() -> None:
        slot = slots.randrange(16384)
        old = await asyncio.to_thread(backend.server.kill_primary, slot)
        await asyncio.to_thread(wait_until, lambda: slot in backend.server.owners(), "a replica has taken over")
        await asyncio.to_thread(backend.server.restart, old)
        await asyncio.to_thread(backend.server.wait_until_healthy, HEALTHY)

    scene = Scene(trial, backend, trial.pick(60, 24))
    await scene.run(lambda scene: _fail_over(scene.trial, replace_primary))
    await asyncio.to_thread(_lose_index, backend)
    trial.faults["index lost"] += 1
    if await scene.manager.pending_turns():
        trial.break_rule("the index was lost, and sessions are found in it")
    await Inspector(scene.manager).diagnose(repair=True)
    await scene.judge(UNCONFIRMED)


async def _fail_over(trial: Trial, replace_primary: Callable[[], Awaitable[None]]) -> None:
    for _ in range(trial.pick(5, 1)):
        await asyncio.sleep(trial.pick(3.0, 0.5))
        trial.faults["primary killed"] += 1
        await replace_primary()


def _lose_index(backend: ClusterBackend) -> None:
    with backend.server.client() as client:
        for key in backend.keys.turn_buckets():
            client.delete(key)


async def _kill_in_turns(scene: Scene, worker: int, rounds: int, waits: list[float]) -> None:
    """One worker after the other. ``waits`` gets the seconds until another had replied."""
    trial = scene.trial
    rng = trial.rng(f"kills {worker}")
    for number in range(rounds):
        stop = STOPS[number % len(STOPS)]
        name = f"{stop}-{worker}.{number}"
        if stop == "any":
            await scene.start(name)
            await asyncio.sleep(rng.uniform(0, 0.1))
            await scene.workers.kill(name)
        else:
            hold = await scene.hold(name)
            await asyncio.sleep(rng.uniform(0, 1.5 * LEASE))  # its lease is renewed meanwhile
            await scene.workers.kill(name)
            if stop == "before":
                waits.append(await _wait_for_another(scene, hold))
        trial.faults["worker killed -9" + ("" if stop == "any" else f" {stop} its first reply")] += 1


async def _wait_for_another(scene: Scene, hold: Operation) -> float:
    """Seconds until another worker has answered the round. None may have had the turn before the lease was over."""
    trial = scene.trial
    killed = trial.recorder.moment()
    try:
        await scene.until_answered_by_another(hold, LEASE + LATE)
    except TimeoutError:
        trial.break_rule(f"the round of {hold.writer} was not answered in {LEASE + LATE:g} s", hold.session)
    history = trial.recorder.history
    turn = hold.asked["turn"]
    taken = next(op for op in reversed(history[: hold.number]) if op.kind == "take" and op.asked["turn"] == turn)
    for op in history[taken.number + 1 :]:
        is_other = op.kind == "take" and op.session == hold.session and op.outcome == "ok" and op is not taken
        if is_other and op.ended is not None and hold.begun < op.ended < taken.begun + LEASE - CLOCKS:
            trial.break_rule(f"{op.writer} had the turn within the lease of {hold.writer}", hold.session)
    return trial.recorder.moment() - killed


async def _freeze_in_turns(scene: Scene, worker: int, rounds: int) -> None:
    for number in range(rounds):
        name = f"late-{worker}.{number}"
        hold = await scene.hold(name)
        scene.workers.freeze(name)
        held = scene.trial.recorder.moment()
        scene.trial.faults["worker frozen"] += 1
        try:
            await scene.until_answered_by_another(hold, LEASE + LATE)
        except TimeoutError:  # it was frozen in a call, and keeps all others out of the file
            scene.trial.faults["frozen in a call"] += 1
        left = held + LONG_THOUGHT + CLOCKS - scene.trial.recorder.moment()
        await asyncio.sleep(max(left, 0.0))  # it replies as soon as it wakes, before it knows that its turn is lost
        thawed = scene.trial.recorder.moment()
        scene.workers.thaw(name)
        await _judge_late_replies(scene, hold, thawed)
        await scene.workers.kill(name)


async def _judge_late_replies(scene: Scene, hold: Operation, thawed: float) -> None:
    """Another has answered, or the lease is long over: all that the worker replies in that turn is refused.

    What its tool did is stored all the same.
    """

    async def has_written() -> bool:
        done = [op for op in scene.operations_of(hold) if op.ended is not None]
        return any(op.kind == "record" or (op.kind == "append" and op.outcome == "ok") for op in done)

    await until(has_written, PATIENT)
    for op in scene.operations_of(hold):
        if op.kind == "append" and op.outcome == "ok" and op.begun > thawed:
            scene.trial.break_rule(f"{op.writer} slept past its lease, and its reply {op.id} was stored", hold.session)
        if op.kind == "append" and op.error.startswith("TurnLost"):
            scene.trial.faults["late reply refused"] += 1
        if op.kind == "record" and op.outcome == "failed":
            scene.trial.break_rule(f"the record {op.id} of what was done was refused: {op.error}", hold.session)


async def _meddle(trial: Trial, person: OperatorCaller, sessions: list[str]) -> None:
    """Take over sessions, answer in some of them, and hand them back; and stop turns."""
    await person.seen(10_000)
    while trial.running():
        recorded = [op.session for op in trial.recorder.history[-RECENT:] if op.kind == "record"]  # their turns go on
        session = person.rng.choice(recorded or sessions)
        if person.rng.random() < 0.3:
            await _stop_turn(person, session)
        elif (await person.take_over(session)).outcome == "ok":
            await asyncio.sleep(person.rng.uniform(0, MEDDLING))
            if person.rng.random() < 0.7:
                await person.answer(session)
            await person.hand_back(session)
        await asyncio.sleep(person.rng.uniform(0, MEDDLING))


async def _stop_turn(caller: Caller, session: str) -> None:
    with suppress(*REFUSALS), caller.recorder.operation("stop", session, caller.name) as op:
        op.count = int((await caller.manager.stop_turn(session)).success)


def _count_faults(trial: Trial) -> None:
    """What came between the workers."""
    errors = Counter(op.error.partition(":")[0] for op in trial.recorder.history if op.kind in ("take", "append"))
    trial.faults["turn busy"], trial.faults["reply refused"] = errors["TurnBusy"], errors["TurnLost"]
    done: Any = Counter(
        op.kind for op in trial.recorder.history if op.outcome == "ok" and (op.count or op.kind != "stop")
    )
    trial.faults["taken over by a person"], trial.faults["turn stopped"] = done["take over"], done["stop"]
