"""R15: the clocks of application hosts are wrong, and the server is frozen for three seconds."""

import asyncio
import time
from typing import Any

from chaos.case import Allowances
from chaos.trial import Trial
from chaos.workers import Workers
from chaos.workload import TTL

WRONG = {"ahead": 7200, "behind": -7200}  # seconds
AWAY = 3.0


async def run(trial: Trial) -> None:
    """Deadlines, counts and sweeps follow the server's clock. After a freeze everything recovers by itself."""
    backend = await trial.open_backend()
    manager = trial.open_manager(backend)
    sessions = await trial.create_sessions(manager, 16)
    async with Workers(trial.recorder) as workers:
        for name, offset in WRONG.items():
            facts: dict[str, Any] = {"callers": 4, "settings": trial.settings_for(backend), "clock": offset}
            await workers.start(name, backend.url, "mixture and sweep", trial.outcome.seed, **facts)
            trial.faults[f"clock {name}"] += 1
        writers = [trial.caller(f"w{i}", manager) for i in range(4)]

        async def disturb() -> None:
            for _ in range(trial.pick(5, 1)):
                await asyncio.sleep(trial.pick(10.0, 0.3))
                with backend.server.frozen():
                    trial.faults["frozen 3 s"] += 1
                    await asyncio.sleep(AWAY)
            await asyncio.sleep(0.3)

        workload = [writer.write(sessions, trial.running) for writer in writers]
        await trial.run_with_nemesis(disturb(), workload)
        for name in WRONG:
            await workers.kill(name)
    verdict = await trial.judge(backend, Allowances(deaths=0))
    latest = time.time() * 1000 + 2 * TTL * 1000 + 1000
    for session, stored in verdict.snapshot.stored.items():
        at = stored.deadlines.get("meta")
        if at is not None and at > latest:
            trial.break_rule(f"its deadline is {(at - latest) / 1000:.0f} s too late", session)
    trial.outcome.load = "4 writers; 2 workers of 4 mixed callers, 2 h ahead and 2 h behind"
