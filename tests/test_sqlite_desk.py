"""What is special about the desk in the embedded store: its file, its queries, several processes, older releases."""

import asyncio
import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chat_session import Desk, Inspector, SessionManager, StoreCorrupt, StoreReadOnly
from chat_session.clock import now_us, to_us
from chat_session.errors import InvalidInput, SessionExists
from chat_session.storage.sqlite.file import DatabaseFile
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.schema import find_migrations
from testkit.present import present

DAY_US = 86_400_000_000
# What the last release writes when it switches the agent.
OLD_SWITCH = """
UPDATE sessions SET current_agent = ?, agent_epoch = agent_epoch + 1, agent_switched_at = '2026-01-31T08:00:00.000Z'
WHERE session_id = ?
"""

Open = Callable[..., SessionManager]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
async def connect(path: Path) -> AsyncIterator[Open]:
    """Managers on one file; each is closed at the end."""
    opened: list[SessionManager] = []

    def make(**settings: Any) -> SessionManager:
        opened.append(SessionManager.from_url(f"sqlite:///{path}", **settings))
        return opened[-1]

    yield make
    for manager in opened:
        await manager.close()


def change(path: Path, statement: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(statement, values).fetchall()
        db.commit()
        return rows


def let_lapse(path: Path) -> None:
    """The time of every presence is over."""
    change(path, "UPDATE operators SET present_until = 1 WHERE present_until IS NOT NULL")


def let_be_silent(path: Path, session_id: str, seconds: int) -> None:
    """The operator has had it for so long, and has written nothing."""
    [[stored]] = change(path, "SELECT desk FROM sessions WHERE session_id = ?", session_id)
    since = now_us() - seconds * 1_000_000
    facts = json.dumps({**json.loads(stored), "since": since, "answered": since}).encode()
    change(path, "UPDATE sessions SET desk = ?, desk_sign = ? WHERE session_id = ?", facts, since, session_id)


async def texts(manager: SessionManager, session_id: str) -> list[str]:
    return [message.text for message in await manager.get_history(session_id, include_internal=True)]


# Queries


def read_plan(name: str) -> list[str]:
    query = SQL[name]
    named = set(re.findall(r":(\w+)", query))
    values: Any = dict.fromkeys(named, 1) if named else [1] * query.count("?")
    with closing(DatabaseFile(":memory:").open(5, lambda db, statement: db.execute(statement))) as db:
        return [row[3].decode() for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("find_first_waiting", "COVERING INDEX sessions_waiting (desk_place>?)"),
        ("find_first_waiting_in_team", "COVERING INDEX sessions_waiting_by_team (desk_team=? AND desk_place>?)"),
        ("find_longest_waiting", "COVERING INDEX sessions_waiting (desk_place>? AND desk_place<?)"),
        ("list_waiting", "INDEX sessions_waiting ((desk_place,session_id)>(?,?))"),
        ("list_waiting_in_team", "INDEX sessions_waiting_by_team (desk_team=? AND (desk_place,session_id)>(?,?))"),
        ("list_assigned", "INDEX sessions_by_operator (desk_operator>?)"),
        ("list_assigned_to", "INDEX sessions_by_operator (desk_operator=?)"),
        ("count_before", "COVERING INDEX sessions_waiting_by_team"),
        ("count_waiting", "COVERING INDEX sessions_waiting_by_team"),
        ("count_assigned", "COVERING INDEX sessions_by_operator"),
        ("count_assigned_to", "COVERING INDEX sessions_by_operator (desk_operator=?)"),
        ("list_operators", "INDEX operators_by_presence"),
        ("mark_lapses", "INDEX operators_by_presence (present_until<?)"),
        ("list_left_sessions", "COVERING INDEX sessions_by_operator (desk_operator=? AND desk_presence<?)"),
        ("list_silent_sessions", "COVERING INDEX sessions_by_sign (desk_sign>? AND desk_sign<?)"),
        ("list_bypassed_sessions", "INDEX sessions_bypassed (session_id>?)"),
        ("read_counts", "PRIMARY KEY (bucket>?)"),
        ("delete_old_counts", "PRIMARY KEY (bucket<?)"),
    ],
)
def test_a_query_of_the_desk_reads_only_its_part_of_an_index(name: str, index: str) -> None:
    plan = read_plan(name)
    assert any(index in line for line in plan), plan


