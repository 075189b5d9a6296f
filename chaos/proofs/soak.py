"""R17: half an hour of sessions that come, talk and die, under faults at random; nothing may grow."""

import asyncio
import gc
import os
import random
from collections import Counter
from pathlib import Path

from chaos.case import Terms
from chaos.faults import Budget
from chaos.proxy import no_fault
from chaos.recorder import text_of
from chaos.stores import RedisStore
from chaos.trial import Trial
from chat_session import ChatSessionError, SessionCleanup, SessionManager, SessionNotFound, StoreUnavailable

SESSIONS, LIFETIMES, RATE = 20_000, (60, 120), 500  # alive at a time; seconds; messages a second
SMALL = 1_000, (5, 10), 200
MOST_ERRORS = 0.01  # of the calls: faults are repeated within a call
GROWTH = 1.15  # of the last third's mean over the middle third's


async def run(trial: Trial) -> None:
    """Memory, keys and descriptors are as flat in the last third as in the middle one."""
    minutes = trial.minutes or trial.pick(30.0, 0.5)
    sessions, lifetimes, rate = SMALL if minutes < 6 else (SESSIONS, LIFETIMES, RATE)
    trial.recorder.keep = False
    store = await trial.open_store()
    url, [proxy] = await trial.open_proxies(store)
    managers = [trial.open_manager(store, url, store_timeout=2.0) for _ in range(4)]
    end = asyncio.get_running_loop().time() + minutes * 60
    samples: list[Counter[str]] = []

    async def disturb() -> None:
        dice = trial.dice("faults")
        while asyncio.get_running_loop().time() < end:
            kind = dice.choice(("swallow", "SCRIPT FLUSH", "CLIENT KILL", "nothing"))
            if kind == "swallow":
                proxy.fault = Budget("swallow", 5, 0.05, trial.dice(len(samples)))
            elif kind != "nothing":
                tail = ("TYPE", "normal", "SKIPME", "yes") if kind == "CLIENT KILL" else ()
                store.on_all(*kind.split(), *tail)
            trial.faults[kind] += kind not in ("nothing", "swallow")
            if len(samples) % 20 == 0:
                gc.collect()  # what only the collector can free is no leak, and with so many tasks it comes seldom
            samples.append(_sample(store))
            await asyncio.sleep(2.0 if minutes > 1 else 0.5)

    # Each talk has 2.5 messages and then waits for its end: so long may they be apart for that rate.
    pause = 2 * (sessions / rate - sum(lifetimes) / 2 / 2.5)
    talkers = [
        _talk(trial, manager, lifetimes, pause, trial.dice(f"{i}.{number}"), f"{i}.{number}")
        for i, manager in enumerate(managers)
        for number in range(sessions // 4)
    ]
    async with SessionCleanup(managers[0], interval=2.0), SessionCleanup(managers[1], interval=3.0):
        await trial.run_under(disturb(), talkers)
    trial.outcome.load = f"{sessions:,} sessions of {lifetimes[0]} to {lifetimes[1]} s, about {rate} messages/s"
    _compare(trial, samples)
    counts = trial.recorder.counts
    if counts["failed"] + counts["unknown"] > MOST_ERRORS * counts["ok"] or counts["ok"] < rate * minutes * 60:
        trial.break_rule(f"the load did not go on: {dict(counts)} in {minutes:g} minutes")
    trial.faults += proxy.injected
    proxy.fault = no_fault
    await asyncio.sleep(lifetimes[1] + 1)  # now all of them have died, and only a sweep is owed
    await trial.judge(store, Terms(empty=True))


async def _talk(
    trial: Trial,
    manager: SessionManager,
    lifetimes: tuple[int, int],
    pause: float,
    dice: random.Random,
    name: str,
) -> None:
    """One session after another; each is written to, read back whole, and left to die."""
    await _wait(trial, dice.uniform(0, lifetimes[0]))
    now = asyncio.get_running_loop().time
    number = 0
    while trial.running():
        number += 1
        session, sent = f"s{name}.{number}", 0
        ttl = dice.randint(*lifetimes)
        lives_until = now() + ttl
        try:
            with trial.recorder.calling("create", session, name):
                await manager.create_session(f"u{dice.randrange(1000)}", session_id=session, ttl=ttl)
        except ChatSessionError:
            await _wait(trial, dice.uniform(0, pause))
            continue
        for sent in range(1, dice.randrange(6) + 1):
            await _wait(trial, dice.uniform(0, pause))
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
    """Whether it is stored; a session that was found dead ends its talk."""
    message: object = {"id": message_id, "from": "user", "text": text_of(session, message_id)}
    while trial.running():
        try:
            with trial.recorder.calling("append", session, name, id=message_id):
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
    """Sleep, but not beyond the end. An event would wake 20,000 waiters at once."""
    end = asyncio.get_running_loop().time() + seconds
    while trial.running() and (left := end - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 - as said
        await asyncio.sleep(min(left, 1.0))


def _sample(store: RedisStore) -> Counter[str]:
    memory, clients = store.on_all("INFO", "memory")[0], store.on_all("INFO", "clients")[0]
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Counter(
        {
            "server memory": memory["used_memory"],
            "server connections": clients["connected_clients"],
            "keys": sum(store.on_all("DBSIZE")),
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
