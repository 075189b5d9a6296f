"""R13: eight sweepers, thousands of deaths, and sessions that are refreshed at the last moment."""

import asyncio

from chaos.case import Allowances
from chaos.trial import Trial, together
from chaos.workload import TTL, Caller
from chat_session import SessionManager

SWEEPERS, REFRESHED = 8, 80
BATCH = 500
SHORT_LIFE = 1  # second; the shortest there is
CALM = 0.3  # seconds in which the dead are counted, or swept
CLOCKS = 0.005  # seconds by which two clocks of one machine may drift apart in a run


async def run(trial: Trial) -> None:
    """Each death is counted once, nothing is left of dead sessions, and no living session is harmed."""
    rounds, deaths = trial.pick((20, 10_000), (3, 800))
    backend = await trial.open_backend()
    managers = [trial.open_manager(backend) for _ in range(SWEEPERS)]
    happened = 0
    survivors: set[str] = set()
    for number in range(rounds):
        happened += await _round(trial, managers, number, deaths, survivors)
        swept = sum(op.count for op in trial.recorder.history if op.kind == "sweep")
        if swept != happened:
            trial.break_rule(f"after round {number} {swept} deaths were counted, {happened} happened")
    trial.faults["deaths"] = happened
    trial.outcome.load = f"{SWEEPERS} sweepers, {REFRESHED} refreshed at the edge, {rounds} rounds of {deaths:,}"
    trial.faults["survivors"] = len(survivors)
    if not survivors:
        trial.break_rule("no session was refreshed in time, so the run shows nothing about that")
    verdict = await trial.judge(backend, Allowances(deaths=happened))
    for session in survivors - verdict.snapshot.visible.keys():
        trial.break_rule("was refreshed and given an hour, and is gone", session)


async def _round(trial: Trial, managers: list[SessionManager], number: int, deaths: int, survivors: set[str]) -> int:
    """Returns how many sessions died. Adds those that were refreshed in time to ``survivors``."""
    over, calm = asyncio.Event(), asyncio.Event()
    callers = [trial.caller(f"r{number}.c{i}", manager) for i, manager in enumerate(managers)]
    mortals = [f"r{number}.m{i}" for i in range(deaths)]
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(_sweep_on(caller, over, calm))
        refreshed = [
            group.create_task(_refresh(trial, trial.caller(f"r{number}.f{i}", managers[i % SWEEPERS]), over))
            for i in range(REFRESHED)
        ]
        for start in range(0, deaths, BATCH):
            batch = mortals[start : start + BATCH]
            creating = (callers[i % SWEEPERS].create(s, f"u{i % 50}", ttl=SHORT_LIFE) for i, s in enumerate(batch))
            if not all(await together(creating)):
                trial.break_rule("a session could not be created")
            await together(callers[0].append(session) for session in batch[:: BATCH // 10])
        if number % 2:
            calm.set()
        await asyncio.sleep(SHORT_LIFE + CALM)  # now all of them have died
        over.set()
    await callers[0].sweep()
    survived = {session for task in refreshed if (session := task.result())}
    survivors |= survived
    return deaths + REFRESHED - len(survived)


async def _sweep_on(caller: Caller, over: asyncio.Event, calm: asyncio.Event) -> None:
    """Sweep again and again, and count and list in between, which read the same index entries.

    While ``calm`` is set no caller sweeps. Counts and lists must leave out dead sessions by themselves.
    """
    while not over.is_set():
        if not calm.is_set():
            await caller.sweep()
        match caller.rng.randrange(4):
            case 0:
                await caller.count()
            case 1:
                await caller.list_user(f"u{caller.rng.randrange(50)}")
            case _:
                await asyncio.sleep(caller.rng.uniform(0, 0.02))


async def _refresh(trial: Trial, caller: Caller, over: asyncio.Event) -> str:
    """Refresh a session again and again, at the last moment or a little later. Its id, or "" if it died."""
    session = f"{caller.name}.s"
    early = caller.rng.choice((0.05, 0.5, 0.95))  # seconds; where calls take long, only the earlier ones come in time
    begun = trial.recorder.moment()
    await caller.create(session, f"u{caller.rng.randrange(50)}", ttl=SHORT_LIFE)
    while not over.is_set():
        answered = trial.recorder.moment()
        edge = max(0.0, SHORT_LIFE + caller.rng.uniform(-early, 0.01) - (answered - begun))
        try:
            async with asyncio.timeout(edge):
                await over.wait()
        except TimeoutError:
            pass
        now = trial.recorder.moment()
        found = await _touch(caller, session)
        if not found:
            lived = trial.recorder.moment() - begun
            if lived < SHORT_LIFE - CLOCKS:
                trial.break_rule(f"was gone {lived:.3f} s after it had been given {SHORT_LIFE} s", session)
            return ""
        begun = now
    return session if await caller.set_ttl(session, TTL) else ""


async def _touch(caller: Caller, session: str) -> bool:
    """Extend, append or switch: each of them slides the deadline."""
    match caller.rng.randrange(3):
        case 0:
            return await caller.do("extend_session", session) is not None
        case 1:
            return (await caller.append(session)).outcome == "ok"
        case _:
            return (await caller.switch(session, "human")).outcome == "ok"
