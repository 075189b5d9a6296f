"""Damaged rows: only the call that meets one fails, with a typed error, and no error leaves anything open."""

import asyncio
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_session import Inspector, SessionManager, StoreCorrupt, StoreUnavailable
from chat_session.errors import ChatSessionError
from chat_session.storage.sqlite.lists import list_sessions, list_user_sessions, scan_sessions
from chat_session.storage.sqlite.messages import get_history
from testkit.backends import store_of
from testkit.present import present

USER = "UPDATE sessions SET user_id = CAST(x'ff41' AS TEXT) WHERE session_id = ?"


def change(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        db.execute(statement, values)
        db.commit()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def connect(path: Path, **options: Any) -> SessionManager:
    return SessionManager.from_url(f"sqlite:///{path}", **options)


async def test_of_the_reads_in_one_batch_only_that_of_the_damaged_session_fails(path: Path) -> None:
    async with connect(path) as manager:
        for i in range(50):
            await manager.create_session("u", session_id=f"s{i}")
        change(path, USER, "s7")
        found = await asyncio.gather(*(manager.get_session(f"s{i}") for i in range(50)), return_exceptions=True)
        failed = [i for i, each in enumerate(found) if isinstance(each, Exception)]
        assert failed == [7]
        assert type(found[7]) is StoreCorrupt
        assert (found[7].session_id, "user_id" in found[7].problem) == ("s7", True)


async def test_of_the_appends_in_one_batch_only_that_with_the_impossible_count_fails(path: Path) -> None:
    async with connect(path) as manager:
        for i in range(20):
            await manager.create_session("u", session_id=f"s{i}")
        change(path, "UPDATE sessions SET message_count = ? WHERE session_id = 's3'", 2**63 - 1)
        message = {"from": "user", "text": "x"}
        sent = await asyncio.gather(*(manager.add_message(f"s{i}", message) for i in range(20)), return_exceptions=True)
        assert [i for i, each in enumerate(sent) if isinstance(each, Exception)] == [3]
        assert type(sent[3]) is StoreCorrupt


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("current_agent", value) for value in ("robot", "", "AI")),
        *((name, value) for name in ("agent_epoch", "message_count") for value in (-1, 2**53)),
        *(("ttl", value) for value in (0, -1, 2**40)),
        *(("created_at", value) for value in ("yesterday", "2026-01-31T08:00:00", "")),
        *(("metadata", value) for value in (b"[]", b"{", b"\xff")),
    ],
)
async def test_a_value_that_no_session_can_have_is_damage_to_every_call(path: Path, column: str, value: Any) -> None:
    async with connect(path) as manager:
        await manager.create_session("u", session_id="s")
        change(path, f"UPDATE sessions SET {column} = ?", value)
        for call in (
            manager.get_session("s"),
            manager.add_message("s", {"from": "user", "text": "x"}),
            manager.switch_agent("s", "human"),
            manager.extend_session("s"),
            manager.update_session("s", {"a": 1}),
            manager.get_user_sessions("u"),
        ):
            with pytest.raises(StoreCorrupt, match=column) as failed:
                await call
            assert failed.value.session_id == "s"


async def test_an_error_that_is_kept_holds_no_old_snapshot_and_no_log(path: Path) -> None:
    kept: list[BaseException] = []
    async with connect(path) as manager:
        await manager.create_session("u", session_id="good")
        await manager.create_session("u", session_id="bad")
        change(path, USER, "bad")
        for call in (
            lambda: manager.get_session("bad"),
            lambda: manager.add_message("bad", {"from": "user", "text": "x"}),
            lambda: manager.get_user_sessions("nobody", limit=1),
            lambda: manager.switch_agent("good", "human", expect=9),
            lambda: manager.create_session("u", session_id="good"),
        ):
            try:
                await call()
            except ChatSessionError as error:
                kept.append(error)
        kept += (await Inspector(manager).list_sessions()).damaged

        def break_off(db: sqlite3.Connection) -> None:
            cursor = db.execute("SELECT session_id FROM sessions")
            cursor.fetchone()
            raise ZeroDivisionError

        try:
            await store_of(manager)._reader.run("break_off", break_off)
        except ChatSessionError as error:
            kept.append(error)
        assert len(kept) == 6
        for i in range(5):
            await manager.add_message("good", {"from": "user", "text": str(i)})
            assert (await manager.get_history("good"))[-1].text == str(i)
        await manager.delete_session("good")
        assert await manager.get_session("good") is None
        with closing(sqlite3.connect(path)) as db:  # nobody reads an old snapshot: all of the log can be written back
            assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        assert Path(f"{path}-wal").stat().st_size == 0


