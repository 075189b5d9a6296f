"""A process that forks workers on demand, so that one starts in milliseconds; ``workers.py`` speaks to it.

It reads plans from standard input, a line of JSON each, and forks for each. The workers write every
call, when it begins and when it has ended, to the standard output that all of them share: a line is
shorter than what a pipe takes in one piece. That a worker is dead is told after all that it wrote.
"""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from types import SimpleNamespace
from typing import Any

import chat_session.storage.redis
import chat_session.storage.sqlite  # noqa: F401 - both stores are there before the first fork
from chaos.eavesdrop import listen
from chaos.load import Caller
from chaos.powercut import note
from chaos.recorder import Call, Recorder
from chat_session import SessionManager, clock
from chat_session.storage.sqlite.file import DatabaseFile

LOG = os.environ.get("POWERCUT_LOG")  # where what callers were told is noted, between the records of the files
MOST = 4096  # bytes that a pipe takes in one piece


def _tell(facts: dict[str, Any]) -> None:
    line = json.dumps(facts).encode() + b"\n"
    if len(line) > MOST:
        raise ValueError(f"a line of {len(line):,} bytes would mix with another's")
    os.write(1, line)


async def _work(plan: dict[str, Any]) -> None:
    recorder: Recorder

    def tell(call: Call) -> None:
        call.error, call.strange = call.error[:400], call.strange[:200]
        exported = recorder.export(call)
        if LOG:
            note(LOG, json.dumps(exported).encode())
        _tell({"worker": plan["name"], "call": exported})
        _tell_what_was_heard(plan["name"], recorder)

    recorder = Recorder(tell)
    recorder.keep = False
    if plan["clock"]:
        _set_clock(plan["clock"])
    if plan["synchronous"]:
        _sync_otherwise(plan["synchronous"])
    with listen(recorder):
        await _serve(plan, recorder)
    _tell_what_was_heard(plan["name"], recorder)


def _tell_what_was_heard(name: str, recorder: Recorder) -> None:
    for kind, heard in (("leak", recorder.leaks), ("unheard", recorder.unheard)):
        while heard:
            _tell({"worker": name, kind: heard.pop()[:400]})


async def _serve(plan: dict[str, Any], recorder: Recorder) -> None:
    async with SessionManager.from_url(plan["url"], **plan["settings"]) as manager:
        loads = []
        for i in range(plan["callers"]):
            dice = random.Random(f"{plan['seed']}/{i}")
            caller = Caller(f"{plan['name']}.{i}", manager, recorder, dice)
            loads.append(_LOADS[plan["load"]](caller, plan))
        await asyncio.gather(*loads)


def _set_clock(offset: float) -> None:
    """This process's idea of the time, which the package asks for in one place, is wrong by so many seconds."""
    clock.time = SimpleNamespace(time_ns=lambda: time.time_ns() + int(offset * 1e9))  # type: ignore[assignment]
    if abs(clock.now_ms() / 1000 - time.time() - offset) > 1:
        raise RuntimeError("the clock could not be set wrong")


def _sync_otherwise(mode: str) -> None:
    """Files are opened with this mode of ``synchronous``."""
    open_file = DatabaseFile.open

    def open_otherwise(file: DatabaseFile, *facts: Any) -> sqlite3.Connection:
        connection = open_file(file, *facts)
        connection.execute(f"PRAGMA synchronous={mode}")
        return connection

    DatabaseFile.open = open_otherwise  # type: ignore[method-assign]


async def _write(caller: Caller, plan: dict[str, Any]) -> None:
    """Append to the given sessions for ever, or so often as the plan says."""
    for _ in _turns(plan):
        await caller.append(caller.dice.choice(plan["sessions"]))


async def _create_and_write(caller: Caller, plan: dict[str, Any]) -> None:
    """New sessions with a few messages each."""
    for i in _turns(plan):
        session = f"{caller.name}.s{i}"
        if await caller.create(session, f"u{i % 3}"):
            for _ in range(caller.dice.randrange(1, 5)):
                await caller.append(session)


async def _mixture(caller: Caller, plan: dict[str, Any]) -> None:  # noqa: ARG001 - loads have one face
    await caller.do_a_mixture(f"u-{caller.name}", lambda: True)


async def _mixture_and_sweep(caller: Caller, plan: dict[str, Any]) -> None:
    async def sweep() -> None:
        sweeper = Caller(f"{caller.name}.sweeper", caller.manager, caller.recorder, caller.dice)
        while True:
            await sweeper.sweep()
            await sweeper.count()
            await asyncio.sleep(0.05)

    await asyncio.gather(_mixture(caller, plan), sweep())


def _turns(plan: dict[str, Any]) -> range:
    return range(plan["turns"] or sys.maxsize)


_LOADS = {
    "write": _write,
    "create and write": _create_and_write,
    "mixture": _mixture,
    "mixture and sweep": _mixture_and_sweep,
}


def _bury(*_: object) -> None:
    """Tell of each worker that has died."""
    while _names:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        name = _names.pop(pid, None)
        if name is not None:
            _tell({"worker": name, "dead": os.waitstatus_to_exitcode(status)})


_names: dict[int, str] = {}


def main() -> None:
    """Fork until standard input ends; then end the workers, too."""
    signal.signal(signal.SIGCHLD, _bury)
    for line in sys.stdin:
        plan = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # nobody dies before he has a name
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            _tell({"worker": plan["name"], "pid": os.getpid()})
            code = 1
            try:
                asyncio.run(_work(plan))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _names[pid] = plan["name"]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for pid in tuple(_names):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
