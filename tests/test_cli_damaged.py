"""Sessions that cannot be read: each command processes all others, names these, and says so by its exit code."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from chat_session import SessionManager
from chat_session.cli import main
from testkit.command_line import CommandResult, RunCommand

SESSIONS = 100


class Damaged:
    """A store of 100 sessions. ``unlisted``: a damaged record. ``unread``: a damaged record or a damaged history."""

    def __init__(self, url: str, unlisted: dict[str, str], unread: dict[str, str]) -> None:
        self.url = url
        self.unlisted = unlisted
        self.unread = unlisted | unread

    def named_in(self, errors: str) -> list[str]:
        """The keys that are named on stderr, each together with what is wrong there."""
        messages = [json.loads(line)["error"]["message"] for line in errors.splitlines()]
        return [key for key, problem in self.unread.items() for text in messages if key in text and problem in text]


async def fill(url: str) -> None:
    async with SessionManager.from_url(url) as manager:
        names = [f"s{i}" for i in range(SESSIONS)]
        await asyncio.gather(*(manager.create_session("u", session_id=name, ttl=600) for name in names))
        await asyncio.gather(*(manager.add_message(name, {"from": "user", "text": "x"}) for name in names))


def damage_server(url: str) -> Damaged:
    asyncio.run(fill(url))
    with redis.Redis.from_url(url) as client:
        client.hset("session:s10:meta", "ttl", "abc")
        client.hdel("session:s20:meta", "createdAt")
        client.hset("session:s30:meta", "color", b"\xff")
        client.delete("session:s40:meta", "session:s50:history")
        client.set("session:s40:meta", "a string")
        client.sadd("session:s50:history", "a set")
        for key in ("session:s40:meta", "session:s50:history"):
            client.expire(key, 600)
    wrong = {"s10": "ttl", "s20": "createdAt", "s30": "metadata entry", "s40": "string"}
    return Damaged(
        url, {f"session:{name}:meta": problem for name, problem in wrong.items()}, {"session:s50:history": "set"}
    )


def damage_file(path: Path) -> Damaged:
    url = f"sqlite:///{path}"
    asyncio.run(fill(url))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE sessions SET ttl = -5 WHERE session_id = 's10'")
        db.execute("UPDATE sessions SET created_at = '' WHERE session_id = 's20'")
        db.execute("UPDATE sessions SET user_id = CAST(x'75FF' AS TEXT) WHERE session_id = 's30'")
        db.execute("UPDATE sessions SET metadata = x'5B5D' WHERE session_id = 's40'")
        db.execute("UPDATE sessions SET agent_epoch = -1 WHERE session_id = 's50'")
    db.close()
    wrong = {"s10": "ttl", "s20": "created_at", "s30": "user_id", "s40": "metadata", "s50": "agent_epoch"}
    return Damaged(url, {f"session {name}": problem for name, problem in wrong.items()}, {})


@pytest.fixture(params=["redis", "sqlite"])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Damaged]:
    if request.param == "sqlite":
        yield damage_file(tmp_path / "damaged.db")
        return
    backend = request.getfixturevalue("redis_backend")
    yield damage_server(backend.url)
    backend.clear()


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> RunCommand:
    def run(*arguments: str) -> CommandResult:
        return CommandResult(main([*arguments, "--json"]), *capfd.readouterr())

    return run


def test_an_export_has_all_other_sessions_and_names_the_damaged_ones(
    run: RunCommand, damaged: Damaged, tmp_path: Path
) -> None:
    file = tmp_path / "out.jsonl"
    done = run("export", str(file), "--url", damaged.url)
    whole = SESSIONS - len(damaged.unread)
    assert (done.code, done.json["sessions"], done.json["damaged"]) == (1, whole, len(damaged.unread))
    assert len(file.read_text().splitlines()) == whole
    assert damaged.named_in(done.err) == list(damaged.unread)
    streamed = run("export", "--url", damaged.url)
    assert (streamed.code, len(streamed.out.splitlines())) == (1, whole)
    assert damaged.named_in(streamed.err) == list(damaged.unread)


def test_an_export_of_one_user_names_that_user_s_damaged_sessions(run: RunCommand, damaged: Damaged) -> None:
    done = run("export", "--user", "u", "--url", damaged.url)
    owned = [key for key, problem in damaged.unread.items() if problem != "user_id"]  # nobody knows to whom it belongs
    assert (done.code, len(done.out.splitlines())) == (1, SESSIONS - len(damaged.unread))
    assert damaged.named_in(done.err) == owned


def test_a_list_has_all_other_sessions_and_names_the_damaged_ones(run: RunCommand, damaged: Damaged) -> None:
    for user in ((), ("u",)):
        listed = run("list", *user, "--limit", "1000", "--url", damaged.url)
        here = [key for key, problem in damaged.unlisted.items() if not user or problem != "user_id"]
        assert (listed.code, len(listed.json["sessions"])) == (1, SESSIONS - len(damaged.unlisted))
        assert sorted(each["key"] for each in listed.json["damaged"]) == here
        assert sorted(damaged.named_in(listed.err)) == here


def test_a_migration_brings_all_other_sessions_and_names_the_damaged_ones(
    run: RunCommand, damaged: Damaged, tmp_path: Path
) -> None:
    target = f"sqlite:///{tmp_path}/target.db"
    done = run("migrate", "--from", damaged.url, "--to", target)
    whole = SESSIONS - len(damaged.unread)
    assert (done.code, done.json["copied"], done.json["verified"], done.json["differences"]) == (1, whole, whole, [])
    assert sorted(each["key"] for each in done.json["damaged"]) == sorted(damaged.unread)
    assert damaged.named_in(done.err) == list(damaged.unread)
    again = run("migrate", "--from", damaged.url, "--to", target)
    assert (again.code, again.json["unchanged"]) == (1, whole)


def test_a_migration_leaves_a_session_that_is_damaged_in_the_target_and_brings_all_others(
    run: RunCommand, damaged: Damaged, tmp_path: Path
) -> None:
    source = f"sqlite:///{tmp_path}/whole.db"
    asyncio.run(fill(source))
    done = run("migrate", "--from", source, "--to", damaged.url)
    assert (done.code, done.json["sessions"]) == (1, SESSIONS)
    assert sorted(each["key"] for each in done.json["damaged"]) == sorted(damaged.unread)
    assert len(done.json["differences"]) == done.json["kept"] == SESSIONS - len(damaged.unread)  # created apart


def test_an_import_into_a_store_with_damaged_sessions_imports_all_other_lines(
    run: RunCommand, damaged: Damaged, tmp_path: Path
) -> None:
    asyncio.run(fill(f"sqlite:///{tmp_path}/whole.db"))
    file = str(tmp_path / "in.jsonl")
    run("export", file, "--url", f"sqlite:///{tmp_path}/whole.db")
    done = run("import", file, "--url", damaged.url)
    facts = (done.code, done.json["lines"], done.json["sessionsExisting"], done.json["badLines"])
    assert facts == (1, SESSIONS, SESSIONS - len(damaged.unread), len(damaged.unread))
    assert damaged.named_in(done.err) == list(damaged.unread)
