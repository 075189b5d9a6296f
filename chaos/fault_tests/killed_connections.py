"""R10: every connection is cut, ten times a second."""

from chaos.nemesis import command_every
from chaos.trial import Trial

TASKS, SESSIONS, MANAGERS = 200, 64, 4
MOST_ERRORS = 0.01


async def run(trial: Trial) -> None:
    """With the default of three retries fewer than one call in a hundred fails."""
    backend = await trial.open_backend()
    managers = [trial.open_manager(backend, redis_max_retries=3) for _ in range(MANAGERS)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    writers = [trial.caller(f"w{i}", managers[i % MANAGERS]) for i in range(TASKS)]
    cut = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    nemesis = command_every(backend, 0.1, trial.pick(60.0, 3.0), trial.faults, *cut)
    workload = [writer.write(sessions, trial.running) for writer in writers]
    await trial.run_with_nemesis(nemesis, workload + await trial.edit_in(managers))
    errors = sum(bool(op.error) for op in trial.recorder.history)
    trial.note(f"{errors:,} of {len(trial.recorder.history):,} calls failed")
    if errors > MOST_ERRORS * len(trial.recorder.history):
        trial.break_rule(f"{errors:,} of {len(trial.recorder.history):,} calls failed")
    trial.outcome.load = f"{TASKS} tasks, 4 that edit, {SESSIONS} sessions, {MANAGERS} managers"
    await trial.judge(backend)
