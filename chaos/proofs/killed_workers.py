"""R14, R19, R20 and R22: application processes are killed, or share a store with others."""

import asyncio
from typing import Any

from chaos.trial import Trial, together
from chaos.workers import Workers

SLOTS = 2  # workers at a time
FAIR = 1.0  # seconds that a caller may wait for its turn


async def in_mid_call(trial: Trial) -> None:
    """R14, R20: killed at any moment of a create or an append, a process leaves nothing that is torn."""
    kills = trial.pick(300, 50)
    store = await trial.open_store()
    settings = trial.settings_for(store)
    async with Workers(trial.recorder) as workers:

        async def keep_killing(slot: int) -> None:
            dice = trial.dice(slot)
            for number in range(kills // SLOTS):
                name = f"k{slot}.{number}"
                await workers.start(name, store.url, "create and write", dice.random(), callers=4, settings=settings)
                await asyncio.sleep(dice.uniform(0, 0.04))
                await workers.kill(name)
                trial.faults["worker killed -9"] += 1

        async with asyncio.TaskGroup() as group:
            for slot in range(SLOTS):
                group.create_task(keep_killing(slot))
    trial.outcome.load = f"{SLOTS} workers at a time, 4 callers each, create and append"
    await trial.judge(store)


async def one_of_four(trial: Trial) -> None:
    """R19: the other three get no error and no longer wait, and what the killed one was told stands."""
    rounds = trial.pick(10, 1)
    turns = trial.pick(2000, 150)
    store = await trial.open_store()
    sessions = await trial.create_sessions(trial.open_manager(store), 16)
    async with Workers(trial.recorder) as workers:
        for number in range(rounds):
            names = [f"r{number}.{i}" for i in range(4)]
            facts: dict[str, Any] = {"callers": 4, "sessions": sessions, "settings": trial.settings_for(store)}
            for name in names:
                stay = 0 if name == names[0] else turns
                await workers.start(name, store.url, "write", f"{trial.outcome.seed}{name}", turns=stay, **facts)
            await asyncio.sleep(trial.dice(number).uniform(0.1, 0.5))
            await workers.kill(names[0])
            trial.faults["worker killed -9"] += 1
            for name in names[1:]:
                if code := await workers.wait(name):
                    trial.break_rule(f"worker {name} ended with {code}")
    for call in trial.recorder.calls:
        if call.error:
            trial.break_rule(f"{call.writer} heard of it: {call.error}", call.session)
    trial.limit_outage(FAIR)
    trial.outcome.load = f"4 workers, 4 callers each, {rounds} rounds"
    await trial.judge(store)


async def side_by_side(trial: Trial) -> None:
    """R22: two processes and this one write into one file at the same time; nobody is refused or starved."""
    turns = trial.pick(2000, 100)
    store = await trial.open_store()
    manager = trial.open_manager(store)
    sessions = await trial.create_sessions(manager, 8)
    async with Workers(trial.recorder) as workers:
        facts: dict[str, Any] = {"callers": 4, "sessions": sessions, "settings": trial.settings_for(store)}
        for name in ("a", "b"):
            await workers.start(name, store.url, "write", f"{trial.outcome.seed}{name}", turns=turns, **facts)
        mixers = [trial.caller(f"m{i}", manager) for i in range(2)]
        own = [trial.caller(f"own{i}", manager) for i in range(4)]

        async def write(i: int) -> None:
            for _ in range(turns):
                await own[i].append(own[i].dice.choice(sessions))

        writing = together([*map(write, range(4)), workers.wait("a"), workers.wait("b")])
        await trial.run_under(writing, [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers])
    for call in trial.recorder.calls:
        if call.error and not call.error.startswith("AgentConflict"):  # the mixture asks for those
            trial.break_rule(f"{call.writer} was refused: {call.error}", call.session)
    trial.limit_outage(FAIR)
    trial.faults["processes at once"] = 3
    trial.outcome.load = f"3 processes, 4 callers each, {turns:,} messages a caller, 2 mixed"
    await trial.judge(store)