@pytest.mark.parametrize("name", sorted(name for name in SQL if not name.startswith(("read_all", "count_orph"))))
def test_no_query_but_those_of_the_doctor_reads_all_sessions(name: str) -> None:
    """A scan of an index that holds only the sessions that wait, or have an operator, is meant."""
    for line in read_plan(name):
        assert not re.match(
            r"SCAN sessions(?! USING (COVERING )?INDEX sessions_(waiting|by_operator|pending))", line
        ), line


# Migration


async def test_a_file_of_the_last_release_keeps_its_sessions_and_they_read_as_open(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "version2"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"{number:04}_released.sql").write_bytes(find_migrations()[number].read_bytes())
    with closing(DatabaseFile(str(path), "rwc", folder).open(5, lambda db, statement: db.execute(statement))) as db:
        columns = (
            "session_id, user_id, created_at, last_active_at, current_agent, agent_switched_at, agent_epoch, "
            "message_count, ttl, deadline, metadata, position"
        )
        moment = "2026-01-31T08:00:00.000Z"
        for name, agent, switched, epoch in (("ai", "ai", None, 0), ("human", "human", moment, 1)):
            row = (name, "u", moment, moment, agent, switched, epoch, 1, 600, 2**60, b'{"a":1}', 1)
            db.execute(f"INSERT INTO sessions ({columns}) VALUES ({','.join('?' * 12)})", row)
            element = b'{"id":"a","from":"user","text":"hello"}'
            db.execute("INSERT INTO messages VALUES (?, 1, x'61', x'62', ?)", (name, element))
    async with SessionManager.from_url(f"sqlite:///{path}") as manager:
        desk = Desk(manager)
        old, switched_one = present(await manager.get_session("ai")), present(await manager.get_session("human"))
        assert (old.desk.state, old.ttl, old.metadata) == ("open", 600, {"a": 1})
        assert (switched_one.desk.state, switched_one.desk.operator_id) == ("assigned", None)
        assert await texts(manager, "ai") == ["hello"]
        assert (await desk.request_human("ai")).place == 1
        assert present(await desk.claim_next("anna")).session_id == "ai"
        assert (await desk.hand_back("human", "anna")).desk.state == "open"
    assert change(path, "PRAGMA user_version") == [(max(find_migrations()),)]


async def test_the_bytes_of_the_desk_in_the_file(path: Path, connect: Open) -> None:
    desk = Desk(manager := connect(waiting_ttl=10_000))
    for name in ("waits", "taken"):
        await manager.create_session("u", session_id=name, ttl=600)
    ticket = await desk.request_human("waits", reason="r", priority=2, team="t")
    await desk.take_over("taken", "anna")
    columns = "desk, desk_epoch, desk_ttl, desk_team, desk_place, desk_operator, desk_presence, desk_sign, ttl"
    [waits] = change(path, f"SELECT {columns} FROM sessions WHERE session_id = 'waits'")
    [taken] = change(path, f"SELECT {columns} FROM sessions WHERE session_id = 'taken'")
    since = to_us(present(ticket.waiting_since))
    assert waits[0] == (
        b'{"stamp":%d,"ownTtl":600,"deskTtl":10000,"epoch":1,"state":"waiting","since":%d,"waitingSince":%d,'
        b'"asked":true,"reason":"r","priority":2,"team":"t"}' % (since, since, since)
    )
    assert waits[1:] == (1, 10_000, "t", 7 * 9 * 10**14 + since, None, None, None, 10_000)
    since = to_us(present(present(await manager.get_session("taken")).desk.since))
    assert taken[0] == (
        b'{"stamp":%d,"ownTtl":600,"deskTtl":10000,"epoch":1,"state":"assigned","since":%d,"waitingSince":%d,'
        b'"operator":"anna","presence":%d}' % (since, since, since, since)
    )
    assert taken[1:] == (1, 10_000, None, None, "anna", since, since, 10_000)
    await desk.hand_back("waits", "anna")
    assert change(path, f"SELECT {columns} FROM sessions WHERE session_id = 'waits'")[0][1:] == (
        *(2, None, None, None, None, None, None),
        600,
    )


# Several processes

SWEEPER = """
import asyncio, sys
from chat_session import SessionManager

async def main(url):
    async with SessionManager.from_url(url) as manager:
        await manager.get_session("s")
        print("ready", flush=True)
        sys.stdin.readline()
        swept = await manager._store.desk.sweep()
        print(",".join(swept.lapsed), flush=True)

asyncio.run(main(sys.argv[1]))
"""


