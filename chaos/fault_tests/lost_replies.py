"""R1 and R2: a reply is lost after the server has done what was asked."""

from chaos.nemesis import FaultBudget
from chaos.trial import Trial, together

MANAGERS, WRITERS, SWITCHERS, MIXERS, EDITORS, SESSIONS = 4, 16, 4, 4, 4, 32


async def swallow(trial: Trial) -> None:
    """The reply never comes. The manager of the caller waits until its timeout, and asks again."""
    await _lose(trial, "swallow", trial.pick(500, 40), chance=0.05, store_timeout=trial.pick(1.0, 0.6))


async def reset(trial: Trial) -> None:
    """The connection breaks instead of the reply."""
    await _lose(trial, "reset", trial.pick(1000, 150), chance=0.2, store_timeout=5.0)


async def _lose(trial: Trial, fault: str, times: int, *, chance: float, store_timeout: float) -> None:
    backend = await trial.open_backend("--appendonly", "no")
    sessions = await trial.create_sessions(trial.open_manager(backend), SESSIONS)
    url, proxies = await trial.open_proxies(backend)
    managers = [trial.open_manager(backend, url, store_timeout=store_timeout) for _ in range(MANAGERS)]
    editing = await trial.edit_in(managers, EDITORS)
    budget = FaultBudget(fault, times, chance, trial.rng("faults"))
    writers = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(WRITERS)]
    await together(
        writer.append(sessions[0]) for writer in writers
    )  # connections and scripts are there before the first fault
    for proxy in proxies:
        proxy.fault = budget
    mixers = [trial.caller(f"m{i}", managers[i % MANAGERS]) for i in range(MIXERS)]
    workload = [writer.write(sessions, trial.running, give_up=0.25) for writer in writers]
    workload += editing
    workload += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    switchers = [trial.caller(f"a{i}", managers[i % MANAGERS]) for i in range(SWITCHERS)]
    workload += [switcher.switch_on(sessions, trial.running) for switcher in switchers]
    await trial.run_with_nemesis(budget.spent.wait(), workload)
    for proxy in proxies:
        trial.faults += proxy.injected
    trial.outcome.load = (
        f"{WRITERS} writers, {SWITCHERS} that switch, {MIXERS} mixed, {EDITORS} that edit,"
        f" {SESSIONS} sessions, {MANAGERS} managers"
    )
    await trial.judge(backend)
