"""R9: the server reaches its memory limit under a mixed load."""

import asyncio

from chaos.case import Allowances
from chaos.trial import Trial, together
from chaos.workload import Caller
from chat_session import StoreFull
from testkit.backends import ServerBackend

WRITERS, MIXERS, SESSIONS, MORTALS = 4, 6, 16, 20


async def run(trial: Trial) -> None:
    """Writes are refused as a whole, as StoreFull. Reads, deletes and cleanup go on."""
    times = trial.pick(10, 3)
    backend = await trial.open_backend()
    managers = [trial.open_manager(backend) for _ in range(2)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    checking = trial.caller("checking", managers[1])
    full = trial.recorder.watch_for(StoreFull)

    async def fill() -> None:
        rng = trial.rng("limits")
        for turn in range(times):
            mortals = [f"mortal{turn}.{i}" for i in range(MORTALS)]
            await together(checking.create(session, "mortal", ttl=1) for session in mortals)
            await checking.create(f"doomed{turn}", "doomed")
            await checking.append(f"doomed{turn}")
            last_word = asyncio.get_running_loop().time() + 1.05
            full.clear()
            [memory] = backend.on_primaries("INFO", "memory")
            backend.on_primaries("CONFIG", "SET", "maxmemory", memory["used_memory"] + rng.randrange(50_000, 150_000))
            trial.faults["memory limit"] += 1
            await full.wait()
            await asyncio.sleep(last_word - asyncio.get_running_loop().time())
            await _works_while_full(trial, backend, checking, sessions, turn)
            backend.on_primaries("CONFIG", "SET", "maxmemory", 0)
            if (await checking.append(sessions[0])).outcome != "ok":
                trial.break_rule("a message was refused after the limit had been lifted", sessions[0])

    writers = [trial.caller(f"w{i}", managers[0]) for i in range(WRITERS)]
    mixers = [trial.caller(f"m{i}", managers[i % 2]) for i in range(MIXERS)]
    workload = [_write_on(writer, sessions, trial) for writer in writers]
    workload += [mixer.do_a_mixture(mixer.name, trial.running) for mixer in mixers]
    await trial.run_with_nemesis(fill(), workload)
    trial.outcome.load = f"{WRITERS} writers, {MIXERS} mixed, {SESSIONS} sessions"
    refused = sum(op.error.startswith(StoreFull.__name__) for op in trial.recorder.history)
    trial.note(f"{refused:,} calls were refused as StoreFull")
    await trial.judge(backend, Allowances(deaths=MORTALS * times))


async def _write_on(writer: Caller, sessions: list[str], trial: Trial) -> None:
    """Append on and on. A refused message is not sent again; the next message is a new one."""
    while trial.running():
        await writer.append(writer.rng.choice(sessions))
        await asyncio.sleep(0)


async def _works_while_full(
    trial: Trial, backend: ServerBackend, caller: Caller, sessions: list[str], turn: int
) -> None:
    """Reads, sweeps and deletes must work while writes are refused."""
    manager, session = caller.manager, sessions[1 + turn % (SESSIONS - 1)]
    if (await caller.append(sessions[0])).outcome == "ok":
        backend.on_primaries("CONFIG", "SET", "maxmemory", 1)  # deletes of the load made room again
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
    for name, op in calls.items():
        try:
            with trial.recorder.operation("read", session, caller.name):
                await op
        except Exception as error:
            trial.break_rule(f"{name} failed while the store was full: {error!r}", session)
    if await caller.sweep() < 0:
        trial.break_rule("cleanup failed while the store was full")
    deleted = await caller.do("delete_session", f"doomed{turn}")
    if deleted is None or not deleted.success:
        trial.break_rule("delete failed while the store was full")
