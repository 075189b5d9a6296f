"""R8: the server forgets all scripts again and again."""

from chaos.case import Terms
from chaos.faults import command_every
from chaos.trial import Trial

WRITERS, SESSIONS, BOUND = 8, 16, 50


async def run(trial: Trial) -> None:
    """No caller hears of it."""
    store = await trial.open_store()
    managers = [trial.open_manager(store, max_message_history=BOUND) for _ in range(2)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    writers = [trial.caller(f"w{i}", managers[i % 2]) for i in range(WRITERS)]
    mixers = [trial.caller(f"m{i}", managers[i % 2]) for i in range(2)]
    fault = command_every(store, 0.005, trial.pick(60.0, 2.5), trial.faults, "SCRIPT", "FLUSH")
    loads = [writer.write(sessions, trial.running) for writer in writers]
    loads += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    await trial.run_under(fault, loads)
    met = sum(info.get("errorstat_NOSCRIPT", {}).get("count", 0) for info in store.on_all("INFO", "errorstats"))
    trial.faults["NOSCRIPT"] = met
    if not met:
        trial.break_rule("no call met a script that had been forgotten")
    for call in trial.recorder.calls:
        if call.error and not call.error.startswith("AgentConflict"):  # the mixture asks for those
            trial.break_rule(f"{call.kind} by {call.writer} heard of it: {call.error}", call.session)
    trial.outcome.load = f"{WRITERS} writers, {SESSIONS} sessions of {BOUND} messages, 2 mixed"
    await trial.judge(store, Terms(bound=BOUND))
