"""R11: calls are cancelled while they wait in the process, on the way, or on the way back."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

from chaos.trial import Trial, together
from chaos.workload import Caller

TASKS, EDITORS, SESSIONS, MANAGERS = 20, 4, 20, 2


async def run(trial: Trial) -> None:
    """A cancelled call takes no other call's answer, and nothing is stored twice."""
    wanted = trial.pick(10_000, 1000)
    backend = await trial.open_backend()
    managers = [trial.open_manager(backend) for _ in range(MANAGERS)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)

    def running() -> bool:
        return trial.faults["cancelled"] < wanted

    async def cancel_at_once(rng: random.Random, call: Callable[[], Awaitable[None]]) -> None:
        while running():
            try:
                async with asyncio.timeout(rng.uniform(0, 0.003)):
                    await call()
            except TimeoutError:
                trial.faults["cancelled"] += 1

    async def stay(caller: Caller) -> None:
        while running():
            await caller.append(caller.rng.choice(sessions))
            await caller.read(caller.rng.choice(sessions))

    callers = [trial.caller(f"c{i}", managers[i % MANAGERS]) for i in range(TASKS)]
    staying = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(4)]
    edited = await trial.create_edited_sessions(managers[0])
    editors = [trial.editor(f"e{i}", managers[i % MANAGERS]) for i in range(EDITORS)]
    cancelled = [cancel_at_once(caller.rng, partial(_call, caller, sessions)) for caller in callers]
    cancelled += [cancel_at_once(editor.rng, partial(editor.edit_once, edited)) for editor in editors]
    cancelled.append(trial.editor("e", managers[0]).edit(edited, running))
    await together([*cancelled, *map(stay, staying)])
    for op in trial.recorder.history:
        op.abandoned = op.abandoned or op.error == "CancelledError"
    trial.outcome.load = f"{TASKS} cancelled tasks and {EDITORS} that edit, 5 others, {SESSIONS} sessions"
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
