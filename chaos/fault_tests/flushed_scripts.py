"""R8: the server forgets all scripts again and again."""

from chaos.case import Allowances
from chaos.editor import RACES
from chaos.nemesis import command_every
from chaos.trial import Trial

WRITERS, SESSIONS, BOUND = 8, 16, 50


async def run(trial: Trial) -> None:
    """No caller notices it."""
    backend = await trial.open_backend()
    managers = [trial.open_manager(backend, max_message_history=BOUND) for _ in range(2)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    writers = [trial.caller(f"w{i}", managers[i % 2]) for i in range(WRITERS)]
    mixers = [trial.caller(f"m{i}", managers[i % 2]) for i in range(2)]
    nemesis = command_every(backend, 0.005, trial.pick(60.0, 2.5), trial.faults, "SCRIPT", "FLUSH")
    workload = [writer.write(sessions, trial.running) for writer in writers]
    workload += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    workload += await trial.edit_in(managers)
    await trial.run_with_nemesis(nemesis, workload)
    met = sum(info.get("errorstat_NOSCRIPT", {}).get("count", 0) for info in backend.on_primaries("INFO", "errorstats"))
    trial.faults["NOSCRIPT"] = met
    if not met:
        trial.break_rule("no call met a script that had been forgotten")
    for op in trial.recorder.history:
        if op.error and not op.error.startswith(RACES):
            trial.break_rule(f"{op.kind} by {op.writer} got an error: {op.error}", op.session)
    trial.outcome.load = f"{WRITERS} writers, {SESSIONS} sessions of {BOUND} messages, 2 mixed, 4 that edit"
    await trial.judge(backend, Allowances(bound=BOUND))