async def test_a_thousand_calls_on_a_locked_file_wait_no_longer_than_one(path: Path) -> None:
    async with connect(path, store_timeout=1.0) as manager:
        await manager.create_session("u", session_id="s")
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            started = time.monotonic()
            calls = (manager.add_message("s", {"from": "user", "text": "x"}) for _ in range(1000))
            failed = await asyncio.gather(*calls, return_exceptions=True)
            assert time.monotonic() - started < 2.5
            assert {type(error) for error in failed} == {StoreUnavailable}
            db.execute("ROLLBACK")
        assert await manager.get_history("s") == []


async def test_a_call_whose_time_is_up_does_not_wait_for_one_that_may_wait_longer(path: Path) -> None:
    async with connect(path, store_timeout=0.2) as manager:
        await manager.create_session("u", session_id="s")
        worker = store_of(manager)._writer

        def append(text: str, timeout: float) -> asyncio.Task[Any]:
            worker._call_timeout = timeout
            return asyncio.create_task(manager.add_message("s", {"from": "user", "text": text}))

        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            first = append("first", 0.2)
            while worker._jobs.qsize() or not manager._calls.in_flight:
                await asyncio.sleep(0.001)  # the thread has taken it: the next two are taken together
            early = append("early", 0.4)
            await asyncio.sleep(0)
            late = append("late", 30.0)
            for call in (first, early):
                with pytest.raises(StoreUnavailable):
                    await asyncio.wait_for(call, 5)
            assert not late.done()
            db.execute("ROLLBACK")
        assert (await late).seq == 1


async def test_close_on_a_locked_file_does_not_wait_for_the_lock(path: Path) -> None:
    manager = connect(path, store_timeout=30.0)
    await manager.create_session("u", session_id="s")
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(manager.add_message("s", {"from": "user", "text": "x"}))
        await asyncio.sleep(0)
        started = time.monotonic()
        await manager.close()
        assert time.monotonic() - started < 7
        with pytest.raises(StoreUnavailable):
            await waiting


COLUMNS = {
    "sessions": [
        *("user_id", "created_at", "last_active_at", "current_agent", "agent_switched_at", "agent_epoch"),
        *("message_count", "ttl", "deadline", "metadata", "position"),
    ],
    "messages": ["seq", "id", "fingerprint", "element"],
}
TEXTS = ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "nan", "1e309", "ai", "[]", "{", "null", '"x"', ""]
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=40),
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS).map(str.encode),
    st.text(max_size=20),
)


