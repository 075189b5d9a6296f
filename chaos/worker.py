"""A process that forks workers on demand, so that a worker starts in milliseconds. ``workers.py`` talks to it.

It reads plans from standard input, one line of JSON each, and forks a worker for each plan. The workers share its
standard output. They write every operation there when it begins and when it has ended, in lines that are short
enough for a pipe to take each in one piece. The line that reports a dead worker comes after all that it wrote.
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
import chat_session.storage.sqlite  # noqa: F401 - both stores are imported before the first fork
from chaos.desk_bot import Bot
from chaos.desk_operator import OperatorCaller
from chaos.editor import Editor
from chaos.history import Operation, Recorder
from chaos.log_watch import watch_logs
from chaos.powercut import note
from chaos.streamer import Streamer
from chaos.turn_worker import AFTER, ANY, BEFORE, LATE, TurnWorker
from chaos.watcher import Watcher
from chaos.workload import Caller
from chat_session import SessionManager, clock
from chat_session.storage.sqlite.file import DatabaseFile

LOG = os.environ.get("POWERCUT_LOG")  # what callers were told is noted there, among the records of the files
MOST = 4096  # bytes that a pipe takes in one piece


def _report(facts: dict[str, Any]) -> None:
    line = json.dumps(facts).encode() + b"\n"
    if len(line) > MOST:
        raise ValueError(f"a line of {len(line):,} bytes would mix with another's")
    os.write(1, line)


async def _work(plan: dict[str, Any]) -> None:
    recorder: Recorder

    def watch(op: Operation) -> None:
        op.error, op.mismatch = op.error[:400], op.mismatch[:200]
        exported = recorder.export(op)
        if LOG:
            note(LOG, json.dumps(exported).encode())
        _report({"worker": plan["name"], "operation": exported})
        _report_logs(plan["name"], recorder)

    recorder = Recorder(watch)
    recorder.keep = False
    if plan["clock"]:
        _set_clock(plan["clock"])
    if plan["synchronous"]:
        _set_synchronous(plan["synchronous"])
    with watch_logs(recorder):
        await _serve(plan, recorder)
    _report_logs(plan["name"], recorder)


def _report_logs(name: str, recorder: Recorder) -> None:
    for kind, found in (("leak", recorder.leaks), ("unhandled", recorder.unhandled)):
        while found:
            _report({"worker": name, kind: found.pop()[:400]})


async def _serve(plan: dict[str, Any], recorder: Recorder) -> None:
    async with SessionManager.from_url(plan["url"], **plan["settings"]) as manager:
        workload = []
        for i in range(plan["callers"]):
            rng = random.Random(f"{plan['seed']}/{i}")
            kind = _KINDS.get(plan["load"], Caller)
            caller = kind(f"{plan['name']}.{i}", manager, recorder, rng)
            workload.append(_LOADS[plan["load"]](caller, plan))
        await asyncio.gather(*workload)


def _set_clock(offset: float) -> None:
    """Make the clock of this process wrong by ``offset`` seconds. The package reads the time in one place only."""
    wrong = SimpleNamespace(time_ns=lambda: time.time_ns() + int(offset * 1e9))
    vars(clock)["time"] = wrong  # in place of the module that it imports
    if abs(clock.now_ms() / 1000 - time.time() - offset) > 1:
        raise RuntimeError("the clock could not be set wrong")


def _set_synchronous(mode: str) -> None:
    """Open SQLite files with this mode of ``synchronous`` instead of the package's."""
    open_file = DatabaseFile.open

    def open_with_mode(file: DatabaseFile, *facts: Any, **more: Any) -> sqlite3.Connection:
        connection = open_file(file, *facts, **more)
        connection.execute(f"PRAGMA synchronous={mode}")
        return connection

    DatabaseFile.open = open_with_mode  # type: ignore[assignment,method-assign]


async def _write(caller: Caller, plan: dict[str, Any]) -> None:
    """Append to the given sessions, as often as the plan says or without end."""
    for _ in _turns(plan):
        await caller.append(caller.rng.choice(plan["sessions"]))


async def _create_and_write(caller: Caller, plan: dict[str, Any]) -> None:
    """New sessions with a few messages each."""
    for i in _turns(plan):
        session = f"{caller.name}.s{i}"
        if await caller.create(session, f"u{i % 3}"):
            for _ in range(caller.rng.randrange(1, 5)):
                await caller.append(session)


async def _edit(caller: Caller, plan: dict[str, Any]) -> None:
    """Edit the given sessions without end."""
    assert isinstance(caller, Editor)
    await caller.edit(plan["sessions"], lambda: True)


