"""R11: calls are cancelled while they wait, fly or return."""

import asyncio

from chaos.load import Caller
from chaos.stores import RedisStore
from chaos.trial import Trial, together

TASKS, SESSIONS, MANAGERS = 20, 20, 2
MOST_CONNECTIONS = 4  # of one manager to one server: a lane uses one at a time; a leak would show as hundreds


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
    if isinstance(store, RedisStore):
        _count_connections(trial, store)
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
            await caller.do("get_user_sessions", "u1")
        case _:
            await caller.append(session)


def _count_connections(trial: Trial, store: RedisStore) -> None:
    with store.clients() as clients:
        for client in clients:
            open_now = len([c for c in client.client_list(_type="normal") if not c["addr"].endswith("sock:0")])
            if open_now > MANAGERS * MOST_CONNECTIONS:
                trial.break_rule(f"{open_now} connections are open of {MANAGERS} managers")
