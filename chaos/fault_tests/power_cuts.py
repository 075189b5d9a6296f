"""R24 and R25: the power fails at any moment. What was acknowledged until then is there afterwards.

No machine is switched off for this. Every write and every sync of a running store is recorded, and from the record
the test rebuilds what a power cut would have left at a moment. A control, which syncs less, must lose something:
otherwise the test shows nothing.
"""

import asyncio
import json
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chaos.case import Violation
from chaos.checker import check
from chaos.history import Operation, Recorder
from chaos.observer import take_snapshot
from chaos.powercut import NOTE, VARIANTS, WRITE, CannotRecord, Disk, Event, build_library, read_log
from chaos.snapshot import Snapshot
from chaos.trial import Skipped, Trial
from chaos.workers import Workers
from chat_session import ChatSessionError
from testkit.backends import Backend, ServerBackend, SqliteBackend
from testkit.programs import need_server
from testkit.servers import DURABLE, Server

CALLERS = 4
SHOWN = 3  # violations of one state
LEAST = 20  # answers, and writes, below which a record shows nothing
UNSYNCED = ("--appendonly", "yes", "--appendfsync", "no")

OpenStore = Callable[[Path], AbstractAsyncContextManager[Backend]]  # on the files that were left


async def under_a_file(trial: Trial) -> None:
    """R24, with ``synchronous=NORMAL`` as the control: that syncs at checkpoints only."""
    library = _build(trial)
    for control in (False, True):
        folder = trial.folder / ("control" if control else "watched")
        folder.mkdir()
        log = folder.with_suffix(".log")
        watched = {"LD_PRELOAD": str(library), "POWERCUT_FOLDER": str(folder), "POWERCUT_LOG": str(log)}
        await _load(trial, SqliteBackend(folder / "chat.db"), watched, "NORMAL" if control else "")
        await _judge(trial, Disk(), list(read_log(log)), _open_file, moments=trial.pick(100, 15), control=control)
    trial.outcome.load = f"{CALLERS} mixed callers on a file"
    trial.outcome.settings["synchronous"] = "FULL; of the control NORMAL"


async def under_an_append_only_file(trial: Trial) -> None:
    """R25, with ``appendfsync no`` as the control."""
    program = need_server()
    library = _build(trial)
    for control in (False, True):
        folder = trial.folder / ("control" if control else "watched")
        folder.mkdir()
        log = folder.with_suffix(".log")
        preloaded = folder.with_suffix(".sh")
        facts = (f"LD_PRELOAD={library}", f"POWERCUT_FOLDER={folder}", f"POWERCUT_LOG={log}")
        preloaded.write_text(f'#!/bin/sh\nexec env {shlex.join((*facts, str(program)))} "$@"\n')
        preloaded.chmod(0o700)
        server = Server(preloaded, folder, *(UNSYNCED if control else DURABLE))
        await asyncio.to_thread(server.start)
        try:
            files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.glob("append*/*")}
            begun = len(list(read_log(log)))
            await _load(trial, ServerBackend(server, server.url), {"POWERCUT_LOG": str(log)})
        finally:
            server.kill()
        events = list(read_log(log))[begun:]
        await _judge(trial, Disk(files), events, _open_server, moments=trial.pick(25, 4), control=control)
    trial.outcome.load = f"{CALLERS} mixed callers on a server"
    trial.outcome.settings["appendfsync"] = "always; of the control no"


def _build(trial: Trial) -> Path:
    try:
        return build_library(trial.folder)
    except CannotRecord as reason:
        raise Skipped(str(reason)) from None


async def _load(trial: Trial, backend: Backend, environment: dict[str, str], synchronous: str = "") -> None:
    """A worker that is killed in the end. What it was told is in the log."""
    async with Workers(Recorder(), environment) as workers:
        facts: dict[str, Any] = {
            "callers": CALLERS,
            "settings": trial.settings_for(backend),
            "synchronous": synchronous,
        }
        await workers.start("w", backend.url, "mixture", trial.outcome.seed, **facts)
        await asyncio.sleep(trial.pick(5.0, 1.0))
        await workers.kill("w")


