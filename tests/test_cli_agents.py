"""The command line on what agents need: contents, internal messages, retractions, bounds of sessions, erasure."""

import asyncio
import io
import json
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from chat_session import Inspector, Message, Session, SessionManager
from chat_session.cli import main
from chat_session.cli.output import OUT
from chat_session.testing.sessions.agent_messages import CONTENTS
from testkit.command_line import CommandResult, RunCommand
from testkit.present import present

T = TypeVar("T")


@pytest.fixture(autouse=True)
def wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 400)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/chat.db"


@pytest.fixture
def other(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/other.db"


@pytest.fixture
def cli(capfdbinary: pytest.CaptureFixture[bytes], url: str) -> RunCommand:
    """Run one command line in this process. Without --url it works on a file of this test."""

    def run_one(*arguments: str) -> CommandResult:
        named = "--url" in arguments or "--to" in arguments
        code = main([*arguments, *([] if named else ["--url", url])])
        captured = capfdbinary.readouterr()
        return CommandResult(code, captured.out.decode(), captured.err.decode())

    return run_one


def work_on(url: str, work: Callable[[SessionManager], Awaitable[T]], **settings: Any) -> T:
    async def run() -> T:
        async with SessionManager.from_url(url, **settings) as manager:
            return await work(manager)

    return asyncio.run(run())


async def tell_a_story(manager: SessionManager) -> None:
    """A session with everything that the fields for agents allow, retractions and a bound of its own."""
    await manager.create_session("u", {"revision": "metadata", "content": 1}, session_id="s", max_history=300)
    await manager.add_messages(
        "s",
        [
            {"id": "ask", "from": "user", "text": "Where is my order?"},
            Message(
                sender="assistant",
                text="",
                id="call",
                format="openai.item/1",
                author="shop-bot",
                calls=("c1", "c2"),
                internal=True,
                tokens=9,
                content=msgspec.Raw(b'{"n": 1e400, "name": "find_order", "arguments": "' + b"x" * 200 + b'"}'),
            ),
            {"id": "secret", "from": "user", "text": "my password is 1234"},
            {"id": "answer", "from": "tool", "text": "", "answers": ["c1"], "internal": True, "more": [1]},
            {"id": "tell", "from": "assistant", "text": "It is on its way.", "author": "shop-bot"},
        ],
    )
    for number, raw in enumerate(CONTENTS.values()):
        content = Message(sender="tool", text="", id=f"content {number}", content=msgspec.Raw(raw))
        await manager.add_message("s", content)
    await manager.retract_message("s", "secret")
    await manager.add_message("s", {"id": "last", "from": "operator", "text": "Anna here", "author": "Anna"})
    await manager.pop_messages("s")


async def read_story(manager: SessionManager) -> tuple[Session, list[Message]]:
    return present(await manager.get_session("s")), await Inspector(manager).get_stored_history("s")


def test_a_history_shows_who_spoke_what_was_called_and_the_beginning_of_a_content(cli: RunCommand, url: str) -> None:
    work_on(url, tell_a_story)
    shown = cli("history", "s", "--before", "6")
    assert shown.code == 0
    [call] = [line for line in shown.out.splitlines() if "openai.item/1" in line]
    assert "assistant shop-bot" in call
    assert "(internal; calls c1, c2) [openai.item/1: " in call
    assert '{"n": 1e400, "name": "find_order"' in call
    assert "… 251 bytes]" in call
    assert "x" * 100 not in call
    assert "(internal; answers c1)" in shown.out
    assert "password" not in shown.out
    public = cli("history", "s", "--before", "6", "--public")
    assert "openai.item/1" not in public.out
    assert "It is on its way." in public.out


def test_a_history_as_json_has_every_content_as_it_is_stored(cli: RunCommand, url: str) -> None:
    work_on(url, tell_a_story)
    shown = cli("history", "s", "--limit", "100", "--json")
    assert shown.code == 0
    without_space = str.maketrans("", "", " \t\r\n")
    for raw in CONTENTS.values():
        assert raw.decode().translate(without_space) in shown.out.translate(without_space)
    assert [message["id"] for message in json.loads(shown.out)[:2]] == ["ask", "call"]


def test_a_session_shows_its_bound_and_its_revision(cli: RunCommand, url: str) -> None:
    work_on(url, tell_a_story)
    shown = cli("show", "s").out
    assert "300 messages" in shown
    assert next(line.split() for line in shown.splitlines() if "revision" in line) == ["revision", "2"]
    assert json.loads(cli("show", "s", "--json").out)["cs:maxHistory"] == 300


def test_a_message_is_retracted_by_its_id(cli: RunCommand, url: str) -> None:
    cli("create", "u", "--session-id", "s")
    cli("say", "s", "secret", "--id", "m")
    assert cli("retract", "s", "m") == (0, "message m of session s: retracted\n", "")
    assert cli("history", "s").out == "There are no messages.\n"
    assert json.loads(cli("retract", "s", "m", "--json").out)["message"]["type"] == "retracted"
    assert cli("retract", "s", "other") == (1, "message other of session s: no such message\n", "")
    assert cli("retract", "missing", "m").code == 3
    cli("say", "s", "another secret", "--id", "n")
    cli("switch", "s", "human")
    assert cli("retract", "s", "n", "--epoch", "0").code == 4
    assert cli("say", "s", "secret", "--id", "m").out.endswith("(it was stored before)\n")


def test_a_history_is_cleared_and_the_session_stays(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s")
    for text in ("1", "2"):
        cli("say", "s", text)
    assert cli("clear", "s") == (0, "2 messages removed\n", "")
    assert json.loads(cli("clear", "s", "--json").out) == {"sessionId": "s", "removed": 0}
    assert "message 3 of session s" in cli("say", "s", "3").out
    assert cli("clear", "missing").code == 3
    assert cli("clear", "s", "--epoch", "7").code == 4


@pytest.mark.parametrize("answer", ["", "n\n", "\n", "yess\n", "no\n"])
def test_a_user_is_not_erased_without_a_yes(cli: RunCommand, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    cli("create", "u", "--session-id", "s")
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    refused = cli("erase-user", "u")
    assert refused.code == 2
    assert refused.err.startswith("Erase all sessions and the state of the user 'u'?")
    assert refused.err.endswith("Nothing was erased.\n")
    assert cli("show", "s").code == 0


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " yes"])
def test_a_user_is_erased_after_a_yes(cli: RunCommand, monkeypatch: pytest.MonkeyPatch, url: str, answer: str) -> None:
    cli("create", "u", "--session-id", "s")
    cli("create", "other", "--session-id", "o")
    work_on(url, lambda manager: manager.update_state("user:u", {"a": 1, "b": 2}))
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    erased = cli("erase-user", "u")
    assert (erased.code, erased.out) == (0, "Erased of the user 'u': sessions: 1, entries of state: 2.\n")
    assert (cli("show", "s").code, cli("show", "o").code) == (3, 0)
    again = cli("erase-user", "u", "--yes", "--json")
    assert json.loads(again.out) == {"success": False, "userId": "u", "sessions": 0, "stateEntries": 0}
    assert again.err == ""


def test_what_was_exported_before_an_erasure_can_be_imported_again(cli: RunCommand, url: str, tmp_path: Path) -> None:
    work_on(url, tell_a_story)
    before = work_on(url, read_story)
    file = str(tmp_path / "out.jsonl")
    assert cli("export", file, "--user", "u").code == 0
    assert cli("erase-user", "u", "--yes").code == 0
    assert cli("import", file).code == 0
    assert work_on(url, read_story) == before


def test_an_import_brings_back_every_byte_and_every_sequence_number(
    cli: RunCommand, url: str, other: str, tmp_path: Path
) -> None:
    work_on(url, tell_a_story)
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    exported = cli("export", str(first), "--json")
    messages = 4 + len(CONTENTS)  # without the two that are retracted
    assert json.loads(exported.out)["messages"] == messages
    assert b"password" not in first.read_bytes()
    imported = json.loads(cli("import", str(first), "--json", "--url", other).out)
    assert (imported["badLines"], imported["messagesStored"], imported["sessionsCreated"]) == (0, messages, 1)
    session, history = work_on(other, read_story)
    assert (session, history) == work_on(url, read_story)
    assert (session.max_history, session.revision) == (300, 2)
    assert [m.seq for m in history if m.type == "retracted"] == [3, 6 + len(CONTENTS)]
    again = json.loads(cli("import", str(first), "--json", "--url", other).out)
    assert (again["badLines"], again["messagesStored"], again["duplicates"]) == (0, 0, messages)
    assert work_on(other, read_story) == (session, history)
    assert cli("export", str(second), "--url", other).code == 0
    assert second.read_bytes() == first.read_bytes()


def test_an_import_restores_no_message_that_was_retracted_since(
    cli: RunCommand, url: str, other: str, tmp_path: Path
) -> None:
    work_on(url, tell_a_story)
    file = str(tmp_path / "out.jsonl")
    cli("export", file)
    cli("import", file, "--url", other)
    cli("retract", "s", "tell", "--url", other)
    before = work_on(other, read_story)
    assert cli("import", file, "--url", other).code == 0
    assert work_on(other, read_story) == before
    cli("retract", "s", "ask")  # and the other way round: what is retracted in the file stays where it is
    cli("export", file)
    assert cli("import", file, "--url", other).code == 0
    assert work_on(other, read_story) == before


def test_damaged_and_retracted_messages_are_imported_into_a_session_that_is_there(
    cli: RunCommand, url: str, other: str, tmp_path: Path
) -> None:
    cli("create", "u", "--session-id", "s")
    for text in ("one", "two", "three"):
        cli("say", "s", text, "--id", text)
    cli("retract", "s", "two")
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("UPDATE messages SET element = ? WHERE seq = 1", (b"\xff no json",))
    db.close()
    file = str(tmp_path / "out.jsonl")
    assert cli("export", file).code == 0
    cli("create", "u", "--session-id", "s", "--url", other)
    cli("say", "s", "zero", "--url", other)
    for stored in (2, 0):
        imported = json.loads(cli("import", file, "--json", "--url", other).out)
        assert (imported["badLines"], imported["messagesStored"], imported["duplicates"]) == (0, stored, 2 - stored)
    _, history = work_on(other, read_story)
    assert [(message.seq, message.id, message.type) for message in history[1:]] == [
        (2, "unreadable-1", "damaged"),
        (3, "three", None),
    ]
    assert history[1].extra == {"raw": "\\xff no json"}


def test_fields_of_another_program_that_have_our_names_are_moved_as_they_are(
    cli: RunCommand, url: str, other: str, tmp_path: Path
) -> None:
    cli("create", "u", "--session-id", "s")
    cli("say", "s", "one")
    foreign = {"author": {"name": "Bob"}, "tokens": 1.5, "calls": ["a", 2], "internal": "yes"}
    element = {"id": "m", "from": "user", "text": "x", "timestamp": "2026-01-31T08:00:00.000Z", **foreign}
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("UPDATE messages SET element = ?, id = CAST('m' AS BLOB)", (json.dumps(element).encode(),))
    db.close()
    whole = work_on(url, read_story)
    assert whole[1][0].extra == foreign
    file = str(tmp_path / "out.jsonl")
    assert cli("export", file).code == 0
    for _ in range(2):
        assert cli("import", file, "--url", other).code == 0
        assert work_on(other, read_story) == whole
    third = f"sqlite:///{tmp_path}/third.db"
    assert cli("migrate", "--from", url, "--to", third).code == 0
    assert work_on(third, read_story) == whole


def test_a_restored_session_has_its_damaged_message_as_it_was(
    cli: RunCommand, url: str, other: str, tmp_path: Path
) -> None:
    cli("create", "u", "--session-id", "s")
    for text in ("one", "two"):
        cli("say", "s", text)
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("UPDATE messages SET element = ? WHERE seq = 1", (b"x" * 100_000,))
    db.close()
    file = str(tmp_path / "out.jsonl")
    cli("export", file)
    for _ in range(2):
        assert cli("import", file, "--url", other).code == 0
        _, history = work_on(other, read_story)
        assert [(message.seq, message.type) for message in history] == [(1, "unreadable"), (2, None)]


def test_a_session_with_a_bound_of_its_own_is_imported_and_migrated_whole(
    cli: RunCommand, url: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fill(manager: SessionManager) -> None:
        await manager.create_session("u", session_id="s", max_history=9)
        await manager.add_messages("s", [{"from": "user", "text": str(i)} for i in range(20)])

    work_on(url, fill)
    monkeypatch.setenv("MAX_MESSAGE_HISTORY", "3")
    whole = work_on(url, read_story)
    assert len(whole[1]) == 9
    file = str(tmp_path / "out.jsonl")
    cli("export", file)
    assert cli("import", file, "--url", other).code == 0
    assert work_on(other, read_story) == whole
    third = f"sqlite:///{tmp_path}/third.db"
    assert cli("migrate", "--from", url, "--to", third).code == 0
    assert work_on(third, read_story) == whole


def test_a_migration_copies_contents_and_tombstones_and_later_retractions(
    cli: RunCommand, url: str, other: str
) -> None:
    work_on(url, tell_a_story)
    steps: tuple[tuple[list[str], str], ...] = (
        ([], "copied"),
        ([], "unchanged"),
        (["retract", "s", "tell"], "replaced"),
        (["clear", "s"], "replaced"),
    )
    for command, expected in steps:
        if command:
            assert cli(*command).code == 0
        migrated = cli("migrate", "--from", url, "--to", other, "--json")
        assert (migrated.code, json.loads(migrated.out)[expected]) == (0, 1), migrated
        assert work_on(other, read_story) == work_on(url, read_story)
    cli("say", "s", "new")
    cli("migrate", "--from", url, "--to", other)
    cli("retract", "s", "nobody's", "--url", other)
    cli("clear", "s", "--url", other)
    kept = cli("migrate", "--from", url, "--to", other, "--json")
    assert (kept.code, json.loads(kept.out)["kept"]) == (1, 1)
    assert "revision" in kept.out


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('{"from":"user","text":"x","content":NaN}', "not JSON"),
        ('{"from":"user","text":"x","content":{"a":1,}}', "not JSON"),
        ('{"from":"user","text":"x","content":"' + "[" * 3 + "}", "not JSON"),
        ('{"from":"user","text":"x","content":' + "[" * 300 + "]" * 300 + "}", "nested at most 256 deep"),
        ('{"from":"user","text":"\\ud800","content":1}', "not JSON"),
        ('{"from":"user","text":"x","content":1,"tokens":-1}', "messages[0].tokens must be"),
        ('{"from":"user","text":"x","content":1,"calls":"a"}', "messages[0].calls must be"),
        ('["content"]', "messages[0] must be an object"),
    ],
)
def test_a_line_with_a_bad_content_is_refused_whole(cli: RunCommand, tmp_path: Path, message: str, reason: str) -> None:
    file = tmp_path / "in.jsonl"
    good = '{"conversation":"good","user":"u","messages":[{"from":"user","text":"x","content":[1e400]}]}\n'
    file.write_text('{"conversation":"bad","user":"u","messages":[' + message + "]}\n" + good, encoding="utf-8")
    imported = cli("import", str(file))
    assert imported.code == 1
    assert imported.err.startswith("error: line 1: ")
    assert reason in imported.err
    assert (cli("show", "bad").code, cli("show", "good").code) == (3, 0)
    assert "[1e400]" in cli("history", "good").out
