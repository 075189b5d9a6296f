"""R14, R19, R20 and R22: application processes are killed, or share a store with others."""

import asyncio
from typing import Any

from chaos.editor import RACES
from chaos.trial import Trial, together
from chaos.workers import Workers

SLOTS = 2  # workers at a time
FAIR = 1.0  # seconds that a caller may wait


async def in_mid_call(trial: Trial) -> None:
    """R14, R20: a process that is killed during a create or an append leaves nothing inconsistent."""
    kills = trial.pick(300, 50)
    backend = await trial.open_backend()
    settings = trial.settings_for(backend)
    async with Workers(trial.recorder) as workers:

        async def keep_killing(slot: int) -> None:
            rng = trial.rng(slot)
            for number in range(kills // SLOTS):
                name = f"k{slot}.{number}"
                await workers.start(name, backend.url, "create and write", rng.random(), callers=4, settings=settings)
                await asyncio.sleep(rng.uniform(0, 0.04))
                await workers.kill(name)
                trial.faults["worker killed -9"] += 1

        async with asyncio.TaskGroup() as group:
            for slot in range(SLOTS):
                group.create_task(keep_killing(slot))
    trial.outcome.load = f"{SLOTS} workers at a time, 4 callers each, create and append"
    await trial.judge(backend)


async def one_of_four(trial: Trial) -> None:
    """R19: the other three get no error and wait no longer than usual, and what the killed one was told is true."""
    rounds = trial.pick(10, 1)
    turns = trial.pick(2000, 150)
    backend = await trial.open_backend()
    sessions = await trial.create_sessions(trial.open_manager(backend), 16)
    async with Workers(trial.recorder) as workers:
        for number in range(rounds):
            names = [f"r{number}.{i}" for i in range(4)]
            facts: dict[str, Any] = {"callers": 4, "sessions": sessions, "settings": trial.settings_for(backend)}
            for name in names:
                stay = 0 if name == names[0] else turns
                await workers.start(name, backend.url, "write", f"{trial.outcome.seed}{name}", turns=stay, **facts)
            await asyncio.sleep(trial.rng(number).uniform(0.1, 0.5))
            await workers.kill(names[0])
            trial.faults["worker killed -9"] += 1
            for name in names[1:]:
                if code := await workers.wait(name):
                    trial.break_rule(f"worker {name} ended with {code}")
    for op in trial.recorder.history:
        if op.error:
            trial.break_rule(f"{op.writer} got an error: {op.error}", op.session)
    trial.limit_outage(FAIR)
    trial.outcome.load = f"4 workers, 4 callers each, {rounds} rounds"
    await trial.judge(backend)


async def side_by_side(trial: Trial) -> None:
    """R22: two processes and this one write into one file at the same time. None is refused, and none waits long."""
    turns = trial.pick(2000, 100)
    backend = await trial.open_backend()
    manager = trial.open_manager(backend)
    sessions = await trial.create_sessions(manager, 8)
    async with Workers(trial.recorder) as workers:
        facts: dict[str, Any] = {"callers": 4, "sessions": sessions, "settings": trial.settings_for(backend)}
        for name in ("a", "b"):
            await workers.start(name, backend.url, "write", f"{trial.outcome.seed}{name}", turns=turns, **facts)
        mixers = [trial.caller(f"m{i}", manager) for i in range(2)]
        own = [trial.caller(f"own{i}", manager) for i in range(4)]

        async def write(i: int) -> None:
            for _ in range(turns):
                await own[i].append(own[i].rng.choice(sessions))

        writing = together([*map(write, range(4)), workers.wait("a"), workers.wait("b")])
        workload = [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
        await trial.run_with_nemesis(writing, workload + await trial.edit_in([manager], 2))
    for op in trial.recorder.history:
        if op.error and not op.error.startswith(RACES):
            trial.break_rule(f"{op.writer} was refused: {op.error}", op.session)
    trial.limit_outage(FAIR)
    trial.faults["processes at once"] = 3
    trial.outcome.load = f"3 processes, 4 callers each, {turns:,} messages a caller, 2 mixed, 2 that edit"
    await trial.judge(backend)
