"""Queries and schema versions of the SQLite store: real files and real processes.

There is one migration so far. Tests of an upgrade therefore use a folder of their own: the package's first migration,
and further ones that belong to no release.
"""

import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager, StoreIncompatible
from chat_session.errors import StoreError
from chat_session.storage.sqlite import queries
from chat_session.storage.sqlite.file import DatabaseFile
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import _DECODERS
from chat_session.storage.sqlite.schema import MIGRATIONS, find_migrations
from chat_session.storage.sqlite.worker import Worker
from testkit.present import present

SOURCES = Path(queries.__file__).parent
SECOND = """\
-- A column; and a trigger, which is one statement with semicolons in it.
ALTER TABLE sessions ADD COLUMN priority INTEGER NOT NULL DEFAULT 7;
CREATE TRIGGER log_deletions AFTER DELETE ON sessions BEGIN
    INSERT INTO deletions VALUES (old.session_id);
    DELETE FROM messages WHERE session_id = old.session_id;
END;
CREATE TABLE deletions (session_id TEXT, note TEXT DEFAULT 'a; b;
c')
"""
THIRD = "UPDATE sessions SET priority = priority + 1;\n"


# Queries


def open_memory() -> sqlite3.Connection:
    return DatabaseFile(":memory:").open(5, lambda connection, statement: connection.execute(statement))


def test_every_query_is_used_and_every_name_that_is_used_exists() -> None:
    names = re.findall(r"^-- name: (.*)$", (SOURCES / "queries.sql").read_text("utf-8"), re.MULTILINE)
    source = "".join(path.read_text("utf-8") for path in SOURCES.glob("*.py"))
    used = {name for inside in re.findall(r"SQL\[(.*?)\]", source) for name in re.findall(r'"(\w+)"', inside)}
    assert sorted(names) == sorted(SQL)
    assert used == set(SQL)


@pytest.mark.parametrize("name", sorted(SQL))
def test_every_query_can_be_prepared_on_the_schema(name: str) -> None:
    query = SQL[name]
    named = set(re.findall(r":(\w+)", query))
    assert not (named and "?" in query)
    with closing(open_memory()) as db:
        values = dict.fromkeys(named, 1) if named else [1] * query.count("?")
        assert db.execute(f"EXPLAIN {query}", values).fetchall()


@pytest.mark.parametrize(
    "name", ["find_session", "list_user_sessions", "list_sessions", "read_all_sessions", "observe_session"]
)
def test_a_query_for_sessions_selects_the_columns_that_are_decoded_in_their_order(name: str) -> None:
    [columns] = re.findall(r"SELECT\s+(.*?)\s+FROM", SQL[name], re.DOTALL)
    assert re.split(r",\s+", columns)[: len(_DECODERS)] == list(_DECODERS)


# The package's migrations


def test_migrations_are_numbered_without_gaps_and_have_speaking_names() -> None:
    names = sorted(file.name for file in MIGRATIONS.iterdir())
    assert all(re.fullmatch(r"\d{4}_[a-z0-9_]{5,}\.sql", name) for name in names)
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_no_migration_controls_the_transaction_it_runs_in() -> None:
    """PRAGMAs are included: most of them do nothing in a transaction."""
    for file in find_migrations().values():
        words = re.findall(r"^\s*([A-Z]+)", file.read_text("utf-8"), re.MULTILINE)
        assert not {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "VACUUM", "PRAGMA"} & set(words)


async def test_a_new_file_has_the_version_of_the_last_migration(tmp_path: Path) -> None:
    async with connect(tmp_path / "chat.db") as manager:
        await manager.create_session("u", session_id="s")
    assert read_version(tmp_path / "chat.db") == max(find_migrations())


# Upgrades


def connect(path: Path, **settings: Any) -> SessionManager:
    return SessionManager.from_url(f"sqlite:///{path}", **settings)