@given(st.sampled_from([(table, name) for table, names in COLUMNS.items() for name in names]), VALUES, st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_in_a_column_a_call_answers_or_raises_a_typed_error(
    path: Path, column: tuple[str, str], value: Any, as_text: bool
) -> None:
    """SQLite enforces the types of columns, so values that it refuses cannot occur."""
    table, name = column
    async with connect(path) as manager:
        for session_id in ("bad", "good"):
            await manager.delete_session(session_id)
            await manager.create_session("u", {"a": 1}, session_id=session_id)
            await manager.add_message(session_id, {"id": "m", "from": "user", "text": "x"})
        cast = "CAST(? AS TEXT)" if as_text else "?"
        try:
            change(path, f"UPDATE {table} SET {name} = {cast} WHERE session_id = 'bad'", value)
        except (sqlite3.IntegrityError, OverflowError):
            return
        calls = (
            manager.get_session("bad"),
            manager.get_history("bad"),
            manager.add_message("bad", {"id": "m", "from": "user", "text": "x"}),
            manager.add_message("bad", {"from": "user", "text": "x"}),
            manager.switch_agent("bad", "human"),
            manager.get_session_ttl("bad"),
            manager.extend_session("bad"),
            manager.update_session("bad", {"b": 2}),
            manager.get_user_sessions("u"),
            manager.list_user_sessions("u"),
            Inspector(manager).list_sessions(),
            manager.get_active_sessions_count(),
            Inspector(manager).diagnose(repair=True),
            manager.cleanup_expired_sessions(),
            manager.delete_session("bad"),
        )
        for call in calls:
            with suppress(ChatSessionError):
                await asyncio.wait_for(call, 10)
        assert present(await manager.get_session("good")).metadata == {"a": 1}
        assert [m.text for m in await manager.get_history("good")] == ["x"]
        change(path, "DELETE FROM sessions WHERE session_id = 'bad'")
        change(path, "DELETE FROM messages WHERE session_id = 'bad'")


async def test_the_doctor_names_every_damaged_session_and_repairs_what_is_ours(path: Path) -> None:
    async with connect(path) as manager:
        for i in range(100):
            await manager.create_session("u", session_id=f"s{i}")
        await manager.add_messages("s1", [{"from": "user", "text": "x"}] * 2)
        change(path, USER, "s7")
        change(path, "UPDATE sessions SET created_at = 'yesterday' WHERE session_id = 's8'")
        change(path, "UPDATE sessions SET ttl = 0 WHERE session_id = 's9'")
        change(path, "UPDATE messages SET element = x'ff' WHERE session_id = 's1' AND seq = 1")
        change(path, "DELETE FROM sessions WHERE session_id = 's2'")
        change(path, "INSERT INTO messages VALUES ('s2', 1, x'61', x'62', x'63')")
        found = await Inspector(manager).diagnose(repair=False)
        assert {f.text for f in found if f.level == "error"} == {
            "session s7 has a user_id that cannot be read: UnicodeDecodeError.",
            "session s8 has a created_at that cannot be read: ValueError.",
            "session s9 has a ttl that cannot be read: InvalidInput.",
            "session s1 has 1 messages that cannot be read.",
            "session s2 has 1 messages that cannot be read.",
            "Found 1 messages without a session.",
        }
        repaired = await Inspector(manager).diagnose(repair=True)
        assert "Found 1 messages without a session. They were removed." in {f.text for f in repaired}
        left = {f.text for f in await Inspector(manager).diagnose(repair=False) if f.level == "error"}
        assert len(left) == 4
        assert not any("s2" in text or "without" in text for text in left)


async def test_every_page_is_read_by_an_index(path: Path) -> None:
    async with connect(path) as manager:
        await manager.create_session("u", session_id="s")
        plans: list[str] = []

        def explain(db: sqlite3.Connection) -> None:
            asked: list[str] = []
            db.set_trace_callback(asked.append)
            list_user_sessions(db, "u", 10, (2**63 - 1, ""))
            list_sessions(db, 10, "", None)
            scan_sessions(db, "", 10)
            for before, after in ((None, None), (9, None), (None, 1), (9, 1)):
                get_history(db, "s", 10, before, after)
            db.set_trace_callback(None)
            for statement in asked:
                plans.extend(row[3].decode() for row in db.execute(f"EXPLAIN QUERY PLAN {statement}"))

        await store_of(manager)._reader.run("explain", explain)
        assert len(plans) == 3 + 2 * 4
        assert all(plan.startswith("SEARCH") for plan in plans)
        assert "sessions_by_user (user_id=? AND (position,session_id)<(?,?))" in plans[0]


async def test_a_damaged_session_can_be_deleted_and_is_erased_with_its_user(path: Path) -> None:
    async with connect(path) as manager:
        for name in ("one", "two", "three"):
            await manager.create_session("u", session_id=name)
            await manager.add_message(name, {"from": "user", "text": "x"})
        change(path, "UPDATE sessions SET created_at = 'yesterday' WHERE session_id != 'three'")
        assert (await manager.delete_session("one")).success
        with pytest.raises(StoreCorrupt):
            await manager.delete_session("two", expect_revision=0)
        erased = await manager.erase_user("u")
        assert (erased.success, erased.sessions) == (True, 2)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (0,)


async def test_a_state_that_cannot_be_read_is_corrupt_and_can_be_erased(path: Path) -> None:
    async with connect(path) as manager:
        await manager.update_state("user:u", {"a": 1})
        await manager.update_state("app:a", {"a": 1})
        change(path, "UPDATE state SET value = x'ff' WHERE scope = ?", "user:u")
        for call in (manager.get_state("user:u"), manager.update_state("user:u", {"b": 1})):
            with pytest.raises(StoreCorrupt, match="user:u"):
                await call
        assert await manager.get_state("app:a") == {"a": 1}
        assert (await manager.erase_user("u")).state_entries == 1
        assert await manager.get_state("user:u") == {}
