"""R1 and R2: a reply is lost after the server has done what was asked."""

from chaos.faults import Budget
from chaos.trial import Trial, together

MANAGERS, WRITERS, SWITCHERS, MIXERS, SESSIONS = 4, 16, 4, 4, 32


async def swallow(trial: Trial) -> None:
    """The reply never comes: the caller's manager waits its time out, and asks again."""
    await _lose(trial, "swallow", trial.pick(500, 40), chance=0.05, store_timeout=trial.pick(1.0, 0.6))


async def reset(trial: Trial) -> None:
    """The connection breaks instead of the reply."""
    await _lose(trial, "reset", trial.pick(1000, 150), chance=0.2, store_timeout=5.0)


async def _lose(trial: Trial, fault: str, times: int, *, chance: float, store_timeout: float) -> None:
    store = await trial.open_store("--appendonly", "no")
    sessions = await trial.create_sessions(trial.open_manager(store), SESSIONS)
    url, proxies = await trial.open_proxies(store)
    managers = [trial.open_manager(store, url, store_timeout=store_timeout) for _ in range(MANAGERS)]
    budget = Budget(fault, times, chance, trial.dice("faults"))
    writers = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(WRITERS)]
    await together(
        writer.append(sessions[0]) for writer in writers
    )  # connections and scripts are there before the first fault
    for proxy in proxies:
        proxy.fault = budget
    mixers = [trial.caller(f"m{i}", managers[i % MANAGERS]) for i in range(MIXERS)]
    loads = [writer.write(sessions, trial.running, give_up=0.25) for writer in writers]
    loads += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    switchers = [trial.caller(f"a{i}", managers[i % MANAGERS]) for i in range(SWITCHERS)]
    loads += [switcher.switch_on(sessions, trial.running) for switcher in switchers]
    await trial.run_under(budget.spent.wait(), loads)
    for proxy in proxies:
        trial.faults += proxy.injected
    trial.outcome.load = (
        f"{WRITERS} writers, {SWITCHERS} who switch, {MIXERS} mixed, {SESSIONS} sessions, {MANAGERS} managers"
    )
    await trial.judge(store)
