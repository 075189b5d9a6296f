"""R10: every connection is cut, ten times a second."""

from chaos.faults import command_every
from chaos.trial import Trial

TASKS, SESSIONS, MANAGERS = 200, 64, 4
MOST_ERRORS = 0.01


async def run(trial: Trial) -> None:
    """With the package's own three retries less than one call in a hundred fails."""
    store = await trial.open_store()
    managers = [trial.open_manager(store, redis_max_retries=3) for _ in range(MANAGERS)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    writers = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(TASKS)]
    cut = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    fault = command_every(store, 0.1, trial.pick(60.0, 3.0), trial.faults, *cut)
    await trial.run_under(fault, [writer.write(sessions, trial.running) for writer in writers])
    errors = sum(bool(call.error) for call in trial.recorder.calls)
    trial.note(f"{errors:,} of {len(trial.recorder.calls):,} calls failed")
    if errors > MOST_ERRORS * len(trial.recorder.calls):
        trial.break_rule(f"{errors:,} of {len(trial.recorder.calls):,} calls failed")
    trial.outcome.load = f"{TASKS} tasks, {SESSIONS} sessions, {MANAGERS} managers"
    await trial.judge(store)
