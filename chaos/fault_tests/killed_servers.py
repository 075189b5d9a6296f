"""R3 and R4: the server is killed, and started again on its data."""

import asyncio

from chaos.case import Allowances
from chaos.trial import Trial
from testkit.backends import ServerBackend
from testkit.servers import DURABLE

MANAGERS, WRITERS, SESSIONS = 4, 16, 32
CLOCKS = 0.05  # seconds: an answer that was on its way arrives a little after the kill
FSYNC_INTERVAL = 2.0  # seconds: everysec syncs each second, and lets one more pass before it makes writers wait


async def synced_always(trial: Trial) -> None:
    """If every write is synced, nothing that was acknowledged is lost."""
    restarts = trial.pick(20, 5)
    backend = await trial.open_backend(*DURABLE)
    await _load_and_kill(trial, backend, restarts, (0.05, trial.pick(5.0, 0.4)))
    await trial.judge(backend)


async def synced_every_second(trial: Trial) -> None:
    """Only what was acknowledged in the two seconds before a kill is lost. The rest keeps its order."""
    restarts = trial.pick(10, 2)
    backend = await trial.open_backend("--appendonly", "yes", "--appendfsync", "everysec")
    kills = await _load_and_kill(trial, backend, restarts, (0.5, trial.pick(12.0, 1.0)))
    verdict = await trial.judge(backend, Allowances(lossy=True))
    for op in verdict.lost:
        moment = op.ended or 0.0
        if not any(-CLOCKS <= kill - moment <= FSYNC_INTERVAL for kill in kills):
            trial.break_rule(
                f"{op.id or op.kind} was lost, and no kill followed within {FSYNC_INTERVAL:g} s", op.session
            )


async def _load_and_kill(
    trial: Trial, backend: ServerBackend, restarts: int, pauses: tuple[float, float]
) -> list[float]:
    """Writers and a mixture, while the server is killed again and again. Returns the moments of the kills."""
    managers = [trial.open_manager(backend, store_timeout=10.0) for _ in range(MANAGERS)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    rng = trial.rng("kills")
    kills: list[float] = []

    async def kill() -> None:
        for _ in range(restarts):
            await asyncio.sleep(rng.uniform(*pauses))
            kills.append(trial.recorder.moment())
            await asyncio.to_thread(backend.server.kill_and_restart)
            trial.faults["kill -9"] += 1
        await asyncio.sleep(pauses[0])

    writers = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(WRITERS)]
    mixers = [trial.caller(f"m{i}", managers[i % MANAGERS]) for i in range(4)]
    workload = [writer.write(sessions, trial.running) for writer in writers]
    workload += await trial.edit_in(managers)
    workload += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    await trial.run_with_nemesis(kill(), workload)
    trial.outcome.load = f"{WRITERS} writers, {SESSIONS} sessions, 4 mixed, 4 that edit"
    return kills
