"""R21: the disk under an SQLite file fills up, and is emptied again."""

import asyncio
import os
import shutil
from pathlib import Path

from chaos.trial import Skipped, Trial
from chat_session import ChatSessionError, SessionManager, StoreFull
from testkit.backends import SqliteBackend

SIZE, ROOM = 40_000_000, 150_000  # bytes: of the disk, and what is left of it when it fills up
WRITERS, SESSIONS = 4, 8


async def run(trial: Trial) -> None:
    """Writes are refused as StoreFull while reads go on. Once there is room, writes go on, too."""
    folder = await _mount(trial)
    backend = SqliteBackend(folder / "chat.db")
    manager = trial.open_manager(backend)
    sessions = await trial.create_sessions(manager, SESSIONS)
    full = trial.recorder.watch_for(StoreFull)

    async def fill() -> None:
        ballast = folder / "ballast"
        for turn in range(trial.pick(50, 2)):
            full.clear()
            free = shutil.disk_usage(folder).free
            ballast.write_bytes(b"\0" * (free - ROOM))
            await full.wait()
            trial.faults["disk full"] += 1
            try:
                await manager.get_history(sessions[turn % SESSIONS])
                await manager.get_active_sessions_count()
            except ChatSessionError as error:
                trial.break_rule(f"a read failed while the disk was full: {error!r}")
            ballast.unlink()
            await _writes_again(trial, manager, sessions[0], turn)

    writers = [trial.caller(f"w{i}", manager) for i in range(WRITERS)]
    await trial.run_with_nemesis(fill(), [writer.write(sessions, trial.running) for writer in writers])
    trial.outcome.load = f"{WRITERS} writers, {SESSIONS} sessions, a disk of {SIZE / 1e6:g} MB"
    await trial.judge(backend)


async def _writes_again(trial: Trial, manager: SessionManager, session: str, turn: int) -> None:
    """Write until it succeeds: the other writers may have used up the room first, but they are refused then, too."""
    for attempt in range(100):
        if not (await trial.caller(f"after{turn}.{attempt}", manager).append(session)).error:
            return
        await asyncio.sleep(0.01)
    trial.break_rule("writes are refused though there is room again", session)


async def _mount(trial: Trial) -> Path:
    """A small file system that only this test uses. It is unmounted at the end."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        raise Skipped("only root may mount a small disk")
    folder = trial.folder / "disk"
    folder.mkdir()
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder))
    if await mount.wait():
        raise Skipped("this machine does not let root mount a small disk")

    async def unmount() -> None:
        await (await asyncio.create_subprocess_exec("umount", "-l", str(folder))).wait()

    trial.at_end(unmount)
    return folder