async def _judge(
    trial: Trial, disk: Disk, events: Sequence[Event], open_store: OpenStore, *, moments: int, control: bool
) -> None:
    """Cut the power at that many moments, half of them right after an answer, each in all variants.

    The control ends with its first loss.
    """
    notes = {at: json.loads(event.data) for at, event in enumerate(events) if event.kind == NOTE}
    told = [at for at, facts in notes.items() if facts["ended"] is not None]
    trial.note(f"{len(told):,} answers among {len(events):,} recorded steps{' of the control' if control else ''}")
    writes = sum(event.kind == WRITE for event in events)
    if min(len(told), writes) < LEAST:
        trial.break_rule("that is too little to show anything")
        return
    rng = trial.rng(f"cuts {control}")
    cuts = rng.choices(told, k=moments - moments // 2) + rng.choices(range(len(events)), k=moments // 2)
    broken: list[Violation] = []
    for at, event in enumerate(events):
        disk.apply(event)
        for variant in VARIANTS * cuts.count(at):
            state = _State(disk.cut(variant, rng), [notes[i] for i in notes if i <= at])
            found = await state.check(trial.folder / f"state{sum(trial.faults.values())}", open_store)
            where = f"cut after step {at}, of what was not synced {variant} is there"
            broken += [replace(one, text=f"{one.text} ({where})") for one in found]
            trial.faults["power cut in the control" if control else "power cut"] += 1
        if control and broken:
            trial.note(f"the control lost what it had acknowledged: {broken[0]}")
            return
    if control:
        trial.break_rule("the control, which does not sync, lost nothing: nothing is shown by this")
        return
    adopt_all(trial.recorder, notes.values())
    trial.violations += broken


@dataclass
class _State:
    """The files that a power cut left, and what callers had been told by then."""

    files: dict[str, bytes]
    notes: list[dict[str, Any]]

    async def check(self, folder: Path, open_store: OpenStore) -> list[Violation]:
        """The promises that are broken when the store is opened on these files."""
        await asyncio.to_thread(self._write, folder)
        recorder = Recorder()
        adopt_all(recorder, self.notes)
        try:
            async with open_store(folder) as backend:
                snapshot = await _take_snapshot(backend, recorder)
        except (ChatSessionError, RuntimeError, sqlite3.Error, subprocess.CalledProcessError) as error:
            return [Violation("I1", "", f"the store cannot be opened or read: {error!r}")]
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)
        return check(recorder.history, snapshot).violations[:SHOWN]

    def _write(self, folder: Path) -> None:
        folder.mkdir()
        for name, data in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


def adopt_all(recorder: Recorder, notes: Iterable[dict[str, Any]]) -> None:
    """Each operation was noted when it began and when it had ended."""
    calls: dict[tuple[str, float], Operation] = {}
    for facts in notes:
        key = facts["writer"], facts["begun"]
        calls[key] = recorder.adopt(facts, calls.get(key))


@asynccontextmanager
async def _open_file(folder: Path) -> AsyncIterator[Backend]:
    backend = SqliteBackend(folder / "chat.db")
    yield backend
    with closing(sqlite3.connect(folder / "chat.db")) as db:
        [verdict] = db.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)


@asynccontextmanager
async def _open_server(folder: Path) -> AsyncIterator[Backend]:
    server = Server(need_server(), folder, *DURABLE)
    server.repair_append_only_file()
    try:
        await asyncio.to_thread(server.start)
        yield ServerBackend(server, server.url)
    finally:
        server.kill()


async def _take_snapshot(backend: Backend, recorder: Recorder) -> Snapshot:
    async with backend.open(max_message_history=10_000) as manager:
        await manager.get_active_sessions_count()  # it opens the file, and the store repairs what is there
        return await take_snapshot(backend, manager, recorder)