async def test_of_processes_that_sweep_at_once_one_returns_each_session_and_each_lapse_counts_once(
    path: Path, connect: Open
) -> None:
    desk, names = Desk(manager := connect()), []
    for i in range(60):
        names.append((await manager.create_session("u")).session_id)
        await desk.take_over(names[-1], f"operator {i % 20}")
    let_lapse(path)
    command = [sys.executable, "-c", SWEEPER, f"sqlite:///{path}"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    try:
        for process in processes:
            assert present(process.stdout).readline() == "ready\n"
        for process in processes:
            present(process.stdin).write("go\n")
            present(process.stdin).flush()
        printed = [process.communicate(timeout=60)[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    returned = [name for line in printed for name in line.split(",") if name]
    assert sorted(returned) == sorted(names)
    stats = await desk.stats()
    assert (stats.day.lapses, stats.waiting, stats.assigned) == (20, {"": 60}, 0)
    for name in names[:3]:
        assert len([text for text in await texts(manager, name) if "is away" in text]) == 1


async def test_two_managers_on_one_file_never_claim_the_same_session(connect: Open) -> None:
    desks = [Desk(connect()) for _ in range(2)]
    for i in range(60):
        await desks[0]._manager.create_session("u", session_id=f"s{i}")
        await desks[0].request_human(f"s{i}", priority=i % 3)
    for desk in desks:
        await desk.operator_seen("anna", capacity=100)
        await desk.operator_seen("bob", capacity=100)
    claimed: dict[str, list[str]] = {"anna": [], "bob": []}

    async def work(desk: Desk, operator: str) -> None:
        while (session := await desk.claim_next(operator)) is not None:
            claimed[operator].append(session.session_id)

    await asyncio.gather(work(desks[0], "anna"), work(desks[1], "bob"))
    counts = Counter(claimed["anna"] + claimed["bob"])
    assert (len(counts), set(counts.values())) == (60, {1})
    for names in claimed.values():
        numbers = [int(name[1:]) for name in names]
        assert numbers == sorted(numbers, key=lambda i: (-(i % 3), i))


# A process of the last release


async def test_a_switch_by_the_last_release_is_adopted_by_a_sweep(path: Path, connect: Open) -> None:
    desk = Desk(manager := connect(waiting_ttl=10_000))
    for name in ("back", "taken"):
        await manager.create_session("u", session_id=name, ttl=600)
        await desk.request_human(name)
    change(path, OLD_SWITCH, "ai", "back")
    change(path, OLD_SWITCH, "human", "taken")
    assert present(await manager.get_session("back")).desk.state == "open"
    assert present(await manager.get_session("taken")).desk.state == "assigned"
    assert await desk.waiting() == []
    assert await desk.claim_next("anna") is None
    await manager.cleanup_expired_sessions()
    assert await manager.get_session_ttl("back") == 600
    assert await manager.get_session_ttl("taken") == 10_000
    assert present(await manager.get_session("taken")).desk.operator_id is None
    assert (await desk.stats()).waiting == {}
    assert change(path, "SELECT count(*) FROM sessions WHERE desk_epoch <> agent_epoch") == [(0,)]


async def test_a_ttl_that_the_last_release_set_becomes_the_own_one_while_the_session_waits(
    path: Path, connect: Open
) -> None:
    desk = Desk(manager := connect(waiting_ttl=10_000))
    await manager.create_session("u", session_id="s", ttl=600)
    await desk.request_human("s")
    change(path, "UPDATE sessions SET ttl = 60, deadline = deadline - 9940000 WHERE session_id = 's'")
    assert present(await manager.get_session("s")).ttl == 60
    await manager.cleanup_expired_sessions()
    assert await manager.get_session_ttl("s") == 10_000
    await desk.hand_back("s", "anna")
    assert await manager.get_session_ttl("s") == 60


# Damage


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b"\xff", b'{"stamp":"x"}', b'{"stamp":1,"priority":99}'])
async def test_damaged_facts_are_named_and_hold_up_no_other_session(path: Path, connect: Open, damaged: bytes) -> None:
    desk = Desk(manager := connect(hand_back_after=1000))
    for name in ("waits", "assigned", "bypassed", "silent"):
        for number in (1, 2):
            session_id = f"{name}{number}"
            await manager.create_session("u", session_id=session_id)
            await (desk.request_human(session_id) if name == "waits" else desk.take_over(session_id, name))
    for number in (1, 2):
        let_be_silent(path, f"silent{number}", 2000)
        change(path, OLD_SWITCH, "ai", f"bypassed{number}")
    change(path, "UPDATE operators SET present_until = 1 WHERE operator_id = 'assigned'")
    change(path, "UPDATE sessions SET desk = ? WHERE session_id LIKE '%1'", damaged)
    with pytest.raises(StoreCorrupt, match="has a desk that cannot be read") as failed:
        await desk.take_over("waits1", "anna")
    assert failed.value.session_id == "waits1"
    assert [entry.session_id for entry in await desk.waiting()] == ["waits2"]
    assert present(await desk.claim_next("anna")).session_id == "waits2"
    await manager.cleanup_expired_sessions()
    assert [entry.session_id for entry in await desk.waiting()] == ["assigned2"]
    assert present(await manager.get_session("silent2")).desk.state == "open"
    assert [entry.session_id for entry in await desk.assigned()] == ["waits2"]
    findings = await Inspector(manager).diagnose()
    assert sum("has a desk that cannot be read" in finding.text for finding in findings) == 4
    assert (await manager.delete_session("waits1")).success
    assert (await desk.stats()).waiting == {"": 1}


async def test_a_damaged_id_at_the_head_of_the_queue_holds_up_no_claim(path: Path, connect: Open) -> None:
    desk = Desk(manager := connect())
    for name in ("a", "b"):
        await manager.create_session("u", session_id=name)
        await desk.request_human(name, team="t")
    change(path, "UPDATE sessions SET session_id = CAST(x'ff' AS TEXT) WHERE session_id = 'a'")
    assert [entry.session_id for entry in await desk.waiting(team="t")] == ["b"]
    assert present(await desk.claim_next("anna", teams=["t", "u"])).session_id == "b"
    assert await desk.claim_next("anna") is None


async def test_a_cursor_of_another_list_is_refused(connect: Open) -> None:
    desk = Desk(manager := connect())
    for i in range(3):
        await manager.create_session("u", session_id=f"s{i}")
    other = (await Inspector(manager).list_sessions(limit=1)).cursor
    for cursor in (other, "x", ""):
        with pytest.raises(InvalidInput, match="cursor"):
            await desk.waiting(cursor=cursor)


# Lifetimes and restored sessions


async def test_a_session_that_is_deleted_or_dies_leaves_queue_and_seat_at_once(path: Path, connect: Open) -> None:
    desk = Desk(manager := connect())
    for i in range(4):
        await manager.create_session("u", session_id=f"s{i}")
        await (desk.request_human(f"s{i}") if i < 2 else desk.take_over(f"s{i}", "anna"))
    await manager.delete_session("s0")
    await manager.delete_session("s2")
    change(path, "UPDATE sessions SET deadline = 1")
    assert (await desk.stats()).waiting == {}
    assert (await desk.stats()).assigned == 0
    assert (await desk.waiting(), await desk.assigned(), await desk.claim_next("bob")) == ([], [], None)
    assert [operator.assigned for operator in await desk.operators()] == [0, 0]
    assert (await manager.cleanup_expired_sessions()).cleaned_count == 2


async def test_a_restored_session_waits_at_its_place_and_an_assigned_one_goes_back_to_the_queue(
    tmp_path: Path, connect: Open
) -> None:
    desk = Desk(manager := connect(waiting_ttl=10_000))
    async with SessionManager.from_url(f"sqlite:///{tmp_path / 'other.db'}") as other:
        elsewhere = Desk(other)
        for name, priority in (("first", 1), ("second", 0), ("third", 0)):
            await other.create_session("u", session_id=name, ttl=600)
            await elsewhere.request_human(name, priority=priority, reason="r", team="t")
        await elsewhere.claim_next("anna")
        for name in ("third", "second", "first"):
            stored = present(await other.get_session(name))
            history = await Inspector(other).get_stored_history(name)
            restored = await Inspector(manager).restore_session(stored, history)
            assert restored == stored
            assert await manager.get_session(name) == stored
    assert [entry.session_id for entry in await desk.waiting()] == ["second", "third"]
    assert [entry.session_id for entry in await desk.assigned("anna")] == ["first"]
    assert await manager.get_session_ttl("first") == 10_000
    assert await desk.operators() == []
    await manager.cleanup_expired_sessions()
    assert [entry.session_id for entry in await desk.waiting(team="t")] == ["first", "second", "third"]
    assert (await desk.stats()).day.lapses == 0
    assert (await desk.hand_back("first", "bob")).ttl == 600
    assert await manager.get_session_ttl("first") == 600


async def test_a_restored_session_shows_what_it_showed_and_lives_as_long(tmp_path: Path, connect: Open) -> None:
    manager = connect()
    async with SessionManager.from_url(f"sqlite:///{tmp_path / 'other.db'}") as other:
        elsewhere = Desk(other)
        for name in ("handed back", "switched", "switched back", "never", "waits"):
            await other.create_session("u", session_id=name.replace(" ", "-"))
        await elsewhere.take_over("handed-back", "anna")
        await elsewhere.hand_back("handed-back", "anna")
        for name in ("switched", "switched-back"):
            await elsewhere.request_human(name, reason="r", priority=3, team="t")
        await other.switch_agent("switched", "human")
        await other.switch_agent("switched-back", "ai")
        await other.switch_agent("never", "human")
        await elsewhere.request_human("waits")
        for session in await other.get_user_sessions("u"):
            assert await Inspector(manager).restore_session(session, ttl_left=500) == session
            assert await manager.get_session(session.session_id) == session
            assert await manager.get_session_ttl(session.session_id) == 500


async def test_a_repeated_creation_is_counted_once(connect: Open) -> None:
    manager = connect()
    session = await manager.create_session("u", session_id="s")
    with pytest.raises(SessionExists):
        await manager.create_session("u", session_id="s")
    await manager.get_or_create_session("s", "u")
    await manager.get_or_create_session("t", "u")
    assert (await Desk(manager).stats()).hour.sessions_created == 2
    await manager.delete_session(session.session_id)


async def test_a_sweep_forgets_old_counts_and_operators_who_were_not_seen_for_long(path: Path, connect: Open) -> None:
    desk = Desk(manager := connect())
    await manager.create_session("u", session_id="s")
    for name in ("gone", "keeps a session", "was here"):
        await desk.operator_seen(name)
    await desk.take_over("s", "keeps a session")
    let_lapse(path)
    change(path, "INSERT INTO desk_counts VALUES (1, 'requests', 5)")
    change(path, "UPDATE operators SET seen_at = ? WHERE operator_id <> 'was here'", now_us() - 31 * DAY_US)
    change(path, "UPDATE sessions SET desk = x'00' WHERE session_id = 's'")  # so that it is not returned
    await manager.cleanup_expired_sessions()
    names = [name for [name] in change(path, "SELECT operator_id FROM operators ORDER BY 1")]
    assert names == ["keeps a session", "was here"]
    assert change(path, "SELECT count(*) FROM desk_counts WHERE bucket = 1") == [(0,)]


# Silence


async def test_a_message_that_an_operator_sent_without_the_desk_is_a_sign(path: Path, connect: Open) -> None:
    desk = Desk(manager := connect(hand_back_after=1000))
    for name in ("silent", "wrote", "noted"):
        await manager.create_session("u", session_id=name)
        await desk.take_over(name, "anna")
        let_be_silent(path, name, 2000)
    await manager.add_message("wrote", {"from": "operator", "text": "hello"})
    await manager.add_message("noted", {"from": "operator", "text": "hmm", "internal": True})
    for _ in range(2):
        await manager.cleanup_expired_sessions()
        states = [present(await manager.get_session(name)).desk.state for name in ("silent", "wrote", "noted")]
        assert states == ["open", "assigned", "open"]
    assert change(path, "SELECT count(*) FROM sessions WHERE desk_sign > ?", now_us() - 1_000_000_000) == [(1,)]


# Other ways to open a store


async def test_a_file_that_may_only_be_read_shows_the_desk(path: Path, connect: Open) -> None:
    desk = Desk(manager := connect())
    await manager.create_session("u", session_id="s")
    await desk.request_human("s")
    await manager.close()
    async with SessionManager.from_url(f"sqlite:///{path}?mode=ro") as reader:
        shown = Desk(reader)
        assert [entry.session_id for entry in await shown.waiting()] == ["s"]
        assert (await shown.stats()).waiting == {"": 1}
        assert (await shown.operators(), await shown.assigned()) == ([], [])
        with pytest.raises(StoreReadOnly):
            await shown.claim_next("anna")


async def test_a_desk_in_memory_works() -> None:
    async with SessionManager.from_url("sqlite:///:memory:", claim_lease=60.0) as manager:
        desk = Desk(manager)
        await manager.create_session("u", session_id="s")
        await desk.request_human("s")
        assert present(await desk.claim_next("anna")).session_id == "s"
        await manager.cleanup_expired_sessions()
        assert (await desk.stats()).assigned == 1
