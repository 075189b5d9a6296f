"""R16: fifty AIs and fifty people claim the same session at once, a thousand times."""

from chaos.history import Operation
from chaos.trial import Trial, together
from chaos.workload import Caller

SIDE = 50


async def run(trial: Trial) -> None:
    """Each epoch has one winner, and no reply of an epoch that is over is stored."""
    rounds = trial.pick(1000, 40)
    backend = await trial.open_backend()
    managers = [trial.open_manager(backend) for _ in range(4)]
    per_session = 50  # rounds: so that a session keeps all replies and notes
    sides = [(trial.caller(f"{side}{i}", managers[i % 4]), side) for side in ("ai", "human") for i in range(SIDE)]
    founder = trial.caller("founder", managers[0])
    repliers = [trial.caller(f"reply{i}", managers[i % 4]) for i in range(4)]
    session, epoch, stored = "", 0, 0
    for number in range(rounds):
        if number % per_session == 0:
            session, epoch = f"claimed{number}", 0
            await founder.create(session, "u")
        rng = trial.rng(number)
        calls = [_claim(caller, session, side, epoch) for caller, side in sides]
        rng.shuffle(calls)
        for caller in repliers:  # some before all claims, some among them
            calls.insert(rng.choice((0, rng.randrange(2 * SIDE))), caller.append(session, epoch=epoch))
        results = await together(calls)
        won = [op for op in results if op.kind == "switch" and op.outcome == "ok"]
        stored += sum(op.kind == "append" and op.outcome == "ok" for op in results)
        if len(won) != 1 or won[0].epoch != epoch + 1:
            trial.break_rule(f"epoch {epoch} was won by {[op.writer for op in won]}", session)
            return
        trial.faults["claims"] += len(sides)
        epoch += 1
    trial.outcome.load = f"{2 * SIDE} claims and 4 fenced replies at once, {rounds:,} rounds"
    trial.note(f"{rounds:,} epochs, one winner each; {stored:,} of {4 * rounds:,} fenced replies stored in time")
    await trial.judge(backend)


async def _claim(caller: Caller, session: str, side: str, epoch: int) -> Operation:
    """Claim the epoch that was read. Some of those that lose send the reply that they had computed nevertheless."""
    op = await caller.switch(session, side, expect=epoch)
    if op.outcome == "failed" and caller.rng.random() < 0.05:
        await caller.append(session, epoch=epoch)
    return op
