"""R7: a cluster's slots move to other nodes while their sessions are written to."""

import asyncio
import shutil

from redis.crc import key_slot

from chaos.stores import Clustered
from chaos.trial import Trial
from chat_session.storage.redis.keys import Keys

WRITERS, SESSIONS = 16, 40
PAUSE = 0.02  # seconds in which a slot is half moved


async def run(trial: Trial) -> None:
    """Nobody loses a message, and nobody hears of it but by typed errors."""
    store: Clustered = await trial.open_store()
    managers = [trial.open_manager(store) for _ in range(4)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    keys = Keys("", "tagged")
    slots = list(dict.fromkeys(key_slot(keys.meta(session)) for session in sessions))
    slots += [key_slot(bucket) for bucket in keys.due_buckets()][: trial.pick(16, 2)]
    dice = trial.dice("targets")

    async def move() -> None:
        for slot in slots[: trial.pick(len(slots), 10)]:
            owners = store.topology.owners()
            others = [server for server in store.topology.primaries() if server is not owners[slot]]
            await asyncio.to_thread(store.topology.migrate_slot, slot, dice.choice(others), 2, PAUSE)
            trial.faults["slot migrated"] += 1
        if not trial.short:
            await _rebalance(trial, store)
        await asyncio.sleep(0.3)

    callers = [trial.caller(f"w{i}", managers[i % 4]) for i in range(WRITERS)]
    mixers = [trial.caller(f"m{i}", managers[i % 4]) for i in range(4)]
    loads = [caller.write(sessions, trial.running) for caller in callers]
    loads += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    await trial.run_under(move(), loads)
    trial.outcome.load = f"{WRITERS} writers, 4 mixed, {SESSIONS} sessions"
    await asyncio.to_thread(store.topology.wait_until_healthy)
    await trial.judge(store)


async def _rebalance(trial: Trial, store: Clustered) -> None:
    """As an operator does it, with a thousand and more slots under way."""
    tool = shutil.which("redis-cli")
    if tool is None:
        trial.note("no redis-cli, so no rebalance")
        return
    node = store.topology.primaries()[0]
    weight = f"{node.ask('CLUSTER', 'MYID')}=2"
    command = (tool, "--cluster", "rebalance", f"127.0.0.1:{node.port}", "--cluster-weight", weight)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    trial.faults["rebalance"] += 1
    if process.returncode:
        trial.break_rule(f"the rebalance ended with {process.returncode}: {output.decode()[-200:]}")
