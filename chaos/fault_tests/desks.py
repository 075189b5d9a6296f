"""R29 to R35: sessions are handed to people and back while workers are killed and frozen, and servers fail over."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from itertools import pairwise
from typing import Any

from redis.crc import key_slot

from chaos.case import Allowances
from chaos.desk_bot import Bot
from chaos.desk_operator import OPERATORS, OperatorCaller
from chaos.fault_tests.failovers import CONFIRMED, HEALTHY
from chaos.history import Operation
from chaos.nemesis import FaultBudget
from chaos.realtime import CLOCKS, end_of
from chaos.trial import Trial, together
from chaos.workers import Workers
from chaos.workload import Caller
from chat_session import SessionManager
from chat_session.storage.redis.keys import Keys
from chat_session.testing.waiting import until
from testkit.backends import ClusterBackend, SentinelBackend
from testkit.servers import wait_until

SESSIONS, BOTS, SWEEPERS = 24, 3, 2
KILLED_LEASE = 1.0  # seconds; operators who live give signs every few milliseconds
FAILOVER_LEASE = 3.0
PATIENT = 60.0  # seconds for what takes a few milliseconds, on a busy machine
FROZEN_LEASE = 0.6
FROZEN_AT_ONCE = 3  # operators who are frozen at the same time
UNCONFIRMED = Allowances(unconfirmed_reads=True)
LOADS = ("claim", "ask", "operate", "claim", "ask", "sweep")  # what the workers do that are killed, one after the other


async def killed_workers(trial: Trial) -> None:
    """R29, R35: a worker is killed in mid-claim or in another step. No session is lost from the queue."""
    kills = trial.pick(200, 24)
    backend = await trial.open_backend(claim_lease=KILLED_LEASE)
    managers = [trial.open_manager(backend) for _ in range(2)]
    workload = await _desk_load(trial, managers)
    async with Workers(trial.recorder) as workers:

        async def keep_killing() -> None:
            rng = trial.rng("kills")
            facts: dict[str, Any] = {"sessions": _names(), "settings": trial.settings_for(backend)}
            for number in range(kills):
                name, load = f"k{number}", LOADS[number % len(LOADS)]
                await workers.start(name, backend.url, load, rng.random(), callers=2, **facts)
                await asyncio.sleep(rng.uniform(0, 0.1))
                await workers.kill(name)
                trial.faults[f"worker killed -9 that would {load}"] += 1

        await trial.run_with_nemesis(keep_killing(), workload)
    trial.outcome.load += ", one worker at a time with 2 more callers"
    await trial.judge(backend)


async def lost_replies(trial: Trial) -> None:
    """R30: the connection breaks before or within a reply. Each step is taken once all the same."""
    backend = await trial.open_backend("--appendonly", "no", claim_lease=KILLED_LEASE, hand_back_after=0.7)
    url, proxies = await trial.open_proxies(backend)
    managers = [trial.open_manager(backend, url, store_timeout=5.0) for _ in range(3)]
    workload = await _desk_load(trial, managers)
    budgets = [FaultBudget(fault, trial.pick(1500, 120), 0.05, trial.rng(fault)) for fault in ("reset", "cut")]

    def fault() -> str:
        return next((found for budget in budgets if (found := budget()) != "pass"), "pass")

    for proxy in proxies:
        proxy.fault = fault
    await trial.run_with_nemesis(together(budget.spent.wait() for budget in budgets), workload)
    for proxy in proxies:
        trial.faults += proxy.injected
    await trial.judge(backend)


async def queue_failover(trial: Trial) -> None:
    """R31: the node that has the queue dies, and its replica takes over. At the end the whole queue is lost.

    Then the checks of the sessions put it back.
    """
    backend: ClusterBackend = await trial.open_backend("--cluster-node-timeout", "1500", **_CAREFUL)
    slot = key_slot(Keys("", "tagged").desk().queue)
    await _fail_over(trial, backend, lambda: _replace_primary(backend, slot))
    await asyncio.to_thread(_lose_queue, backend)
    trial.faults["queue lost"] += 1
    await trial.judge(backend, UNCONFIRMED)


async def session_failover(trial: Trial) -> None:
    """R32: a node dies that has sessions, and not the queue."""
    backend: ClusterBackend = await trial.open_backend("--cluster-node-timeout", "1500", **_CAREFUL)
    keys = Keys("", "tagged")
    queue = key_slot(keys.desk().queue)

    async def replace_primary() -> None:
        owners = backend.server.owners()
        slots = [key_slot(keys.meta(session)) for session in _names()]
        await _replace_primary(backend, next(slot for slot in slots if owners[slot] is not owners[queue]))

    await _fail_over(trial, backend, replace_primary)
    await trial.judge(backend, UNCONFIRMED)


async def sentinel_failover(trial: Trial) -> None:
    """R34: the primary dies, and Sentinel promotes a replica."""
    backend: SentinelBackend = await trial.open_backend(**_CAREFUL)

    async def replace_primary() -> None:
        old = await asyncio.to_thread(backend.server.kill_primary)
        await asyncio.to_thread(backend.server.wait_for_failover, old)
        await asyncio.to_thread(backend.server.restart, old)
        await asyncio.to_thread(backend.server.wait_until_healthy)

    await _fail_over(trial, backend, replace_primary)
    await trial.judge(backend, UNCONFIRMED)


async def frozen_operators(trial: Trial) -> None:
    """R33: the process of an operator is frozen for longer than its lease. Then it goes on, and answers.

    A sweep has put the session back, another operator has taken it; the answer takes it over. Each lapse counts once.
    """
    rounds = trial.pick(30, 2)
    backend = await trial.open_backend(claim_lease=FROZEN_LEASE)
    managers = [trial.open_manager(backend) for _ in range(FROZEN_AT_ONCE)]
    async with Workers(trial.recorder) as workers:
        workload = [_sweep_on(trial, trial.caller(f"sweeper{i}", manager)) for i, manager in enumerate(managers)]
        freezes = [_freeze_in_turn(trial, backend, manager, workers, i, rounds) for i, manager in enumerate(managers)]
        await trial.run_with_nemesis(together(freezes), workload)
    trial.outcome.load = f"{FROZEN_AT_ONCE} operators frozen at a time, {rounds} rounds, {FROZEN_AT_ONCE} sweepers"
    verdict = await trial.judge(backend)
    lapses = verdict.snapshot.desk.lapses if verdict.snapshot.desk else 0
    least = rounds * FROZEN_AT_ONCE
    # More only where the machine was too busy. Who was killed in the answer after the freeze left no sign of it.
    most = max(least, _count_absences(trial.recorder.history))
    if not least <= lapses <= most:
        trial.break_rule(f"{lapses} lapses were counted; {least} to {most} operators were away")


_CAREFUL = {**CONFIRMED, "claim_lease": FAILOVER_LEASE}


def _names() -> list[str]:
    return [f"desk.{i}" for i in range(SESSIONS)]


async def _desk_load(trial: Trial, managers: Sequence[SessionManager]) -> list[Coroutine[Any, Any, None]]:
    """Bots, operators and sweepers on sessions that are created first."""
    sessions = _names()
    founder = trial.caller("founder", managers[0])
    await together(founder.create(session, f"u{i % 4}") for i, session in enumerate(sessions))
    bots = [_bot(trial, f"bot{i}", managers[i % len(managers)]) for i in range(BOTS)]
    operators = [_operator(trial, name, managers[i % len(managers)]) for i, name in enumerate(OPERATORS)]
    sweepers = [trial.caller(f"sweeper{i}", managers[i % len(managers)]) for i in range(SWEEPERS)]
    trial.outcome.load = f"{len(OPERATORS)} operators, {BOTS} bots, {SWEEPERS} sweepers, {SESSIONS} sessions"
    return [
        *(bot.talk(sessions, trial.running) for bot in bots),
        *(operator.work(sessions, trial.running) for operator in operators),
        *(_sweep_on(trial, sweeper) for sweeper in sweepers),
    ]


async def _sweep_on(trial: Trial, sweeper: Caller) -> None:
    while trial.running():
        await sweeper.sweep()
        await asyncio.sleep(0.05)


async def _fail_over(
    trial: Trial, backend: ClusterBackend | SentinelBackend, replace_primary: Callable[[], Awaitable[None]]
) -> None:
    """Under load. Nothing that a replica confirmed is lost, and the queue follows."""
    managers = [trial.open_manager(backend, store_timeout=10.0) for _ in range(3)]
    workload = await _desk_load(trial, managers)

    async def go_on() -> None:
        for _ in range(trial.pick(5, 1)):
            await asyncio.sleep(trial.pick(3.0, 0.5))
            await replace_primary()
            trial.faults["primary killed"] += 1
        await asyncio.sleep(trial.pick(3.0, 0.5))

    await trial.run_with_nemesis(go_on(), workload)
    await asyncio.to_thread(backend.server.wait_until_healthy, HEALTHY)


def _lose_queue(backend: ClusterBackend) -> None:
    """All index entries of the desk. The presence of operators is no index entry."""
    keys = Keys("", "tagged").desk()
    with backend.server.client() as client:
        client.delete(keys.queue, keys.teams, keys.entries, keys.seats, keys.claims, keys.leases, keys.idle)


async def _replace_primary(backend: ClusterBackend, slot: int) -> None:
    old = await asyncio.to_thread(backend.server.kill_primary, slot)
    await asyncio.to_thread(wait_until, lambda: slot in backend.server.owners(), "a replica has taken over")
    await asyncio.to_thread(backend.server.restart, old)
    await asyncio.to_thread(backend.server.wait_until_healthy)


def _count_absences(history: Sequence[Operation]) -> int:
    """How often one who had a session gave no sign for FROZEN_LEASE. The others have it from claim to takeover."""
    signs: dict[str, list[Operation]] = {}
    for op in history:
        if op.kind in ("claim", "answer", "take over"):
            signs.setdefault(op.writer, []).append(op)
    return sum(
        end_of(after) - before.begun >= FROZEN_LEASE - CLOCKS and (before.kind, after.kind) != ("take over", "claim")
        for given in signs.values()
        for before, after in pairwise(op for op in given if op.outcome == "ok")
    )


async def _freeze_in_turn(
    trial: Trial, backend: Any, manager: SessionManager, workers: Workers, team_number: int, rounds: int
) -> None:
    """One operator after the other, each with a session of its own."""
    bot, other = _bot(trial, f"bot{team_number}", manager), _operator(trial, f"other{team_number}", manager)
    settings = trial.settings_for(backend)
    for number in range(rounds):
        session, frozen = f"frozen.{team_number}.{number}", f"f{team_number}.{number}"
        team = f"team{team_number}"
        await bot.create(session, "u")
        await bot.request(session, team=team)
        await workers.start(frozen, backend.url, "hold", trial.rng(frozen).random(), sessions=[team], settings=settings)
        await _until_had_by(manager, session, f"{frozen}.0")
        await _freeze_until_it_waits(trial, manager, workers, frozen, session)
        await other.claim([team])
        workers.thaw(frozen)
        await _until_had_by(manager, session, f"{frozen}.0")
        await workers.kill(frozen)
        trial.faults["operator frozen"] += 1
        await other.take_over(session)
        await other.hand_back(session)


async def _freeze_until_it_waits(
    trial: Trial, manager: SessionManager, workers: Workers, frozen: str, session: str
) -> None:
    """Freeze it between two calls. If it was in one, it may keep all others out of a file: then freeze it again."""
    while True:
        await _until_answered(trial, f"{frozen}.0")
        workers.freeze(frozen)
        try:
            async with asyncio.timeout(5 * FROZEN_LEASE):
                return await _until_had_by(manager, session, None)
        except TimeoutError:
            workers.thaw(frozen)
            trial.faults["frozen in a call"] += 1


async def _until_answered(trial: Trial, writer: str) -> None:
    """Until another call of this worker ends."""
    known = len(_ended_calls(trial, writer))

    async def is_answered() -> bool:
        return len(_ended_calls(trial, writer)) > known

    await until(is_answered, PATIENT)


def _ended_calls(trial: Trial, writer: str) -> list[Operation]:
    return [op for op in trial.recorder.history if op.writer == writer and op.ended is not None]


async def _until_had_by(manager: SessionManager, session: str, operator: str | None) -> None:
    """Until this operator has the session; None: until it waits."""

    async def is_so() -> bool:
        found = await manager.get_session(session)
        return found is not None and found.desk.operator_id == operator and found.desk.state != "open"

    await until(is_so, PATIENT)


def _bot(trial: Trial, name: str, manager: SessionManager) -> Bot:
    return Bot(name, manager, trial.recorder, trial.rng(name))


def _operator(trial: Trial, name: str, manager: SessionManager) -> OperatorCaller:
    return OperatorCaller(name, manager, trial.recorder, trial.rng(name))
