"""The file of a store: who may read it, its name, and what happens if it is removed or replaced."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chat_session import Inspector, SessionManager, StoreIncompatible
from testkit.command_line import PipedProcess


def open_file(path: Path | str, **settings: Any) -> SessionManager:
    return SessionManager.from_url(f"sqlite:///{path}", **settings)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def make_foreign(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("dear diary")
        return
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE sessions (id INTEGER, body TEXT)")
        if kind == "marked":
            db.execute("PRAGMA application_id=0x12345678")
        if kind == "versioned":
            db.execute("PRAGMA user_version=1")
        db.execute("INSERT INTO sessions VALUES (1, 'theirs')")
        db.commit()


@pytest.mark.parametrize("kind", ["plain", "marked", "versioned", "text"])
async def test_the_file_of_another_program_is_refused_and_not_a_byte_of_it_changes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "theirs.db"
    make_foreign(path, kind)
    before, when = path.read_bytes(), path.stat().st_mtime_ns
    async with open_file(path) as manager:
        for call in (manager.create_session("u"), manager.get_session("s"), Inspector(manager).diagnose(repair=True)):
            with pytest.raises(StoreIncompatible, match=r"theirs\.db is .*Name another file"):
                await call
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, when)
    assert names(tmp_path) == {"theirs.db"}


@pytest.mark.parametrize("name", ["a#b.db", "a?b.db", "a%b.db", "a b.db", "客服.db", "a%20b.db"])
async def test_a_url_means_the_file_of_that_name(tmp_path: Path, name: str) -> None:
    written = name.replace("%", "%25").replace("?", "%3F")
    async with open_file(tmp_path / written) as manager:
        await manager.create_session("u", session_id="s")
    assert name in names(tmp_path)
    async with open_file(f"{tmp_path / written}?mode=rw") as manager:
        assert await manager.get_session("s") is not None


@pytest.mark.parametrize("mode", ["rw", "ro"])
async def test_a_missing_file_is_not_made_where_one_that_exists_is_wanted(tmp_path: Path, mode: str) -> None:
    async with open_file(f"{tmp_path}/typo.db?mode={mode}") as manager:
        with pytest.raises(StoreIncompatible, match=r"no file .*typo\.db"):
            await manager.get_active_sessions_count()
    assert names(tmp_path) == set()


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with open_file(tmp_path / "chat.db") as manager:
            await manager.create_session("u")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("chat.db", "chat.db-wal", "chat.db-shm"), 0o600)


@pytest.mark.parametrize("how", ["removed", "replaced", "replaced by one of ours"])
async def test_a_file_that_is_gone_from_its_place_is_not_written_to_any_more(tmp_path: Path, how: str) -> None:
    path = tmp_path / "chat.db"
    async with open_file(path) as manager:
        await manager.create_session("u", session_id="s")
        for each in tmp_path.iterdir():
            each.rename(tmp_path / f"away-{each.name}")
        if how == "replaced":
            path.write_bytes(b"")
        elif how == "replaced by one of ours":
            async with open_file(path) as other:
                await other.create_session("u", session_id="other")
        before = path.read_bytes() if path.exists() else None
        away = (tmp_path / "away-chat.db-wal").read_bytes()
        with pytest.raises(StoreIncompatible, match="removed or replaced"):
            await manager.add_message("s", {"from": "user", "text": "x"})
        async with asyncio.timeout(5):  # a reader looks now and then
            while await sees(manager, "s"):
                await asyncio.sleep(0.01)
        assert (tmp_path / "away-chat.db-wal").read_bytes() == away
        assert (path.read_bytes() if path.exists() else None) == before


async def sees(manager: SessionManager, session_id: str) -> bool:
    try:
        return await manager.get_session(session_id) is not None
    except StoreIncompatible:
        return False


SET_UP = """
import asyncio, sys
from chat_session import SessionManager

async def main():
    await SessionManager.from_url(sys.argv[1]).create_session("u")

print("ready", flush=True)
asyncio.run(main())
"""


async def test_a_process_killed_while_it_sets_up_a_file_leaves_one_that_works(tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / f"{i}.db"
        process = PipedProcess([sys.executable, "-c", SET_UP, f"sqlite:///{path}"], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(i * 0.002)  # a moment somewhere in the set-up
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        async with open_file(path) as manager:
            await manager.create_session("u", session_id="s")
            assert await manager.get_session("s") is not None


async def test_what_is_written_is_seen_by_others_also_after_another_process_has_closed_the_file(tmp_path: Path) -> None:
    """The last process that closes a file deletes its journal, so each one must be known to have it open."""
    path = tmp_path / "chat.db"
    async with open_file(path) as manager:
        for count in range(1, 4):
            await manager.create_session("u")
            assert await manager.get_active_sessions_count() == count  # by a second connection
            async with open_file(path) as second:
                assert await second.get_active_sessions_count() == count
            assert await count_elsewhere(path) == {"activeSessions": count}
        assert {"chat.db-wal", "chat.db-shm"} <= names(tmp_path)


async def count_elsewhere(path: Path) -> Any:
    words = ("-m", "chat_session", "count", "--json", "--url", f"sqlite:///{path}")
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    return json.loads(out)
