"""R16: fifty AIs and fifty people claim the same session at once, a thousand times."""

from chaos.load import Caller
from chaos.recorder import Call
from chaos.trial import Trial, together

SIDE = 50


async def run(trial: Trial) -> None:
    """Each epoch has one winner, and no reply of an epoch that is over lands."""
    rounds = trial.pick(1000, 40)
    store = await trial.open_store()
    managers = [trial.open_manager(store) for _ in range(4)]
    per_session = 50  # rounds: every fenced reply and note stays within what a session keeps
    sides = [(trial.caller(f"{side}{i}", managers[i % 4]), side) for side in ("ai", "human") for i in range(SIDE)]
    founder = trial.caller("founder", managers[0])
    repliers = [trial.caller(f"reply{i}", managers[i % 4]) for i in range(4)]
    session, epoch, landed = "", 0, 0
    for number in range(rounds):
        if number % per_session == 0:
            session, epoch = f"claimed{number}", 0
            await founder.create(session, "u")
        dice = trial.dice(number)
        calls = [_claim(caller, session, side, epoch) for caller, side in sides]
        dice.shuffle(calls)
        for caller in repliers:  # some before all claims, some among them
            calls.insert(dice.choice((0, dice.randrange(2 * SIDE))), caller.append(session, epoch=epoch))
        results = await together(calls)
        won = [call for call in results if call.kind == "switch" and call.outcome == "ok"]
        landed += sum(call.kind == "append" and call.outcome == "ok" for call in results)
        if len(won) != 1 or won[0].epoch != epoch + 1:
            trial.break_rule(f"epoch {epoch} was won by {[call.writer for call in won]}", session)
            return
        trial.faults["claims"] += len(sides)
        epoch += 1
    trial.outcome.load = f"{2 * SIDE} claims and 4 fenced replies at once, {rounds:,} rounds"
    trial.note(f"{rounds:,} epochs, one winner each; {landed:,} of {4 * rounds:,} fenced replies landed in time")
    await trial.judge(store)


async def _claim(caller: Caller, session: str, side: str, epoch: int) -> Call:
    """Claim the epoch that was seen; some losers send the reply that they had computed all the same."""
    call = await caller.switch(session, side, expect=epoch)
    if call.outcome == "failed" and caller.dice.random() < 0.05:
        await caller.append(session, epoch=epoch)
    return call