async def _mixture(caller: Caller, plan: dict[str, Any]) -> None:  # noqa: ARG001 - all workloads have the same parameters
    await caller.do_a_mixture(f"u-{caller.name}", lambda: True)


async def _mixture_and_sweep(caller: Caller, plan: dict[str, Any]) -> None:
    async def sweep() -> None:
        sweeper = Caller(f"{caller.name}.sweeper", caller.manager, caller.recorder, caller.rng)
        while True:
            await sweeper.sweep()
            await sweeper.count()
            await asyncio.sleep(0.05)

    await asyncio.gather(_mixture(caller, plan), sweep())


def _turns(plan: dict[str, Any]) -> range:
    return range(plan["turns"] or sys.maxsize)


async def _operate(caller: Caller, plan: dict[str, Any]) -> None:
    """Work as an operator of the desk, on the given sessions."""
    assert isinstance(caller, OperatorCaller)
    await caller.work(plan["sessions"], lambda: True)


async def _ask(caller: Caller, plan: dict[str, Any]) -> None:  # noqa: ARG001 - as above
    assert isinstance(caller, Bot)
    await caller.only_ask()


async def _claim(caller: Caller, plan: dict[str, Any]) -> None:  # noqa: ARG001 - as above
    assert isinstance(caller, OperatorCaller)
    await caller.only_claim()


async def _hold(caller: Caller, plan: dict[str, Any]) -> None:
    """Hold one session of the team that is the only one in the place of the sessions."""
    assert isinstance(caller, OperatorCaller)
    await caller.hold_one(plan["sessions"][0])


async def _sweep(caller: Caller, plan: dict[str, Any]) -> None:  # noqa: ARG001 - as above
    while True:
        await caller.sweep()
        await asyncio.sleep(0.02)


async def _answer(caller: Caller, plan: dict[str, Any]) -> None:
    """Answer whatever session waits. ``plan["load"]`` says where the worker stops."""
    assert isinstance(caller, TurnWorker)
    caller.stops = _STOPS[plan["load"]]
    await caller.work()


async def _watch(caller: Caller, plan: dict[str, Any]) -> None:
    """Watch the given sessions, each behind its cursor, if there is one. ``plan["load"]`` says how."""
    assert isinstance(caller, Watcher)
    caller.name = plan["name"].partition(" ")[0]  # the next part says which process of this watcher it is
    caller.inside, caller.comes_and_goes = "inside" in plan["load"], "come and go" in plan["load"]
    await asyncio.gather(*(caller.watch(session, plan["cursors"].get(session)) for session in plan["sessions"]))


async def _stream(caller: Caller, plan: dict[str, Any]) -> None:
    """Stream replies in the given sessions."""
    assert isinstance(caller, Streamer)
    caller.without_end = plan["load"] == "stream without end"
    for _ in _turns(plan):
        await caller.stream(caller.rng.choice(plan["sessions"]))
        await asyncio.sleep(caller.rng.uniform(0, 0.02))


_WATCHES = ("watch", "watch inside", "watch, come and go", "watch inside, come and go")
_STREAMS = ("stream", "stream without end")
_STOPS = {f"answer {where}": where for where in (ANY, BEFORE, AFTER, LATE)}
_KINDS: dict[str, type[Caller]] = {
    "edit": Editor,
    "operate": OperatorCaller,
    "ask": Bot,
    "claim": OperatorCaller,
    "hold": OperatorCaller,
    **dict.fromkeys(_STOPS, TurnWorker),
    **dict.fromkeys(_WATCHES, Watcher),
    **dict.fromkeys(_STREAMS, Streamer),
}
_LOADS = {
    "write": _write,
    "create and write": _create_and_write,
    "edit": _edit,
    "operate": _operate,
    "ask": _ask,
    "claim": _claim,
    "hold": _hold,
    "sweep": _sweep,
    "mixture": _mixture,
    "mixture and sweep": _mixture_and_sweep,
    **dict.fromkeys(_STOPS, _answer),
    **dict.fromkeys(_WATCHES, _watch),
    **dict.fromkeys(_STREAMS, _stream),
}


def _report_dead(*_: object) -> None:
    """Report each worker that has died."""
    while _names:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        name = _names.pop(pid, None)
        if name is not None:
            _report({"worker": name, "dead": os.waitstatus_to_exitcode(status)})


_names: dict[int, str] = {}


def main() -> None:
    """Fork until standard input ends. Then kill the workers that are left."""
    signal.signal(signal.SIGCHLD, _report_dead)
    for line in sys.stdin:
        plan = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # no worker is reported as dead before it has a name
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            _report({"worker": plan["name"], "pid": os.getpid()})
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
