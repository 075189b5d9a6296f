"""R17: half an hour of sessions that are created, used and left to die, under random faults. Nothing may grow."""

import asyncio
import gc
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

from chaos.case import Allowances
from chaos.history import text_of
from chaos.nemesis import FaultBudget
from chaos.trial import Trial
from chat_session import ChatSessionError, SessionCleanup, SessionManager, SessionNotFound, StoreUnavailable
from testkit.backends import RedisBackend
from testkit.fault_proxy import no_fault

SESSIONS, LIFETIMES, RATE = 20_000, (60, 120), 500  # alive at a time; seconds; messages a second
SMALL = 1_000, (5, 10), 200
MOST_ERRORS = 0.01  # of the calls: faults are repeated within a call
GROWTH = 1.15  # the mean of the last third, divided by the mean of the middle third


async def run(trial: Trial) -> None:
    """Memory, keys and descriptors do not grow from the middle third of the run to the last third."""
    minutes = trial.minutes or trial.pick(30.0, 0.5)
    sessions, lifetimes, rate = SMALL if minutes < 6 else (SESSIONS, LIFETIMES, RATE)
    trial.recorder.keep = False
    backend = await trial.open_backend()
    url, [proxy] = await trial.open_proxies(backend)
    managers = [trial.open_manager(backend, url, store_timeout=2.0) for _ in range(4)]
    end = asyncio.get_running_loop().time() + minutes * 60
    samples: list[Counter[str]] = []

    async def disturb() -> None:
        rng = trial.rng("faults")
        while asyncio.get_running_loop().time() < end:
            kind = rng.choice(("swallow", "SCRIPT FLUSH", "CLIENT KILL", "nothing"))
            if kind == "swallow":
                proxy.fault = FaultBudget("swallow", 5, 0.05, trial.rng(len(samples)))
            elif kind != "nothing":
                tail = ("TYPE", "normal", "SKIPME", "yes") if kind == "CLIENT KILL" else ()
                backend.on_primaries(*kind.split(), *tail)
            trial.faults[kind] += kind not in ("nothing", "swallow")
            if len(samples) % 20 == 0:
                gc.collect()  # cyclic garbage is no leak, but with so many tasks the collector runs rarely
            samples.append(_sample(backend))
            await asyncio.sleep(2.0 if minutes > 1 else 0.5)

    # Each session gets 2.5 messages on average and then waits for its end. This pause between them gives the rate.
    pause = 2 * (sessions / rate - sum(lifetimes) / 2 / 2.5)
    talkers = [
        _talk(trial, manager, lifetimes, pause, trial.rng(f"{i}.{number}"), f"{i}.{number}")
        for i, manager in enumerate(managers)
        for number in range(sessions // 4)
    ]
    async with SessionCleanup(managers[0], interval=2.0), SessionCleanup(managers[1], interval=3.0):
        await trial.run_with_nemesis(disturb(), talkers)
    trial.outcome.load = f"{sessions:,} sessions of {lifetimes[0]} to {lifetimes[1]} s, about {rate} messages/s"
    _compare(trial, samples)
    counts = trial.recorder.counts
    if counts["failed"] + counts["unknown"] > MOST_ERRORS * counts["ok"] or counts["ok"] < rate * minutes * 60:
        trial.break_rule(f"the load did not go on: {dict(counts)} in {minutes:g} minutes")
    trial.faults += proxy.injected
    proxy.fault = no_fault
    await asyncio.sleep(lifetimes[1] + 1)  # now all sessions have died, and only a sweep is missing
    await trial.judge(backend, Allowances(empty=True))


async def _talk(
    trial: Trial,
    manager: SessionManager,
    lifetimes: tuple[int, int],
    pause: float,
    rng: random.Random,
    name: str,
) -> None:
    """One session after another. Each is written to, read completely, and left to die."""
    await _wait(trial, rng.uniform(0, lifetimes[0]))
    now = asyncio.get_running_loop().time
    number = 0
    while trial.running():
        number += 1
        session, sent = f"s{name}.{number}", 0
        ttl = rng.randint(*lifetimes)
        lives_until = now() + ttl
        try:
            with trial.recorder.operation("create", session, name):
                await manager.create_session(f"u{rng.randrange(1000)}", session_id=session, ttl=ttl)
        except ChatSessionError:
            await _wait(trial, rng.uniform(0, pause))
            continue
        for sent in range(1, rng.randrange(6) + 1):
            await _wait(trial, rng.uniform(0, pause))
            begun = now()
            if not await _send(trial, manager, session, f"m{sent}", name):
                if trial.running() and now() < lives_until:
                    trial.break_rule("was found dead before its time", session)
                break
            lives_until = begun + ttl
        else:
            await _read_back(trial, manager, session, sent, lives_until)
        await _wait(trial, ttl)


async def _send(trial: Trial, manager: SessionManager, session: str, message_id: str, name: str) -> bool:
    """Send until it is stored. False if the session was found dead."""
    message: object = {"id": message_id, "from": "user", "text": text_of(session, message_id)}
    while trial.running():
        try:
            with trial.recorder.operation("append", session, name, id=message_id):
                await manager.add_message(session, message)  # type: ignore[arg-type]
            return True
        except StoreUnavailable as error:
            [message] = error.messages
        except SessionNotFound:
            return False
    return False


async def _read_back(trial: Trial, manager: SessionManager, session: str, sent: int, lives_until: float) -> None:
    try:
        found = [message.id for message in await manager.get_history(session)]
    except ChatSessionError:
        return
    dead = not found and asyncio.get_running_loop().time() >= lives_until
    if not dead and found != [f"m{i}" for i in range(1, sent + 1)]:
        trial.break_rule(f"{sent} messages were sent, {found} are there", session)


async def _wait(trial: Trial, seconds: float) -> None:
    """Sleep, but not beyond the end of the run. An event would wake 20,000 tasks at once."""
    end = asyncio.get_running_loop().time() + seconds
    while trial.running() and (left := end - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 - as said
        await asyncio.sleep(min(left, 1.0))


def _sample(backend: RedisBackend[Any]) -> Counter[str]:
    memory, clients = backend.on_primaries("INFO", "memory")[0], backend.on_primaries("INFO", "clients")[0]
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Counter(
        {
            "server memory": memory["used_memory"],
            "server connections": clients["connected_clients"],
            "keys": sum(backend.on_primaries("DBSIZE")),
            "own memory": resident,
            "own descriptors": len(list(Path("/proc/self/fd").iterdir())),
        }
    )


def _compare(trial: Trial, samples: list[Counter[str]]) -> None:
    third = len(samples) // 3
    if third == 0:
        raise RuntimeError("the soak was too short to compare anything")
    for what in samples[0]:
        middle = sum(sample[what] for sample in samples[third : 2 * third]) / third
        last = sum(sample[what] for sample in samples[2 * third : 3 * third]) / third
        trial.note(f"{what}: {middle:,.0f} then {last:,.0f}")
        if last > middle * GROWTH + 5:
            trial.break_rule(f"{what} grew from {middle:,.0f} to {last:,.0f}")