def read_version(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [*db.iterdump(), *map(str, db.execute("PRAGMA user_version"))]


def make_folder(path: Path, *further: str) -> Path:
    """The package's first migration and then these."""
    path.mkdir()
    (path / "0001_first.sql").write_bytes(find_migrations()[1].read_bytes())
    for number, script in enumerate(further, 2):
        (path / f"{number:04}_further.sql").write_text(script)
    return path


async def open_with(path: Path, folder: Path, mode: str = "rwc") -> list[Any]:
    """What a release with these migrations does when it opens the file; then the names of its tables."""
    worker = Worker(DatabaseFile(str(path), mode, folder), "BEGIN" if mode == "ro" else "BEGIN IMMEDIATE", 5.0)
    try:
        query = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
        return await worker.run("read", lambda db: [name.decode() for [name] in db.execute(query)])
    finally:
        await worker.close()


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file with the first version of the schema and something in it."""
    path = tmp_path / "chat.db"
    await open_with(path, make_folder(tmp_path / "first"))
    with closing(sqlite3.connect(path)) as db:
        for i in range(300):
            row = (f"s{i}", "u", "2026-01-31T08:00:00.000Z", "2026-01-31T08:00:00.000Z", "ai", 0, 1, 2**60, b"{}", i)
            db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, NULL, ?, ?, 600, ?, ?, ?)", row)
            db.execute("INSERT INTO messages VALUES (?, 1, x'61', x'62', ?)", (f"s{i}", b"x" * 500))
        db.commit()
    return path


async def test_an_upgrade_runs_all_pending_migrations_and_keeps_the_data(path: Path, tmp_path: Path) -> None:
    def read_all() -> list[list[Any]]:
        with closing(sqlite3.connect(path)) as db:
            sessions = db.execute("SELECT * FROM sessions ORDER BY position").fetchall()
            return [sessions, db.execute("SELECT * FROM messages ORDER BY session_id").fetchall()]

    before = read_all()
    tables = await open_with(path, make_folder(tmp_path / "later", SECOND, THIRD))
    assert tables == ["deletions", "messages", "sessions"]
    assert read_version(path) == 3
    sessions, messages = read_all()
    assert [row[:-1] for row in sessions] == before[0]
    assert {row[-1] for row in sessions} == {8}
    assert messages == before[1]


async def test_an_upgraded_file_is_like_a_new_one(path: Path, tmp_path: Path) -> None:
    def read_schema(file: Path) -> list[Any]:
        with closing(sqlite3.connect(file)) as db:
            schema = db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
            settings = ("user_version", "application_id", "journal_mode")
            return [*schema, *(db.execute(f"PRAGMA {name}").fetchone() for name in settings)]

    folder = make_folder(tmp_path / "later", SECOND)
    await open_with(path, folder)
    await open_with(tmp_path / "new.db", folder)
    assert read_schema(path) == read_schema(tmp_path / "new.db")


@pytest.mark.parametrize("bad", ["UPDATE sessions SET no_such_column = 1;\n", "INSERT INTO sessions SELECT * FROM"])
async def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, tmp_path: Path, bad: str) -> None:
    before = dump(path)
    with pytest.raises(StoreError):
        await open_with(path, make_folder(tmp_path / "bad", SECOND, THIRD + bad))
    assert dump(path) == before
    await open_with(path, make_folder(tmp_path / "good", SECOND, THIRD))
    assert read_version(path) == 3


async def test_a_newer_file_is_refused_and_not_changed(path: Path, tmp_path: Path) -> None:
    await open_with(path, make_folder(tmp_path / "later", SECOND, THIRD))
    before = path.read_bytes()
    for mode in ("rwc", "rw", "ro"):
        with pytest.raises(StoreIncompatible, match=r"written by a later release \(schema 3, known 2\)"):
            await open_with(path, make_folder(tmp_path / mode, SECOND), mode)
    assert path.read_bytes() == before


async def test_an_older_file_that_may_only_be_read_is_refused_with_advice(path: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "later", SECOND)
    before = path.read_bytes()
    with pytest.raises(StoreIncompatible, match=r"has schema 1, and .* needs schema 2\. Open it once for writing"):
        await open_with(path, folder, "ro")
    assert path.read_bytes() == before
    await open_with(path, folder)
    assert "deletions" in await open_with(path, folder, "ro")


# Upgrades by processes

OPEN = """
import asyncio, sqlite3, sys
from pathlib import Path
from chat_session.storage.sqlite.file import DatabaseFile
from chat_session.storage.sqlite.worker import Worker

async def main(path, folder):
    worker = Worker(DatabaseFile(path, "rw", Path(folder)), "BEGIN IMMEDIATE", 20.0)
    print("ready", flush=True)
    sys.stdin.readline()
    count = "SELECT count(*) FROM sessions WHERE priority = 8"
    print(await worker.run("count", lambda db: db.execute(count).fetchone()[0]), flush=True)
    await worker.close()

asyncio.run(main(*sys.argv[1:]))
"""
# Many times what fits into SQLite's cache of 2 MB.
HUGE = """\
CREATE TABLE started (n INTEGER);
WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 10000000)
INSERT INTO started SELECT n FROM many;
"""


@contextmanager
def start(path: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that opens the file after a line on its standard input. It is killed at the end."""
    command = [sys.executable, "-c", OPEN, str(path), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert present(process.stdout).readline() == "ready\n"
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def let_open(process: subprocess.Popen[str]) -> None:
    present(process.stdin).write("go\n")
    present(process.stdin).flush()


async def test_of_processes_that_open_an_older_file_at_once_one_upgrades_it(path: Path, tmp_path: Path) -> None:
    """If THIRD ran twice, the priority would be 9."""
    folder = make_folder(tmp_path / "later", SECOND, THIRD)
    with ExitStack() as stack:
        processes = [stack.enter_context(start(path, folder)) for _ in range(4)]
        for process in processes:
            let_open(process)
        assert [process.communicate(timeout=60)[0] for process in processes] == ["300\n"] * 4
    assert read_version(path) == 3


def log_size(path: Path) -> int:
    try:
        return Path(f"{path}-wal").stat().st_size
    except FileNotFoundError:  # not there yet, or removed by the last process that closed the file
        return 0


async def test_a_process_killed_in_the_middle_of_an_upgrade_leaves_the_old_version(path: Path, tmp_path: Path) -> None:
    """It is killed when 10 MB of its changes are in the log already."""
    before = dump(path)
    with start(path, make_folder(tmp_path / "huge", SECOND, THIRD, HUGE)) as process:
        let_open(process)
        while log_size(path) < 10_000_000:
            assert process.poll() is None
            time.sleep(0.001)
    assert dump(path) == before
    await open_with(path, make_folder(tmp_path / "later", SECOND, THIRD))
    assert read_version(path) == 3


async def test_a_process_killed_at_any_moment_leaves_the_old_version_or_the_new_one(path: Path, tmp_path: Path) -> None:
    """Killed as soon as the log has so many bytes: before the upgrade, while its changes are written, or after it."""
    folder = make_folder(tmp_path / "later", SECOND, THIRD)
    old, content = dump(path), path.read_bytes()
    await open_with(path, folder)
    new = dump(path)
    for i, least in enumerate((0, 1, 4_000, 8_000, 30_000, 60_000)):
        each = tmp_path / f"{i}.db"
        each.write_bytes(content)
        with start(each, folder) as process:
            let_open(process)
            while log_size(each) < least and process.poll() is None:
                pass
        assert dump(each) in (old, new)
        await open_with(each, folder)
        assert dump(each) == new
