"""Migrate: the target has what the source has, nothing newer is overwritten, and differences are reported."""

import asyncio
import json
import os
import pty
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from chat_session import Inspector, Session, SessionManager
from chat_session.cli import main
from chat_session.cli.comparing import read_whole
from chat_session.cli.migrating import Migration
from chat_session.paging import MAX_LIMIT
from chat_session.storage.redis.keys import Keys
from testkit.backends import ServerBackend, StartBackend
from testkit.command_line import CommandResult, PipedProcess, start_command
from testkit.edge_case_sessions import build_edge_case_sessions
from testkit.present import present

JANUARY = datetime(2026, 1, 31, 8, 0, 0, 123_000, tzinfo=UTC)
Question = Callable[[SessionManager], Awaitable[Any]]


class MigrationResult(CommandResult):
    @property
    def differences(self) -> dict[str, str]:
        return {each["sessionId"]: each["reason"] for each in self.json["differences"]}


Migrate = Callable[..., MigrationResult]


class Side:
    """The store of one of the two sides, and the options that name it."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self.settings = settings

    def ask(self, question: Question) -> Any:
        """The answer of ``question``, which is given a manager on this store."""

        async def answer() -> Any:
            async with SessionManager.from_url(self.url, **self.settings) as manager:
                return await question(manager)

        return asyncio.run(answer())

    def words(self, side: str) -> list[str]:
        """``--from URL --from-layout …``; ``side`` is from or to."""
        named = {"key_layout": "layout", "key_prefix": "prefix"}
        options = [(f"--{side}-{named[name]}", value) for name, value in self.settings.items()]
        return [f"--{side}", self.url, *(word for option in options for word in option)]

    def read(self, session_id: str) -> Any:
        async def read(manager: SessionManager) -> Any:
            return await manager.get_session(session_id), await manager.get_history(session_id, MAX_LIMIT)

        return self.ask(read)

    def left(self, session_id: str) -> int:
        return int(self.ask(lambda manager: manager.get_session_ttl(session_id)))

    def count(self) -> int:
        return int(self.ask(lambda manager: manager.get_active_sessions_count()))


@pytest.fixture
def migrate(capfd: pytest.CaptureFixture[str]) -> Migrate:
    def run(source: Side, target: Side, *, shown: bool = False) -> MigrationResult:
        code = main(["migrate", *source.words("from"), *target.words("to"), *(() if shown else ("--json",))])
        return MigrationResult(code, *capfd.readouterr())

    return run


@pytest.fixture
def file(tmp_path: Path) -> Side:
    return Side(f"sqlite:///{tmp_path}/chat.db")


@pytest.fixture
def other_file(tmp_path: Path) -> Side:
    return Side(f"sqlite:///{tmp_path}/other.db")


@pytest.fixture
def databases(redis_backend: ServerBackend) -> list[Side]:
    """Databases of one server."""
    return [Side(f"{redis_backend.url}?db={n}") for n in range(3)]


@pytest.fixture
def cluster(start_empty: StartBackend) -> Side:
    return Side(start_empty("cluster").url)


IDS = ("odd", "empty", "trimmed", "worn")


async def build_sessions(manager: SessionManager) -> None:
    await build_edge_case_sessions(manager, "用户:1 {x}", {"code": "42", "nested": [{"a": 1.5}], "messages": ["x"]})
    worn = Session(
        session_id="worn",
        user_id="u",
        created_at=JANUARY,
        last_active_at=JANUARY,
        message_count=9,
        agent_epoch=3,
        ttl=900,
    )
    await Inspector(manager).restore_session(worn, [{"id": "last", "from": "operator", "text": "bye"}], ttl_left=120)


def assert_same(source: Side, target: Side) -> None:
    for session_id in IDS:
        assert source.read(session_id) == target.read(session_id)
        assert abs(source.left(session_id) - target.left(session_id)) <= 2
    assert target.left("odd") == -1
    assert 110 <= target.left("worn") <= 121
    assert target.count() == len(IDS)
    assert [s.session_id for s in target.ask(lambda manager: manager.get_user_sessions("用户:1 {x}"))] == ["odd"]
    findings = target.ask(lambda manager: Inspector(manager).diagnose())
    assert not [finding for finding in findings if finding.level == "error"]


# What is copied


def test_sessions_go_from_redis_to_a_file_and_back_as_they_are(
    migrate: Migrate, databases: list[Side], file: Side
) -> None:
    source, back, _ = databases
    source.ask(build_sessions)
    there = migrate(source, file)
    assert (there.code, there.err) == (0, "")
    expected = {
        "sessions": 4,
        "copied": 4,
        "unchanged": 0,
        "kept": 0,
        "messages": 103,
        "verified": 4,
        "differences": [],
    }
    assert expected.items() <= there.json.items()
    assert_same(source, file)
    assert migrate(file, back).code == 0
    assert_same(source, back)


@pytest.mark.parametrize("prefix", [None, "new:"])
def test_sessions_change_their_layout_into_another_database_or_under_another_prefix(
    migrate: Migrate, databases: list[Side], prefix: str | None
) -> None:
    source = databases[0]
    target = Side(databases[1].url, key_layout="tagged")
    if prefix is not None:
        target = Side(source.url, key_layout="tagged", key_prefix=prefix)
    source.ask(build_sessions)
    assert migrate(source, target).code == 0
    assert_same(source, target)
    assert source.count() == 4
    back = databases[2]
    assert migrate(target, back).code == 0
    assert_same(source, back)


@pytest.mark.parametrize("name", ["cluster", "sentinel", "tls"])
def test_sessions_go_from_a_server_to_other_topologies_and_back(
    migrate: Migrate,
    databases: list[Side],
    start_empty: StartBackend,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    source, back, _ = databases
    backend = start_empty(name)
    for setting, value in backend.settings.items():
        monkeypatch.setenv(setting.upper(), value)
    there = Side(backend.url)
    source.ask(build_sessions)
    assert migrate(source, there).json["copied"] == 4
    assert_same(source, there)
    assert migrate(source, there).json["unchanged"] == 4
    assert migrate(there, Side(back.url, key_layout="plain")).code == 0
    assert_same(source, back)


def test_a_session_goes_on_in_the_target_where_it_was(migrate: Migrate, file: Side, other_file: Side) -> None:
    file.ask(build_sessions)
    migrate(file, other_file)

    async def go_on(manager: SessionManager) -> None:
        assert (await manager.add_message("worn", {"from": "user", "text": "again"}, epoch=3)).seq == 10
        known = (await manager.get_history("trimmed", 1))[0]
        assert (await manager.add_message("trimmed", known)).duplicate
        assert (await manager.switch_agent("odd", "ai", expect=1)).epoch == 2

    other_file.ask(go_on)


def test_what_another_program_wrote_is_copied_as_far_as_it_can_be_read(
    migrate: Migrate, databases: list[Side], file: Side
) -> None:
    async def write(manager: SessionManager) -> None:
        for name in ("nodejs", "damaged", "large", "twins", "odd user"):
            await manager.create_session("u", session_id=name.replace(" ", "-"), ttl=600)

    source = databases[0]
    source.ask(write)
    with redis.Redis.from_url(source.url) as client:
        for element in (b'{"id":"a","from":"user","text":"no timestamp"}', b'{"id":"b","from":"user","text":"x"}'):
            client.rpush("session:nodejs:history", element)
        client.hdel("session:nodejs:meta", "messageCount", "agentEpoch", "ttl")
        client.rpush("session:damaged:history", b"{damaged", b'{"id":"c","from":"user","text":"fine"}')
        client.rpush("session:large:history", b"\xff" * 30_000)
        client.rpush("session:twins:history", *[b'{"id":"d","from":"user","text":"twice"}'] * 2)
        client.hset("session:odd-user:meta", "userId", "u\n")
        client.execute_command("ZADD", Keys().due("odd-user"), "+inf", "odd-user/u\n")
        for key in client.scan_iter("session:*"):
            client.expire(key, 600)
    done = migrate(source, file)
    assert (done.code, done.json["copied"], done.json["kept"]) == (1, 3, 2)
    assert done.differences.keys() == {"twins", "odd-user"}
    assert "two different messages with the same id" in done.differences["twins"]
    assert "user_id must be" in done.differences["odd-user"]
    session, history = file.read("nodejs")
    assert (session.message_count, session.ttl, [m.text for m in history]) == (2, 86_400, ["no timestamp", "x"])
    damaged, fine = file.read("damaged")[1]
    assert (damaged.type, damaged.extra, fine.seq) == ("unreadable", {"raw": "{damaged"}, 2)
    [large] = file.read("large")[1]
    assert (large.type, large.text) == ("unreadable", r"\xff" * 30_000)
    again = migrate(source, file)
    assert (again.code, again.json["unchanged"], again.json["copied"]) == (1, 3, 0)


def test_a_text_longer_than_the_setting_is_copied_all_the_same(
    migrate: Migrate, file: Side, other_file: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.ask(build_sessions)
    monkeypatch.setenv("MAX_MESSAGE_BYTES", "1")
    assert migrate(file, other_file).code == 0
    assert_same(file, other_file)


# Again


def test_a_second_run_copies_nothing(migrate: Migrate, file: Side, databases: list[Side]) -> None:
    file.ask(build_sessions)
    migrate(file, databases[0])
    again = migrate(file, databases[0])
    expected = {"copied": 0, "replaced": 0, "unchanged": 4, "messages": 0, "verified": 4}
    assert (again.code, expected.items() <= again.json.items()) == (0, True)


def test_what_the_source_has_changed_since_is_replaced(migrate: Migrate, databases: list[Side], file: Side) -> None:
    async def change(manager: SessionManager) -> None:
        await manager.add_message("worn", {"from": "user", "text": "again"})
        await manager.switch_agent("odd", "ai")
        await manager.update_session("empty", {"new": True})
        await manager.set_session_ttl("trimmed", 5000)

    source = databases[0]
    source.ask(build_sessions)
    migrate(source, file)
    source.ask(change)
    again = migrate(source, file)
    assert (again.code, again.json["replaced"], again.json["unchanged"]) == (0, 4, 0)
    for session_id in IDS:
        assert source.read(session_id) == file.read(session_id)
    assert file.left("trimmed") > 4990
    assert file.left("worn") > 890


def test_a_copy_is_not_deleted_for_a_session_that_cannot_be_stored(
    migrate: Migrate, databases: list[Side], file: Side
) -> None:
    source = databases[0]
    source.ask(lambda manager: manager.create_session("u", session_id="s", ttl=600))
    assert migrate(source, file).code == 0
    with redis.Redis.from_url(source.url) as client:
        for key in client.keys("session:s:*"):
            client.expire(key, 400_000_000)
    done = migrate(source, file)
    assert (done.code, done.json["kept"]) == (1, 1)
    assert "from 1 to" in done.differences["s"]
    assert file.count() == 1


def test_a_session_that_lives_longer_in_the_source_than_its_copy_is_replaced(
    migrate: Migrate, file: Side, other_file: Side
) -> None:
    file.ask(build_sessions)
    migrate(file, other_file)
    seen = file.ask(lambda manager: manager.get_history("worn", 1))
    assert file.ask(lambda manager: manager.add_message("worn", seen[0])).duplicate  # it moves only the deadline
    assert migrate(file, other_file).json["replaced"] == 1
    assert other_file.left("worn") > 890


async def change_message(manager: SessionManager) -> None:
    await manager.add_message("worn", {"from": "user", "text": "here alone"})


async def change_agent(manager: SessionManager) -> None:
    await manager.switch_agent("worn", "human")


async def change_activity(manager: SessionManager) -> None:
    await manager.extend_session("worn")


async def repeat_message(manager: SessionManager) -> None:
    await manager.add_message("worn", (await manager.get_history("worn", 1))[0])


async def become_another(manager: SessionManager) -> None:
    await manager.delete_session("worn")
    await manager.create_session("u", session_id="worn")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_message, "It has changed in the target: last_active_at, message_count."),
        (change_agent, "It has changed in the target: last_active_at, agent_epoch."),
        (change_activity, "It has changed in the target: last_active_at."),
        (repeat_message, "It has been extended in the target."),
        (become_another, "The target has another session with this id."),
    ],
)
def test_what_the_target_has_changed_since_is_left_and_reported(
    migrate: Migrate, file: Side, databases: list[Side], change: Question, reason: str
) -> None:
    target = databases[0]
    file.ask(build_sessions)
    migrate(file, target)
    target.ask(change)
    before = target.read("worn")
    again = migrate(file, target)
    assert (again.code, again.differences, again.json["kept"]) == (1, {"worn": reason}, 1)
    assert target.read("worn") == before
    assert target.left("worn") > 130


def test_what_both_have_changed_is_left_and_reported(migrate: Migrate, file: Side, other_file: Side) -> None:
    async def change_more(manager: SessionManager) -> None:
        for text in ("first", "second"):
            await manager.add_message("worn", {"from": "user", "text": text})

    file.ask(build_sessions)
    migrate(file, other_file)
    other_file.ask(change_message)
    file.ask(change_more)
    again = migrate(file, other_file)
    assert again.differences == {"worn": "It has got other messages in the target than in the source."}
    assert other_file.read("worn")[1][-1].text == "here alone"


def start_migration(source: Side, target: Side, **options: Any) -> PipedProcess[bytes]:
    return start_command("migrate", *source.words("from"), *target.words("to"), **options)


async def build_many(manager: SessionManager) -> None:
    said = [{"id": f"m{i}", "from": "user", "text": f"message {i}"} for i in range(20)]
    for first in range(0, 800, 100):
        ids = [f"s{i}" for i in range(first, first + 100)]
        await asyncio.gather(*(manager.create_session("u", session_id=each, ttl=900) for each in ids))
        await asyncio.gather(*(manager.add_messages(each, said) for each in ids))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_migration_that_was_stopped_leaves_whole_sessions_and_is_finished_by_the_next(
    migrate: Migrate, file: Side, databases: list[Side], number: signal.Signals, code: int
) -> None:
    target = databases[0]
    file.ask(build_many)
    process = start_migration(file, target)
    with redis.Redis.from_url(target.url) as client:
        deadline = time.monotonic() + 20
        while client.dbsize() < 200:
            assert time.monotonic() < deadline
            time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert number == signal.SIGKILL or b"Run the command again" in err
    before = target.ask(read_all)
    assert 0 < len(before) < 800
    for session, history in before.values():
        assert (session.message_count, len(history)) == (20, 20)
    again = migrate(file, target)
    assert (again.code, again.json["unchanged"], again.json["verified"]) == (0, len(before), 800)
    assert target.ask(read_all) == file.ask(read_all)


async def read_all(manager: SessionManager) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async for session in Inspector(manager).scan_sessions():
        session_id = present(session.session_id)
        found[session_id] = (session, await manager.get_history(session_id, MAX_LIMIT))
    return found


async def test_a_signal_in_the_middle_of_a_replacement_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        SessionManager.from_url(f"sqlite:///{tmp_path}/a.db") as source,
        SessionManager.from_url(f"sqlite:///{tmp_path}/b.db") as target,
    ):
        await build_sessions(source)
        await copy_all(source, target)
        await source.extend_session("worn")
        session = present(await source.get_session("worn"))
        deleted = asyncio.Event()

        async def delete(session_id: str) -> Any:
            result = await SessionManager.delete_session(target, session_id)
            deleted.set()
            await asyncio.sleep(0)
            return result

        monkeypatch.setattr(target, "delete_session", delete)
        copying = asyncio.create_task(Migration(source, target).copy(session))
        await deleted.wait()
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        assert await target.get_session("worn") == session


async def copy_all(source: SessionManager, target: SessionManager) -> Migration:
    """Copy all sessions, as the command does, and stop before they are compared."""
    migration = Migration(source, target)
    async for session in Inspector(source).scan_sessions():
        await migration.copy(session)
    return migration


# What differs


async def test_the_comparison_at_the_end_finds_whatever_is_not_the_same(tmp_path: Path) -> None:
    async with (
        SessionManager.from_url(f"sqlite:///{tmp_path}/a.db") as source,
        SessionManager.from_url(f"sqlite:///{tmp_path}/b.db") as target,
    ):
        for n in range(8):
            await source.create_session("u", {"n": n}, session_id=f"s{n}", ttl=600)
            await source.add_message(f"s{n}", {"from": "user", "text": "x"})
        seen = [session async for session in Inspector(source).scan_sessions()]
        migration = await copy_all(source, target)
        await target.update_session("s1", {"n": 7})
        await target.add_message("s2", {"from": "user", "text": "y"})
        await target.set_session_ttl("s3", 601)
        await target.delete_session("s4")
        await source.delete_session("s5")
        await target.set_session_ttl("s6", 300)
        await target.set_session_ttl("s6", 600)
        whole = present(await read_whole(source, "s7"))
        await target.delete_session("s7")
        await Inspector(target).restore_session(whole.session, whole.history, ttl_left=590)
        for session in seen:
            await migration.verify(session)
        assert migration.differences == {
            "s1": "It differs in metadata.",
            "s2": "It differs in last_active_at, message_count, messages.",
            "s3": "It differs in ttl.",
            "s4": "It is missing in the target.",
            "s7": "It differs in time left.",
        }
        assert migration.tally.verified == 2


def test_differences_are_shown_with_their_sessions_and_reasons(migrate: Migrate, file: Side, other_file: Side) -> None:
    file.ask(build_sessions)
    migrate(file, other_file)
    other_file.ask(change_agent)
    shown = migrate(file, other_file, shown=True)
    assert (shown.code, shown.err) == (1, "")
    assert "equal at the end                  3" in shown.out
    assert "different at the end              1" in shown.out
    assert "worn      It has changed in the target: last_active_at, agent_epoch." in shown.out


def test_a_session_that_holds_more_than_the_bound_is_not_cut_but_reported(
    migrate: Migrate, file: Side, other_file: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.ask(build_sessions)
    migrate(file, other_file)
    before = other_file.read("trimmed")
    file.ask(lambda manager: manager.add_message("trimmed", {"from": "user", "text": "one more"}))
    monkeypatch.setenv("MAX_MESSAGE_HISTORY", "99")
    done = migrate(file, other_file)
    reason = (
        "It holds 100 messages, but MAX_MESSAGE_HISTORY is 99. Raise it, or pass --trim to drop the oldest messages."
    )
    assert (done.code, done.differences) == (1, {"trimmed": reason})
    assert other_file.read("trimmed") == before
    monkeypatch.delenv("MAX_MESSAGE_HISTORY")
    assert migrate(file, other_file).code == 0
    assert file.read("trimmed") == other_file.read("trimmed")


def test_trim_copies_the_newest_messages_and_counts_those_it_drops_once(
    file: Side, other_file: Side, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file.ask(build_sessions)
    monkeypatch.setenv("MAX_MESSAGE_HISTORY", "90")
    words = ["migrate", *file.words("from"), *other_file.words("to"), "--trim", "--json"]
    assert main(words) == 0
    done = json.loads(capfd.readouterr().out)
    assert (done["copied"], done["messagesDropped"], done["verified"], done["differences"]) == (4, 10, 4, [])
    session, history = file.read("trimmed")
    assert other_file.read("trimmed") == (session, history[-90:])
    assert main(words) == 0
    again = json.loads(capfd.readouterr().out)
    assert (again["unchanged"], again["messagesDropped"], again["verified"]) == (4, 0, 4)


async def test_a_session_that_never_rests_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        SessionManager.from_url(f"sqlite:///{tmp_path}/a.db") as source,
        SessionManager.from_url(f"sqlite:///{tmp_path}/b.db") as target,
    ):
        session = await source.create_session("u")

        async def get_session_ttl(session_id: str) -> int:
            await source.update_session(session_id, {"at": time.monotonic()})
            return -1

        monkeypatch.setattr(source, "get_session_ttl", get_session_ttl)
        migration = Migration(source, target)
        await migration.copy(session)
        await migration.verify(session)
        assert migration.tally.kept == 1
        assert "again and again" in migration.differences[session.session_id]
        assert await target.get_session(session.session_id) is None


# What is refused


def test_one_store_under_two_names_is_refused_and_left_as_it_was(
    migrate: Migrate,
    redis_backend: ServerBackend,
    tmp_path: Path,
    databases: list[Side],
    file: Side,
) -> None:
    server = databases[0]
    server.ask(build_sessions)
    file.ask(build_sessions)
    (tmp_path / "link.db").symlink_to(tmp_path / "chat.db")
    pairs = [
        (server, server),
        (server, Side(redis_backend.server.url)),
        (server, Side(server.url, key_layout="tagged")),  # the layouts share their index keys
        (Side(server.url, key_layout="tagged"), server),
        (Side(server.url, key_prefix="x:"), Side(server.url, key_prefix="x:", key_layout="tagged")),
        (file, Side(f"sqlite:///{tmp_path}/link.db")),
        (file, Side("sqlite:///chat.db")),
    ]
    for source, target in pairs:
        refused = migrate(source, target)
        assert (refused.code, refused.out) == (2, "")
        assert "--to must be another store than --from" in json.loads(refused.err)["error"]["message"]
    assert (server.count(), file.count()) == (4, 4)


def test_one_cluster_under_two_names_is_refused_and_a_plain_target_of_a_cluster_is_not(
    migrate: Migrate, cluster: Side, databases: list[Side]
) -> None:
    cluster.ask(build_sessions)
    first, *_, last = cluster.url.removeprefix("redis+cluster://").split(",")
    refused = migrate(Side(f"redis+cluster://{first}"), Side(f"redis+cluster://{last}"))
    assert (refused.code, refused.out) == (2, "")
    assert migrate(cluster, Side(databases[0].url, key_layout="plain")).code == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--from", "sqlite:///a.db"), 2, "--to"),
        (("--from", "sqlite:///a.db", "--to", "ftp://x"), 2, "CHAT_SESSION_URL"),
        (("--from", "sqlite:///a.db", "--to", "sqlite:///b.db", "--to-layout", "round"), 2, "KEY_LAYOUT"),
        (("--from", "sqlite:///a.db", "--to", "redis://user:secret@127.0.0.1:1"), 5, "failed on 127.0.0.1:1 "),
        (("--from", "redis://user:secret@127.0.0.1:1", "--to", "sqlite:///b.db"), 5, "failed on 127.0.0.1:1 "),
    ],
)
def test_what_cannot_be_opened_ends_it_with_the_code_of_the_error(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, text: str
) -> None:
    Side("sqlite:///a.db").ask(build_sessions)
    monkeypatch.setenv("REDIS_MAX_RETRIES", "0")
    assert main(["migrate", *words, "--json"]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert text in json.loads(err)["error"]["message"]
    assert "secret" not in err


def test_a_store_that_fails_ends_it_and_what_was_done_is_told(migrate: Migrate, file: Side, other_file: Side) -> None:
    file.ask(build_sessions)
    other_file.ask(lambda manager: manager.get_active_sessions_count())
    with sqlite3.connect(other_file.url.removeprefix("sqlite:///")) as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON messages WHEN NEW.seq > 200 BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    db.close()
    failed = migrate(file, other_file, shown=True)
    assert failed.code == 5
    assert "equal at the end                  0" in failed.out
    assert "Run the command again" in failed.err


def test_the_progress_is_shown_on_a_terminal(file: Side, other_file: Side) -> None:
    file.ask(build_sessions)
    ours, theirs = pty.openpty()
    process = start_migration(file, other_file, stderr=theirs)
    assert process.wait(timeout=20) == 0
    process.stdout.close()
    shown = os.read(ours, 65_536)
    os.close(ours)
    os.close(theirs)
    for text in (b"copying", b"comparing", b"4/4", b"/s"):
        assert text in shown


def test_a_source_that_does_not_exist_is_an_error_and_neither_file_is_made(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["migrate", "--from", "sqlite:///typo.db", "--to", "sqlite:///new.db", "--json"]) == 5
    out, err = capfd.readouterr()
    assert (out, "There is no file typo.db" in json.loads(err)["error"]["message"]) == ("", True)
    assert list(tmp_path.iterdir()) == []


# What import shares with it


def test_an_import_brings_back_the_last_activity_and_the_newest_of_too_many_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Side
) -> None:
    source = Side(f"sqlite:///{tmp_path}/source.db")
    source.ask(build_sessions)
    lines = str(tmp_path / "out.jsonl")
    assert main(["export", lines, "--url", source.url]) == 0
    monkeypatch.setenv("MAX_MESSAGE_HISTORY", "60")
    assert main(["import", lines, "--url", file.url, "--trim"]) == 0
    for session_id in IDS:
        session, history = source.read(session_id)
        assert file.read(session_id) == (session, history[-60:])
    assert Path(lines).exists()
