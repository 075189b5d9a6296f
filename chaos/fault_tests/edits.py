"""R26 to R28: histories are edited while replies are lost and workers are killed."""

import asyncio
from typing import Any

from chaos.nemesis import FaultBudget
from chaos.trial import Trial, together
from chaos.workers import Workers
from testkit.fault_proxy import no_fault

MANAGERS, EDITORS = 4, 16
POPS = 64


async def reset(trial: Trial) -> None:
    """R26: the connection breaks instead of the reply. Each edit is done once all the same."""
    backend = await trial.open_backend("--appendonly", "no")
    url, proxies = await trial.open_proxies(backend)
    managers = [trial.open_manager(backend, url, store_timeout=5.0) for _ in range(MANAGERS)]
    editing = await trial.edit_in(managers, EDITORS)
    budget = FaultBudget("reset", trial.pick(2000, 200), 0.2, trial.rng("faults"))
    for proxy in proxies:
        proxy.fault = budget
    await trial.run_with_nemesis(budget.spent.wait(), editing)
    for proxy in proxies:
        trial.faults += proxy.injected
    trial.outcome.load = f"{EDITORS} that edit, 4 sessions, {MANAGERS} managers"
    await trial.judge(backend)


async def pops(trial: Trial) -> None:
    """R27: sixty-four pops at once, whose replies are lost, take sixty-four messages; the others stay.

    The pops of one manager share round trips, so they are repeated together. Each round loses several replies, in
    one of three ways.
    """
    rounds = trial.pick(60, 6)
    backend = await trial.open_backend("--appendonly", "no")
    url, proxies = await trial.open_proxies(backend)
    manager = trial.open_manager(backend, url, store_timeout=trial.pick(2.0, 1.0), redis_max_retries=100)
    editor = trial.editor("popper", manager)
    for number in range(rounds):
        session = f"edited.{number}"
        await editor.create(session, "u")
        await together(editor.append(session) for _ in range(POPS + 10))
        fault, times = (("reset", 5), ("cut", 5), ("swallow", 1))[number % 3]
        budget = FaultBudget(fault, times, 0.3, trial.rng(number))
        for proxy in proxies:
            proxy.fault = budget
        popped = [op for op in await together(editor.pop(session, 1) for _ in range(POPS)) if op.outcome == "ok"]
        for proxy in proxies:
            proxy.fault = no_fault
        taken = {message_id for op in popped for message_id in op.ids}
        left = await editor.look(session, 2 * POPS)
        if len(popped) != POPS or len(taken) != POPS or len(left) != 10:
            text = f"{len(popped)} pops of {POPS} were answered, {len(taken)} taken, {len(left)} of 10 are left"
            trial.break_rule(text, session)
    for proxy in proxies:
        trial.faults += proxy.injected
    trial.outcome.load = f"{POPS} pops at once, {rounds} rounds"
    await trial.judge(backend)


async def killed_workers(trial: Trial) -> None:
    """R28: processes are killed that edit the same session as this one. An edit is done completely or not at all."""
    kills = trial.pick(100, 12)
    backend = await trial.open_backend()
    manager = trial.open_manager(backend)
    editing = await trial.edit_in([manager])
    async with Workers(trial.recorder) as workers:

        async def keep_killing() -> None:
            rng = trial.rng("kills")
            facts: dict[str, Any] = {"callers": 4, "settings": trial.settings_for(backend)}
            for number in range(kills):
                name = f"k{number}"
                await workers.start(name, backend.url, "edit", rng.random(), sessions=("edited.1",), **facts)
                await asyncio.sleep(rng.uniform(0, 0.1))
                await workers.kill(name)
                trial.faults["worker killed -9"] += 1

        await trial.run_with_nemesis(keep_killing(), editing)
    trial.outcome.load = "4 that edit, and one worker at a time with 4 more, 4 sessions"
    await trial.judge(backend)
