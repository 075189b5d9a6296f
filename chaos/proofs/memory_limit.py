"""R9: the server reaches its memory limit under a mixed load."""

import asyncio

from chaos.case import Terms
from chaos.load import Caller
from chaos.stores import Standalone
from chaos.trial import Trial, together
from chat_session import StoreFull

WRITERS, MIXERS, SESSIONS, MORTALS = 4, 6, 16, 20


async def run(trial: Trial) -> None:
    """Writes are refused as StoreFull and tear nothing; reads, deletes and cleanup go on."""
    times = trial.pick(10, 3)
    store = await trial.open_store()
    managers = [trial.open_manager(store) for _ in range(2)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    checking = trial.caller("checking", managers[1])
    full = trial.recorder.hear_of(StoreFull)

    async def fill() -> None:
        dice = trial.dice("limits")
        for turn in range(times):
            mortals = [f"mortal{turn}.{i}" for i in range(MORTALS)]
            await together(checking.create(session, "mortal", ttl=1) for session in mortals)
            await checking.create(f"doomed{turn}", "doomed")
            await checking.append(f"doomed{turn}")
            last_word = asyncio.get_running_loop().time() + 1.05
            full.clear()
            [memory] = store.on_all("INFO", "memory")
            store.on_all("CONFIG", "SET", "maxmemory", memory["used_memory"] + dice.randrange(50_000, 150_000))
            trial.faults["memory limit"] += 1
            await full.wait()
            await asyncio.sleep(last_word - asyncio.get_running_loop().time())
            await _works_while_full(trial, store, checking, sessions, turn)
            store.on_all("CONFIG", "SET", "maxmemory", 0)
            if (await checking.append(sessions[0])).outcome != "ok":
                trial.break_rule("a message was refused after the limit had been lifted", sessions[0])

    writers = [trial.caller(f"w{i}", managers[0]) for i in range(WRITERS)]
    mixers = [trial.caller(f"m{i}", managers[i % 2]) for i in range(MIXERS)]
    loads = [_write_on(writer, sessions, trial) for writer in writers]
    loads += [mixer.do_a_mixture(mixer.name, trial.running) for mixer in mixers]
    await trial.run_under(fill(), loads)
    trial.outcome.load = f"{WRITERS} writers, {MIXERS} mixed, {SESSIONS} sessions"
    refused = sum(call.error.startswith(StoreFull.__name__) for call in trial.recorder.calls)
    trial.note(f"{refused:,} calls were refused as StoreFull")
    await trial.judge(store, Terms(deaths=MORTALS * times))


async def _write_on(writer: Caller, sessions: list[str], trial: Trial) -> None:
    """A refused message is not sent again; the next one is another."""
    while trial.running():
        await writer.append(writer.dice.choice(sessions))
        await asyncio.sleep(0)


async def _works_while_full(trial: Trial, store: Standalone, caller: Caller, sessions: list[str], turn: int) -> None:
    """What must work: everything that reads, sweeping, deleting; and that a write is still refused."""
    manager, session = caller.manager, sessions[1 + turn % (SESSIONS - 1)]
    if (await caller.append(sessions[0])).outcome == "ok":
        store.on_all("CONFIG", "SET", "maxmemory", 1)  # deletes of the load made room again
        if not (await caller.append(sessions[0])).error.startswith(StoreFull.__name__):
            trial.break_rule("a write was taken while the store was full", sessions[0])
    calls = {
        "get_history": manager.get_history(session, 5),
        "get_session": manager.get_session(session),
        "get_session_agent": manager.get_session_agent(session),
        "get_session_ttl": manager.get_session_ttl(session),
        "get_user_sessions": manager.get_user_sessions("mortal"),
        "get_active_sessions_count": manager.get_active_sessions_count(),
    }
    for name, call in calls.items():
        try:
            with trial.recorder.calling("read", session, caller.name):
                await call
        except Exception as error:
            trial.break_rule(f"{name} failed while the store was full: {error!r}", session)
    if await caller.sweep() < 0:
        trial.break_rule("cleanup failed while the store was full")
    deleted = await caller.do("delete_session", f"doomed{turn}")
    if deleted is None or not deleted.success:
        trial.break_rule("delete failed while the store was full")
