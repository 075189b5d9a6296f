"""R5, R6, R18 and R23: the primary dies or freezes, and a replica takes over."""

import asyncio
from collections.abc import Awaitable, Callable

from chaos.case import Allowances
from chaos.history import longest_outage
from chaos.trial import Trial
from chaos.workload import Caller
from testkit.backends import ClusterBackend, SentinelBackend
from testkit.servers import wait_until

CONFIRMED = {"redis_wait_replicas": 1, "redis_wait_timeout": 1000}
DOWN_AFTER = 1.5  # seconds; the default of SentinelTopology
GAP = 5.0  # seconds in which a cluster has a new primary, and a replica that confirms
WHOLE = 20.0  # seconds until the old primary has become a replica and confirms again
ROUND_TRIP = 4.0  # seconds that a round trip may take: two fifths of the calls' ten
SPLIT = 2.0  # seconds after its return in which a former primary may still have a follower
CLOCKS = 0.05
HEALTHY = 30.0  # seconds in which all servers should work together again


async def sentinel(trial: Trial) -> None:
    """R5: nothing that a replica confirmed is lost, and no caller waits longer than the failover takes."""
    backend: SentinelBackend = await trial.open_backend(**CONFIRMED)

    async def kill() -> None:
        old = await asyncio.to_thread(backend.server.kill_primary)
        await asyncio.to_thread(backend.server.wait_for_failover, old)
        await _rest(trial)
        await asyncio.to_thread(backend.server.restart, old)
        await asyncio.to_thread(backend.server.wait_until_healthy)

    await _load(trial, backend, kill, times=trial.pick(10, 1), writers=8, sessions=16)
    await trial.judge(backend, Allowances(unconfirmed_reads=True))
    trial.limit_outage(DOWN_AFTER + 3.0)


async def cluster(trial: Trial) -> None:
    """R6: the same on a cluster, whose replicas elect the next primary themselves.

    The only replica of the killed primary takes over. It has no replica until the killed server is back. So reads
    go on at once, and writes as soon as a replica can confirm them.
    """
    backend: ClusterBackend = await trial.open_backend("--cluster-node-timeout", "1500", **CONFIRMED)
    rng = trial.rng("slots")
    promoted: list[float] = []
    unconfirmed: list[float] = []

    async def kill() -> None:
        slot = rng.randrange(16384)
        killed = trial.recorder.moment()
        old = await asyncio.to_thread(backend.server.kill_primary, slot)
        await asyncio.to_thread(wait_until, lambda: slot in backend.server.owners(), "a replica has taken over")
        promoted.append(trial.recorder.moment() - killed)
        await asyncio.to_thread(backend.server.restart, old)
        await asyncio.to_thread(backend.server.wait_until_healthy)
        unconfirmed.append(trial.recorder.moment() - killed)

    await _load(trial, backend, kill, times=trial.pick(5, 1), writers=8, sessions=40)
    await trial.judge(backend, Allowances(unconfirmed_reads=True))
    reading = [op for op in trial.recorder.history if op.writer.startswith("reader")]
    trial.note(f"promoted after {max(promoted):.1f} s, confirmed again after {max(unconfirmed):.1f} s at most")
    trial.limit_outage(GAP, longest_outage(reading), "a reader")
    trial.limit_outage(GAP)


async def freeze(trial: Trial) -> None:
    """R18: the old primary comes back after 3 and after 7 s, and believes that it is still the primary.

    One of its two replicas may then confirm writes which the other one, promoted in the meantime, never receives.
    Only such writes are lost: those acknowledged after the return, as long as the old primary has a follower.
    """
    backend: SentinelBackend = await trial.open_backend(**CONFIRMED)
    returns = await _freeze(trial, backend)
    verdict = await trial.judge(backend, Allowances(lossy=True))
    for op in verdict.lost:
        if not any(-CLOCKS <= (op.ended or 0.0) - moment <= SPLIT for moment in returns):
            trial.break_rule(f"{op.id or op.kind} was lost, and no primary had returned within {SPLIT:g} s", op.session)
    trial.note(f"{len(verdict.lost)} lost that were confirmed to a primary that had been replaced")
    trial.limit_outage(ROUND_TRIP + 3.0)


async def freeze_for_all(trial: Trial) -> None:
    """R23: if every replica must confirm, the promoted one has confirmed, and nothing acknowledged is lost."""
    backend: SentinelBackend = await trial.open_backend(redis_wait_replicas=2, redis_wait_timeout=1000)
    await _freeze(trial, backend)
    await trial.judge(backend, Allowances(stale_reads=True))
    trial.limit_outage(WHOLE)


async def _freeze(trial: Trial, backend: SentinelBackend) -> list[float]:
    """The moments at which frozen primaries came back."""
    lengths = iter(trial.pick((3.0, 7.0, 3.0, 7.0), (3.0,)))
    returns: list[float] = []

    async def stop() -> None:
        old = await asyncio.to_thread(backend.server.primary)
        with old.frozen():
            await asyncio.sleep(next(lengths))
            returns.append(trial.recorder.moment())
        await asyncio.to_thread(backend.server.wait_for_failover, old)
        await asyncio.to_thread(backend.server.wait_until_healthy)

    await _load(trial, backend, stop, times=trial.pick(4, 1), writers=8, sessions=16, fault="SIGSTOP of the primary")
    return returns


async def _rest(trial: Trial) -> None:
    """Some load between two faults."""
    await asyncio.sleep(trial.pick(3.0, 0.3))


async def _load(
    trial: Trial,
    backend: SentinelBackend | ClusterBackend,
    disturb: Callable[[], Awaitable[None]],
    *,
    times: int,
    writers: int,
    sessions: int,
    fault: str = "primary killed",
) -> None:
    managers = [trial.open_manager(backend, store_timeout=10.0) for _ in range(4)]
    ids = await trial.create_sessions(managers[0], sessions)

    async def go_on() -> None:
        for _ in range(times):
            await _rest(trial)
            await disturb()
            trial.faults[fault] += 1
        await _rest(trial)

    callers = [trial.caller(f"w{i}", managers[i % 4]) for i in range(writers)]
    mixers = [trial.caller(f"m{i}", managers[i % 4]) for i in range(2)]
    readers = [trial.caller(f"reader{i}", managers[i % 4]) for i in range(4)]
    workload = [caller.write(ids, trial.running) for caller in callers]
    workload += await trial.edit_in(managers)
    workload += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    workload += [_read_on(trial, reader, ids) for reader in readers]
    await trial.run_with_nemesis(go_on(), workload)
    trial.outcome.load = f"{writers} writers, 4 readers, 2 mixed, 4 that edit, {sessions} sessions"
    await asyncio.to_thread(backend.server.wait_until_healthy, HEALTHY)  # all agree on the primaries


async def _read_on(trial: Trial, reader: Caller, sessions: list[str]) -> None:
    while trial.running():
        await reader.read(reader.rng.choice(sessions), 3)
        await asyncio.sleep(0.02)
