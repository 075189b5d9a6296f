"""R11: calls are cancelled while they wait in the process, on the way, or on the way back."""

import asyncio

from chaos.trial import Trial, together
from chaos.workload import Caller

TASKS, SESSIONS, MANAGERS = 20, 20, 2


async def run(trial: Trial) -> None:
    """A cancelled call takes no other call's answer, and nothing is stored twice."""
    wanted = trial.pick(10_000, 1000)
    backend = await trial.open_backend()
    managers = [trial.open_manager(backend) for _ in range(MANAGERS)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)

    async def cancel_at_once(caller: Caller) -> None:
        while trial.faults["cancelled"] < wanted:
            try:
                async with asyncio.timeout(caller.rng.uniform(0, 0.003)):
                    await _call(caller, sessions)
            except TimeoutError:
                trial.faults["cancelled"] += 1

    async def stay(caller: Caller) -> None:
        while trial.faults["cancelled"] < wanted:
            await caller.append(caller.rng.choice(sessions))
            await caller.read(caller.rng.choice(sessions))

    callers = [trial.caller(f"c{i}", managers[i % MANAGERS]) for i in range(TASKS)]
    staying = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(4)]
    await together([*map(cancel_at_once, callers), *map(stay, staying)])
    for op in trial.recorder.history:
        op.abandoned = op.abandoned or op.error == "CancelledError"
    trial.outcome.load = f"{TASKS} cancelled tasks, 4 others, {SESSIONS} sessions"
    await trial.judge(backend)


async def _call(caller: Caller, sessions: list[str]) -> None:
    session = caller.rng.choice(sessions)
    match caller.rng.randrange(8):
        case 0:
            await caller.read(session)
        case 1:
            await caller.switch(session, caller.rng.choice(("ai", "human")))
        case 2:
            await caller.create(f"{caller.name}.{caller.recorder.moment():.6f}", "cancelled")
        case 3:
            await caller.list_user("u1")
        case _:
            await caller.append(session)
