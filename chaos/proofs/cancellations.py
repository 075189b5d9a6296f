"""R11: calls are cancelled while they wait, fly or return."""

import asyncio

from chaos.load import Caller
from chaos.trial import Trial, together

TASKS, SESSIONS, MANAGERS = 20, 20, 2


async def run(trial: Trial) -> None:
    """Who is cancelled takes nobody's answer along, and nothing is stored twice."""
    wanted = trial.pick(10_000, 1000)
    store = await trial.open_store()
    managers = [trial.open_manager(store) for _ in range(MANAGERS)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)

    async def cancel_at_once(caller: Caller) -> None:
        while trial.faults["cancelled"] < wanted:
            try:
                async with asyncio.timeout(caller.dice.uniform(0, 0.003)):
                    await _call(caller, sessions)
            except TimeoutError:
                trial.faults["cancelled"] += 1

    async def stay(caller: Caller) -> None:
        while trial.faults["cancelled"] < wanted:
            await caller.append(caller.dice.choice(sessions))
            await caller.read(caller.dice.choice(sessions))

    callers = [trial.caller(f"c{i}", managers[i % MANAGERS]) for i in range(TASKS)]
    staying = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(4)]
    await together([*map(cancel_at_once, callers), *map(stay, staying)])
    for call in trial.recorder.calls:
        call.abandoned = call.abandoned or call.error == "CancelledError"
    trial.outcome.load = f"{TASKS} cancelled tasks, 4 others, {SESSIONS} sessions"
    await trial.judge(store)


async def _call(caller: Caller, sessions: list[str]) -> None:
    session = caller.dice.choice(sessions)
    match caller.dice.randrange(8):
        case 0:
            await caller.read(session)
        case 1:
            await caller.switch(session, caller.dice.choice(("ai", "human")))
        case 2:
            await caller.create(f"{caller.name}.{caller.recorder.moment():.6f}", "cancelled")
        case 3:
            await caller.list_user("u1")
        case _:
            await caller.append(session)
