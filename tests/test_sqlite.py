"""The file itself: several processes, kills, a full disk, a file of a later release."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from chat_session import (
    Inspector,
    ManagerClosed,
    SessionManager,
    StoreCorrupt,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
)
from chat_session.storage.sqlite.schema import APPLICATION_ID
from testkit.backends import store_of
from testkit.present import present

WRITER = """
import asyncio, sys
from chat_session import SessionManager

async def main(url, name):
    async with SessionManager.from_url(url, max_message_history=10_000) as manager:
        print("ready", flush=True)
        for i in range(int(sys.argv[3])):
            result = await manager.add_message("s", {"id": f"{name}-{i}", "from": "user", "text": "x" * 200})
            print(result.message_id, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


def start_writer(url: str, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, url, name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def test_a_writer_killed_in_mid_write_loses_nothing_it_was_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    async with SessionManager.from_url(url) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
    told: list[str] = []
    for run in range(5):
        writer = start_writer(url, f"run{run}", 100_000)
        assert writer.stdout
        lines = iter(writer.stdout)
        assert next(lines) == "ready\n"
        told += [next(lines).strip() for _ in range(20 + 7 * run)]
        writer.kill()
        told += [line.strip() for line in lines if line.endswith("\n")]
        writer.wait(10)
        writer.stdout.close()
    async with SessionManager.from_url(url) as manager:
        history = await manager.get_history("s", 10_000)
        ids = [message.id for message in history]
        assert [message.seq for message in history] == list(range(1, len(history) + 1))
        assert len(set(ids)) == len(ids)
        assert set(told) <= set(ids)
        assert present(await manager.get_session("s")).message_count == len(ids)
        assert [f.level for f in await Inspector(manager).diagnose() if f.subject == "structure"] == ["ok"]


async def test_several_processes_write_at_the_same_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    async with SessionManager.from_url(url, max_message_history=10_000) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        writers = [start_writer(url, f"w{i}", 100) for i in range(3)]
        for i in range(100):
            await manager.add_message("s", {"id": f"own-{i}", "from": "user", "text": "x"})
        for writer in writers:
            await asyncio.to_thread(writer.communicate)
            assert writer.returncode == 0
        history = await manager.get_history("s", 10_000)
        assert [m.seq for m in history] == list(range(1, 401))
        assert len({m.id for m in history}) == 400


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another connection has begun to write within the block."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def test_readers_are_not_blocked_by_a_writer(tmp_path: Path) -> None:
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db") as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with held(tmp_path / "chat.db"):
            writing = asyncio.create_task(manager.add_message("s", {"from": "user", "text": "x"}))
            async with asyncio.timeout(2):
                assert await manager.get_session("s")
            assert not writing.done()
        assert (await writing).seq == 1


async def test_a_file_held_by_another_process_is_unavailable_in_time(tmp_path: Path) -> None:
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db", store_timeout=0.3) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with held(tmp_path / "chat.db"), pytest.raises(StoreUnavailable) as failed:
            await manager.add_message("s", {"from": "user", "text": "x"})
        assert "another process" in str(failed.value)
        assert failed.value.messages
        assert (await manager.add_messages("s", failed.value.messages))[0].seq == 1


async def test_a_call_that_was_cancelled_before_it_began_does_nothing(tmp_path: Path) -> None:
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db") as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with held(tmp_path / "chat.db"):
            first = asyncio.create_task(manager.add_message("s", {"from": "user", "text": "first"}))
            while manager._calls.in_flight == 0 or store_of(manager)._writer._jobs.qsize():
                await asyncio.sleep(0.001)  # the writer has taken it, and waits for the lock
            second = asyncio.create_task(manager.add_message("s", {"from": "user", "text": "second"}))
            while not store_of(manager)._writer._jobs.qsize():
                await asyncio.sleep(0.001)
            second.cancel()
            await asyncio.wait([second])
        assert (await first).seq == 1
        assert [m.text for m in await manager.get_history("s")] == ["first"]


async def test_writes_that_queue_up_commit_together(tmp_path: Path) -> None:
    async def grow(name: str, at_once: int) -> int:
        """How many bytes a hundred messages add to the log, to which each commit adds the pages it changed."""
        async with SessionManager.from_url(f"sqlite:///{tmp_path}/{name}.db") as manager:
            await manager.create_session("u", session_id="s", ttl=600)
            log = tmp_path / f"{name}.db-wal"
            before = log.stat().st_size
            for _ in range(100 // at_once):
                await asyncio.gather(*(manager.add_message("s", {"from": "user", "text": "x"}) for _ in range(at_once)))
            return log.stat().st_size - before

    assert await grow("one by one", 1) > 5 * await grow("at once", 100)


async def test_a_call_behind_the_close_is_refused_and_not_forgotten(tmp_path: Path) -> None:
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db") as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        may_go_on = threading.Event()
        slow = asyncio.create_task(store_of(manager)._writer.run("wait", lambda _: may_go_on.wait(10)))
        writing = asyncio.create_task(manager.add_message("s", {"from": "user", "text": "x"}))
        await asyncio.sleep(0)
        closing_down = asyncio.create_task(manager._store.close())
        await asyncio.sleep(0)
        async with asyncio.timeout(2):
            with pytest.raises(ManagerClosed):
                await manager._store.sessions.sweep()
        may_go_on.set()
        assert await slow
        assert (await writing).seq == 1
        await closing_down
        with pytest.raises(ManagerClosed):
            await manager._store.sessions.count_sessions()


async def test_whatever_breaks_in_the_thread_the_caller_learns_of_it(tmp_path: Path) -> None:
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db") as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with closing(sqlite3.connect(tmp_path / "chat.db", isolation_level=None)) as db:
            db.execute("UPDATE sessions SET metadata = ?", (b'{"a":' + b"[" * 100_000,))
        async with asyncio.timeout(5):
            with pytest.raises(StoreCorrupt):
                await manager.get_session("s")
            with pytest.raises(StoreCorrupt):
                await store_of(manager)._reader.run("divide", lambda _: 1 // 0)
            assert await manager.get_session("another") is None


async def test_a_file_of_a_later_release_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute("PRAGMA user_version=99")
    db.close()
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db") as manager:
        with pytest.raises(StoreIncompatible) as failed:
            await manager.create_session("u")
        assert "Upgrade" in str(failed.value)


async def test_a_row_that_does_not_read_as_a_session_is_named(tmp_path: Path) -> None:
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db") as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        with sqlite3.connect(tmp_path / "chat.db") as db:
            db.execute("UPDATE sessions SET metadata = ?", (b"not json",))
        db.close()
        with pytest.raises(StoreCorrupt) as failed:
            await manager.get_session("s")
        assert failed.value.session_id == "s"


async def test_a_damaged_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with SessionManager.from_url(f"sqlite:///{path}") as manager:
        for i in range(200):
            await manager.create_session("u", {"x": "y" * 500}, session_id=f"s{i}", ttl=600)
    content = bytearray(path.read_bytes())
    content[8192:-4096] = os.urandom(len(content) - 8192 - 4096)
    path.write_bytes(content)
    async with SessionManager.from_url(f"sqlite:///{path}") as manager:
        with pytest.raises(StoreCorrupt) as failed:
            await asyncio.gather(*(manager.get_session(f"s{i}") for i in range(200)))
        assert failed.value.key == str(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
async def test_a_file_without_the_right_to_write_is_read_only(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    async with SessionManager.from_url(f"sqlite:///{path}") as manager:
        await manager.create_session("u", session_id="s", ttl=600)
    path.chmod(0o444)
    async with SessionManager.from_url(f"sqlite:///{path}") as manager:
        with pytest.raises(StoreReadOnly):
            await manager.add_message("s", {"from": "user", "text": "x"})


async def test_the_last_64_changes_of_a_history_are_listed_as_in_redis(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"

    def read_edits() -> list[str]:
        with closing(sqlite3.connect(path)) as db:
            return str(db.execute("SELECT edits FROM sessions").fetchone()[0]).split()

    async with SessionManager.from_url(f"sqlite:///{path}") as manager:
        await manager.create_session("u", session_id="s")
        assert read_edits() == []
        await manager.add_messages("s", [{"id": f"m{i}", "from": "user", "text": "x"} for i in range(1, 6)])
        await manager.retract_message("s", "m4")
        await manager.pop_messages("s", 2)
        await manager.replace_message("s", {"id": "m1", "from": "user", "text": "y"})
        await manager.replace_history("s", [{"from": "user", "text": "z"}])
        await manager.clear_history("s")
        edits = read_edits()
        assert [edit.rpartition(":")[0] for edit in edits] == ["1:4-4", "2:3-5", "3:1-1", "4:*", "5:*"]
        assert all(re.fullmatch(r"[A-Za-z0-9_-]{2}", edit.rpartition(":")[2]) for edit in edits)
        for _ in range(70):
            await manager.clear_history("s")
        assert [int(edit.partition(":")[0]) for edit in read_edits()] == list(range(12, 76))
