"""R12: the server stalls while many calls wait on few connections."""

import asyncio
import time
from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis

from chaos.trial import Trial
from chat_session import ChatSessionError, SessionManager
from testkit.backends import RedisBackend

CALLS, STALL = 500, 0.2
TIMEOUT = 5.0
NORMAL = 1.0  # seconds after the stall in which a call must be answered again
NORMAL_IN_SHORT = 3.0  # the short form runs beside other tests, on a machine that is busy


async def run(trial: Trial) -> None:
    """Each call gets a typed error or its answer, in time. A second after the stall all is as before."""
    backend = await trial.open_backend()
    port = backend.server.port
    pools = [
        ConnectionPool(host="127.0.0.1", port=port, max_connections=1),
        ConnectionPool(host="127.0.0.1", port=port, max_connections=2),
        BlockingConnectionPool(host="127.0.0.1", port=port, max_connections=1, timeout=1),
    ]
    clients = [Redis(connection_pool=pool) for pool in pools]
    settings = trial.settings_for(backend, store_timeout=TIMEOUT)
    managers = [SessionManager(client, **settings) for client in clients]
    tight = trial.open_manager(backend, store_timeout=0.3)  # gives up within the stall
    try:
        sessions = await trial.create_sessions(managers[0], 16)
        for turn in range(trial.pick(20, 2)):
            for which, manager in enumerate([*managers, tight]):
                await _stall(trial, backend, manager, sessions, f"{turn}.{which}")
    finally:
        for manager, client, pool in zip(managers, clients, pools, strict=True):
            await manager.close()
            await client.aclose()
            await pool.disconnect()
    trial.outcome.load = f"{CALLS} calls at once on 1 or 2 connections"
    await trial.judge(backend)


async def _stall(
    trial: Trial, backend: RedisBackend[Any], manager: SessionManager, sessions: list[str], turn: str
) -> None:
    normal = trial.pick(NORMAL, NORMAL_IN_SHORT)
    callers = [trial.caller(f"c{turn}.{i}", manager) for i in range(CALLS)]
    backend.on_primaries("CLIENT", "PAUSE", int(STALL * 1000), "ALL")
    trial.faults["stall of 200 ms"] += 1
    started = time.monotonic()
    calls = [
        caller.append(sessions[i % len(sessions)], give_up=1.0) if i % 2 else caller.read(sessions[i % len(sessions)])
        for i, caller in enumerate(callers)
    ]
    done, waiting = await asyncio.wait([asyncio.create_task(op) for op in calls], timeout=TIMEOUT + normal)
    for task in waiting:
        task.cancel()
    if waiting:
        trial.break_rule(f"{len(waiting)} of {CALLS} calls had no answer after {TIMEOUT + normal:g} s")
    for task in done:
        task.result()
    took = time.monotonic() - started
    if took > STALL + normal:
        trial.break_rule(f"the calls took {took:.1f} s")
    started = time.monotonic()
    try:
        async with asyncio.timeout(normal):
            await manager.get_session(sessions[0])
    except (ChatSessionError, TimeoutError) as error:
        took = time.monotonic() - started
        trial.break_rule(f"{took:.2f} s after the stall a call was not answered: {error!r}")
