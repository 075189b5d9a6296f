"""R7: a cluster's slots move to other nodes while their sessions are written to."""

import asyncio

from redis.crc import key_slot

from chaos.editor import EDITED
from chaos.trial import Trial
from chat_session.storage.redis.keys import Keys
from testkit.backends import ClusterBackend
from testkit.programs import need_redis_cli

WRITERS, SESSIONS = 16, 40
PAUSE = 0.02  # seconds in which a slot is on two servers


async def run(trial: Trial) -> None:
    """No message is lost, and callers get nothing but typed errors."""
    backend: ClusterBackend = await trial.open_backend()
    managers = [trial.open_manager(backend) for _ in range(4)]
    sessions = await trial.create_sessions(managers[0], SESSIONS)
    editing = await trial.edit_in(managers)
    keys = Keys("", "tagged")
    slots = list(dict.fromkeys(key_slot(keys.meta(session)) for session in (*EDITED, *sessions)))
    slots += [key_slot(bucket) for bucket in keys.due_buckets()][: trial.pick(16, 2)]
    rng = trial.rng("targets")

    async def move() -> None:
        for slot in slots[: trial.pick(len(slots), 10)]:
            owners = backend.server.owners()
            others = [server for server in backend.server.primaries() if server is not owners[slot]]
            await asyncio.to_thread(backend.server.migrate_slot, slot, rng.choice(others), 2, PAUSE)
            trial.faults["slot migrated"] += 1
        if not trial.short:
            await _rebalance(trial, backend)
        await asyncio.sleep(0.3)

    callers = [trial.caller(f"w{i}", managers[i % 4]) for i in range(WRITERS)]
    mixers = [trial.caller(f"m{i}", managers[i % 4]) for i in range(4)]
    workload = [caller.write(sessions, trial.running) for caller in callers]
    workload += editing
    workload += [mixer.do_a_mixture("mixed", trial.running) for mixer in mixers]
    await trial.run_with_nemesis(move(), workload)
    trial.outcome.load = f"{WRITERS} writers, 4 mixed, 4 that edit, {SESSIONS} sessions"
    await asyncio.to_thread(backend.server.wait_until_healthy)
    await trial.judge(backend)


async def _rebalance(trial: Trial, backend: ClusterBackend) -> None:
    """Rebalance as an operator does it, which moves a thousand slots and more."""
    node = backend.server.primaries()[0]
    weight = f"{node.ask('CLUSTER', 'MYID')}=2"
    command = (
        need_redis_cli(backend.server.program),
        "--cluster",
        "rebalance",
        f"127.0.0.1:{node.port}",
        "--cluster-weight",
        weight,
    )
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    trial.faults["rebalance"] += 1
    if process.returncode:
        trial.break_rule(f"the rebalance ended with {process.returncode}: {output.decode()[-200:]}")
