"""R3 and R4: the server is killed and comes back on its data."""

import asyncio

from chaos.case import Terms
from chaos.stores import DURABLE, Standalone
from chaos.trial import Trial

MANAGERS, WRITERS, SESSIONS = 4, 16, 32
CLOCKS = 0.05  # seconds: an answer that was on its way is heard a little after the kill
FSYNC_INTERVAL = 2.0  # seconds: everysec syncs each second, and lets one more pass before it makes writers wait


async def synced_always(trial: Trial) -> None:
    """With every write synced nothing that was acknowledged is lost."""
    restarts = trial.pick(20, 5)
    store = await trial.open_store(*DURABLE)
    await _load_and_kill(trial, store, restarts, (0.05, trial.pick(5.0, 0.4)))
    await trial.judge(store)


async def synced_every_second(trial: Trial) -> None:
    """What is lost was acknowledged within two seconds before a kill; the order of the rest is kept."""
    restarts = trial.pick(10, 2)
    store = await trial.open_store("--appendonly", "yes", "--appendfsync", "everysec")
    kills = await _load_and_kill(trial, store, restarts, (0.5, trial.pick(12.0, 1.0)))
    verdict = await trial.judge(store, Terms(lossy=True))
    for call in verdict.lost:
        moment = call.ended or 0.0
        if not any(-CLOCKS <= kill - moment <= FSYNC_INTERVAL for kill in kills):
            trial.break_rule(
                f"{call.id or call.kind} was lost, and no kill followed within {FSYNC_INTERVAL:g} s", call.session
            )


async def _load_and_kill(trial: Trial, store: Standalone, restarts: int, pauses: tuple[float, float]) -> list[float]:
    """Writers and a mixture, while the server is killed again and again; the moments of the kills."""
    managers = [trial.open_manager(store, store_timeout=10.0) for _ in range(MANAGERS)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    dice = trial.dice("kills")
    kills: list[float] = []

    async def kill() -> None:
        for _ in range(restarts):
            await asyncio.sleep(dice.uniform(*pauses))
            kills.append(trial.recorder.moment())
            await asyncio.to_thread(store.restart)
            trial.faults["kill -9"] += 1
        await asyncio.sleep(pauses[0])

    writers = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(WRITERS)]
    mixers = [trial.caller(f"m{i}", managers[i % MANAGERS]) for i in range(4)]
    loads = [writer.write(sessions, trial.running) for writer in writers]
    loads += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    await trial.run_under(kill(), loads)
    trial.outcome.load = f"{WRITERS} writers, {SESSIONS} sessions, 4 mixed"
    return kills
