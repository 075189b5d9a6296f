"""The command line without import and export: what it prints, and its exit codes."""

import asyncio
import fcntl
import json
import logging
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chat_session
from chat_session.cli import main
from chat_session.cli.opening import describe_store
from chat_session.cli.output import OUT, visible, warnings_shown
from chat_session.cli.runner import run
from chat_session.settings import Settings
from testkit.command_line import CommandResult, PipedProcess, RunCommand, start_command

PROMPT = 3  # seconds, where many tests share a processor; alone a command ends half a second after Ctrl-C
COMMANDS = (
    *("demo", "create", "show", "history", "say", "retract", "clear", "switch", "ttl", "extend", "update", "delete"),
    *("erase-user", "list", "count", "cleanup", "import", "export", "migrate", "doctor"),
    *("desk", "take", "answer", "hand-back", "transfer", "watch"),
)


@pytest.fixture(autouse=True)
def wide_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """The output is wide, so that no text is folded."""
    monkeypatch.setattr(OUT, "width", 160)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> RunCommand:
    """Run one command line in this process. Without --url it works on a file of this test."""

    def run_one(*arguments: str) -> CommandResult:
        named = "--url" in arguments or arguments[0].startswith("-")
        code = main([*arguments, *([] if named else ["--url", f"sqlite:///{tmp_path}/chat.db"])])
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return run_one


def start(*arguments: str, text: bool = True, **options: Any) -> PipedProcess[Any]:
    return start_command(*arguments, text=text, **options)


def age_sessions(folder: Path) -> None:
    """Set the deadline of every session to a moment long ago."""
    with sqlite3.connect(folder / "chat.db") as db:
        db.execute("UPDATE sessions SET deadline = 1")
    db.close()


def test_the_version_is_the_package_s(cli: RunCommand) -> None:
    assert cli("--version") == (0, f"chat-session {chat_session.__version__}\n", "")


def test_the_help_lists_every_command_and_every_exit_code(cli: RunCommand) -> None:
    shown = cli("--help")
    assert shown.code == 0
    for command in COMMANDS:
        assert f" {command} " in shown.out
    for text in ("0 done", "2 usage", "3 no such session", "4 conflict", "5 the store failed", "130", "143"):
        assert text in shown.out


def test_the_package_itself_runs_the_command() -> None:
    command = [sys.executable, "-m", "chat_session", "--version"]
    shown = subprocess.run(command, capture_output=True, check=True, text=True)
    assert shown.stdout == f"chat-session {chat_session.__version__}\n"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "migrate"])
def test_every_command_has_help_and_takes_a_url_and_json(cli: RunCommand, command: str) -> None:
    shown = cli(command, "--help", "--url", "never opened")
    assert (shown.code, shown.err) == (0, "")
    assert "--url " in shown.out
    assert "--json " in shown.out
    assert cli(command, "--no-such-option").code == 2


def test_without_a_command_the_help_is_shown_and_it_is_a_mistake(
    cli: RunCommand, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    assert "Commands" in capfd.readouterr().out


def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "chat_session.cli.app")
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main(["--version"]) == 2
    assert capfd.readouterr() == (
        "",
        "The command line is not installed. Install it with: pip install 'chat-session[cli]'\n",
    )


def test_another_module_that_is_missing_is_not_taken_for_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "chat_session.cli.app")
    monkeypatch.setitem(sys.modules, "chat_session.cli.demo", None)
    with pytest.raises(ModuleNotFoundError):
        main(["--version"])


def test_a_created_session_is_shown_as_it_was_created(cli: RunCommand) -> None:
    words = (
        "--meta",
        "name=客服会话",
        "--meta",
        'tags=["a",1]',
        "--meta",
        "n=007",
        "--meta",
        "empty=",
        "--agent",
        "human",
    )
    created = cli("create", "user:1", "--session-id", "s1", "--ttl", "60", *words, "--json")
    assert (created.code, created.err) == (0, "")
    shown = cli("show", "s1", "--json")
    assert shown.json == created.json
    expected = {"userId": "user:1", "sessionId": "s1", "ttl": 60, "currentAgent": "human", "name": "客服会话"}
    assert expected.items() <= shown.json.items()
    assert (shown.json["tags"], shown.json["n"], shown.json["empty"]) == (["a", 1], "007", "")
    table = cli("show", "s1")
    for text in ("s1", "user:1", "human (epoch 0)", "60 s", "客服会话", '["a",1]'):
        assert text in table.out


@pytest.mark.parametrize(("words", "ttl"), [((), 86_400), (("--ttl", "never"), None), (("--ttl", "5"), 5)])
def test_a_ttl_is_seconds_or_never_or_the_default(cli: RunCommand, words: tuple[str, ...], ttl: int | None) -> None:
    assert cli("create", "u", *words, "--json").json["ttl"] == ttl


@pytest.mark.parametrize(
    "words",
    [
        ("--ttl", "soon"),
        ("--ttl", "0"),
        ("--ttl", "-1"),
        ("--ttl", "1.5"),
        ("--ttl", "6٠"),
        ("--ttl", "9" * 5000),
        ("--meta", "a"),
        ("--meta", "a=1", "--meta", "a=2"),
        ("--meta", "userId=x"),
        ("--meta", "n=123456789012345678901234567890"),
        ("--session-id", "a/b"),
        ("--session-id", "a\n"),
        ("--agent", "robot"),
    ],
)
def test_what_cannot_be_created_is_refused_with_exit_code_2(cli: RunCommand, words: tuple[str, ...]) -> None:
    refused = cli("create", "u", *words)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: ")
    assert refused.err.count("\n") == 2
    cli("create", "u")
    assert cli("count", "--json").json == {"activeSessions": 1}


def test_metadata_nested_beyond_reading_is_text(cli: RunCommand) -> None:
    deep = "[" * 30_000 + "]" * 30_000  # Python 3.13 reads 5,000 levels
    assert cli("create", "u", "--meta", f"deep={deep}", "--json").json["deep"] == deep


def test_a_taken_id_is_a_conflict(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    taken = cli("create", "u", "--session-id", "s1")
    assert (taken.code, taken.err.splitlines()[1]) == (4, "code: session_exists")


def test_a_message_said_twice_with_one_id_is_stored_once(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    first = cli("say", "s1", "你好", "--id", "m1", "--json").json
    again = cli("say", "s1", "你好", "--id", "m1", "--json").json
    assert (first["seq"], first["duplicate"], again["seq"], again["duplicate"]) == (1, False, 1, True)
    assert "it was stored before" in cli("say", "s1", "你好", "--id", "m1").out
    conflict = cli("say", "s1", "other", "--id", "m1", "--json")
    assert (conflict.code, conflict.out, conflict.error["code"]) == (4, "", "message_conflict")


@pytest.mark.parametrize(
    "typed", ["first line\nsecond 你好", "first line\nsecond 你好\n", "first line\nsecond 你好\r\n"]
)
def test_a_dash_says_what_standard_input_has(cli: RunCommand, tmp_path: Path, typed: Any) -> None:
    cli("create", "u", "--session-id", "s1")
    process = start("say", "s1", "-", "--url", f"sqlite:///{tmp_path}/chat.db", stdin=subprocess.PIPE)
    process.communicate(typed, timeout=10)
    assert process.returncode == 0
    assert cli("history", "s1", "--json").json[0]["text"] == "first line\nsecond 你好"


@pytest.mark.parametrize(("typed", "code"), [(b"\xff", "invalid_input"), (b"x" * 300_000, "message_too_large")])
def test_what_cannot_be_said_on_standard_input_is_refused(
    cli: RunCommand, tmp_path: Path, typed: Any, code: Any
) -> None:
    cli("create", "u", "--session-id", "s1")
    words = ("say", "s1", "-", "--json", "--url", f"sqlite:///{tmp_path}/chat.db")
    process = start(*words, stdin=subprocess.PIPE, text=False)
    _, err = process.communicate(typed, timeout=10)
    assert (process.returncode, json.loads(err)["error"]["code"]) == (2, code)
    assert cli("history", "s1", "--json").json == []


def test_a_say_that_waits_for_its_text_ends_on_ctrl_c(cli: RunCommand, tmp_path: Path) -> None:
    cli("create", "u", "--session-id", "s1")
    ours, theirs = os.pipe()
    process = start("say", "s1", "-", "--url", f"sqlite:///{tmp_path}/chat.db", stdin=ours)
    os.close(ours)
    os.write(theirs, b"begun")
    while not is_read(theirs):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    os.close(theirs)
    process.communicate()


def is_read(pipe: int) -> bool:
    """Whether what was written into a pipe has been read."""
    return fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4) == b"\0" * 4


def test_metadata_is_changed_entry_by_entry(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1", "--meta", "a=1", "--meta", "b=2", "--meta", "c=3", "--ttl", "60")
    changed = cli("update", "s1", "a=one", 'd={"x": [1]}', "c=null", "--remove", "b", "--remove", "gone", "--json")
    assert changed.code == 0
    assert changed.json == cli("show", "s1", "--json").json
    assert {"a": "one", "d": {"x": [1]}, "ttl": 60}.items() <= changed.json.items()
    assert not {"b", "c", "gone"} & changed.json.keys()
    assert "metadata a    one" in cli("update", "s1", "--remove", "d").out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("s1",), 2),
        (("s1", "a"), 2),
        (("s1", "a=1", "a=2"), 2),
        (("s1", "a=1", "--remove", "a"), 2),
        (("s1", "userId=x"), 2),
        (("s1", "--remove", "ttl"), 2),
        (("nope", "a=1"), 3),
    ],
)
def test_a_change_of_metadata_that_cannot_be_is_refused(cli: RunCommand, words: tuple[str, ...], code: Any) -> None:
    cli("create", "u", "--session-id", "s1", "--meta", "a=0")
    assert (cli("update", *words).code, cli("show", "s1", "--json").json["a"]) == (code, 0)


def test_history_gives_a_window_of_messages_oldest_first(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    for i in range(1, 6):
        cli("say", "s1", f"message {i}", "--from", "assistant")
    window = cli("history", "s1", "--limit", "2", "--before", "5", "--after", "1", "--json").json
    assert [(m["seq"], m["from"], m["text"]) for m in window] == [
        (3, "assistant", "message 3"),
        (4, "assistant", "message 4"),
    ]
    shown = cli("history", "s1").out
    assert shown.index("message 1") < shown.index("message 5")


def test_a_session_without_messages_is_no_missing_session(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    assert cli("history", "s1", "--json") == (0, "[]\n", "")
    assert cli("history", "s1").out == "There are no messages.\n"


def test_a_reply_computed_before_the_takeover_is_refused(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    taken = cli("switch", "s1", "human", "--expect", "0", "--note", "小王 takes over", "--json")
    assert taken.json == {"success": True, "newAgent": "human", "epoch": 1}
    late = cli("say", "s1", "late", "--from", "assistant", "--epoch", "0", "--json")
    assert (late.code, late.error["code"], late.error["retryable"]) == (4, "agent_conflict", False)
    [note] = cli("history", "s1", "--json").json
    assert (note["from"], note["text"]) == ("system", "小王 takes over")


def test_a_switch_that_expected_another_agent_or_epoch_is_a_conflict(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    assert cli("switch", "s1", "human", "--expect", "7").code == 4
    assert cli("switch", "s1", "human", "--expect", "human").code == 4
    assert cli("switch", "s1", "human", "--expect", "ai").code == 0
    assert "human" in cli("switch", "s1", "human").out
    assert cli("switch", "s1", "robot").code == 2
    assert cli("switch", "s1", "ai", "--expect", "robot").code == 2


def test_a_ttl_is_shown_set_and_slid(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1", "--ttl", "60")
    assert cli("ttl", "s1", "--json").json == {"sessionId": "s1", "ttl": 60}
    assert cli("ttl", "s1", "500", "--json").json["ttl"] == 500
    assert "500 s" in cli("extend", "s1").out
    assert cli("ttl", "s1", "never", "--json").json["ttl"] == -1
    assert "never expires" in cli("ttl", "s1").out
    assert cli("ttl", "s1", "0").code == 2
    assert cli("ttl", "s1", "--json").json["ttl"] == -1


@pytest.mark.parametrize(
    "words",
    [
        ("show", "nope"),
        ("history", "nope"),
        ("say", "nope", "text"),
        ("switch", "nope", "ai"),
        ("ttl", "nope"),
        ("ttl", "nope", "5"),
        ("extend", "nope"),
    ],
)
def test_a_session_that_is_not_there_is_exit_code_3(cli: RunCommand, words: tuple[str, ...]) -> None:
    cli("create", "u")
    missing = cli(*words)
    assert (missing.code, missing.out) == (3, "")
    assert missing.err.splitlines()[1] == "code: session_not_found"
    told = cli(*words, "--json")
    assert (told.code, told.out, told.error["code"]) == (3, "", "session_not_found")
    assert told.error.keys() == {"code", "message", "retryable"}


@pytest.mark.parametrize(
    "words",
    [
        ("list", "u"),
        ("show", "s1"),
        ("count",),
        ("history", "s1"),
        ("export",),
        ("export", "out.jsonl"),
        ("doctor",),
        ("doctor", "--repair"),
        ("say", "s1", "text"),
        ("switch", "s1", "ai"),
        ("ttl", "s1"),
        ("extend", "s1"),
        ("delete", "s1"),
    ],
)
def test_a_command_for_stored_sessions_makes_no_file(cli: RunCommand, tmp_path: Path, words: tuple[str, ...]) -> None:
    missing = cli(*words, "--json")
    assert (missing.code, missing.out) == (5, "")
    assert f"There is no file {tmp_path}/chat.db" in missing.error["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite:///chat.db?mode=rw", "sqlite:///chat.db?mode=ro"])
def test_a_url_may_say_that_the_file_must_exist(cli: RunCommand, tmp_path: Path, url: str) -> None:
    assert cli("create", "u", "--url", url).code == 5
    assert list(tmp_path.iterdir()) == []


def test_deleting_tells_what_was_not_there(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    cli("say", "s1", "text")
    some = cli("delete", "s1", "s2", "s1", "--json")
    assert some.code == 1
    assert some.json == [
        {"sessionId": "s1", "success": True, "deletedKeys": 2},
        {"sessionId": "s2", "success": False, "deletedKeys": 0},
    ]
    cli("create", "u", "--session-id", "s3")
    gone = cli("delete", "s3")
    assert (gone.code, "deleted" in gone.out) == (0, True)
    assert "no such session" in cli("delete", "s3").out


def test_nothing_is_deleted_when_one_of_the_ids_is_no_id(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    assert cli("delete", "s1", "a/b").code == 2
    assert cli("show", "s1").code == 0


def names(listed: CommandResult) -> list[str]:
    return [session["sessionId"] for session in listed.json["sessions"]]


def test_a_user_s_sessions_come_in_pages_the_newest_first(cli: RunCommand) -> None:
    for i in range(5):
        cli("create", "u", "--session-id", f"s{i}")
    cli("create", "other")
    first = cli("list", "u", "--limit", "3", "--json")
    assert (first.code, names(first), first.json["damaged"]) == (0, ["s4", "s3", "s2"], [])
    last = cli("list", "u", "--limit", "3", "--cursor", first.json["cursor"], "--json")
    assert (names(last), last.json["cursor"]) == (["s1", "s0"], None)
    assert len(names(cli("list", "u", "--json"))) == 5
    assert cli("list", "nobody", "--json").json == {"sessions": [], "cursor": None, "damaged": []}
    assert cli("list", "nobody").out == "The user 'nobody' has no sessions.\n"


def test_all_sessions_come_in_pages_also_those_of_one_agent(cli: RunCommand) -> None:
    assert cli("create", "u0", "--session-id", "gone").code == cli("delete", "gone").code == 0
    assert cli("list").out == "There are no sessions.\n"
    for i in range(7):
        cli("create", f"u{i % 2}", "--session-id", f"s{i}", "--agent", "human" if i % 3 == 0 else "ai")
    for words, expected in (((), set(range(7))), (("--agent", "human"), {0, 3, 6})):
        found: list[str] = []
        cursor: list[str] = []
        while True:
            page = cli("list", "--limit", "2", *words, *cursor, "--json")
            found += names(page)
            if page.json["cursor"] is None:
                break
            cursor = ["--cursor", page.json["cursor"]]
        assert sorted(found) == [f"s{i}" for i in sorted(expected)]


def test_the_text_of_a_list_says_how_to_get_the_next_page(cli: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OUT, "width", 70)
    for i in range(3):
        cli("create", "u", "--session-id", f"page-{i}")
    shown = cli("list", "--limit", "2").out
    *_, advice = shown.splitlines()
    sentence, _, cursor = advice.rpartition(" ")
    assert sentence == "There are more. For the next page add: --cursor"
    following = cli("list", "--limit", "2", "--cursor", cursor)
    assert sum(f"page-{i}" in shown + following.out for i in range(3)) == 3
    assert "There are more" not in following.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--cursor", "x"), "invalid_input"),
        (("u", "--cursor", ""), "invalid_input"),
        (("--limit", "0"), "invalid_input"),
        (("--agent", "robot"), "invalid_input"),
        (("u", "--agent", "ai"), "usage"),
    ],
)
def test_a_page_that_cannot_be_is_refused(cli: RunCommand, words: tuple[str, ...], code: Any) -> None:
    cli("create", "u")
    refused = cli("list", *words, "--json")
    assert (refused.code, refused.out, refused.error["code"]) == (2, "", code)


def test_cleanup_removes_what_dead_sessions_left(cli: RunCommand, tmp_path: Path) -> None:
    cli("create", "u")
    cli("create", "u")
    age_sessions(tmp_path)
    assert cli("count").out == "0 active sessions\n"
    assert cli("cleanup", "--json").json == {"success": True, "cleanedCount": 2}
    assert cli("cleanup").out == "0 dead sessions removed\n"


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "often"])
def test_a_cleanup_interval_must_be_a_positive_number(cli: RunCommand, seconds: str) -> None:
    assert cli("cleanup", "--every", seconds).code == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_running_cleanup_ends_on_a_signal_without_a_word(tmp_path: Path, number: signal.Signals, code: Any) -> None:
    process = start("cleanup", "--every", "0.01", "--json", "--url", f"sqlite:///{tmp_path}/chat.db")
    documents: list[Any] = []
    while len(documents) < 3:  # each line is one run
        documents.append(json.loads(process.stdout.readline()))
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (code, "")
    assert documents[0].keys() == {"at", "outcome", "cleanedCount", "seconds"}
    assert [document["outcome"] for document in documents] == ["ok"] * 3


def test_a_running_cleanup_ends_when_nobody_reads_it_any_more(tmp_path: Path) -> None:
    process = start("cleanup", "--every", "0.01", "--json", "--url", f"sqlite:///{tmp_path}/chat.db")
    assert process.stdout.readline().endswith("}\n")
    process.stdout.close()
    assert process.wait(timeout=10) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_running_cleanup_shows_a_failed_run_and_goes_on(tmp_path: Path) -> None:
    process = start("cleanup", "--every", "0.01", "--url", f"sqlite:///{tmp_path}/chat.db")
    assert "(ok)" in process.stdout.readline()
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("ALTER TABLE sessions RENAME TO hidden")
    while "(ok)" in (line := process.stdout.readline()):
        pass
    assert "(error)" in line
    with db:
        db.execute("ALTER TABLE hidden RENAME TO sessions")
    db.close()
    while "(ok)" not in process.stdout.readline():
        pass
    process.terminate()
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert errors.startswith("error: A cleanup failed (store")


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """It accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
@pytest.mark.parametrize(
    "words",
    [
        *(("count",), ("demo",), ("cleanup", "--every", "1"), ("import", "in.jsonl"), ("doctor",), ("migrate",)),
        *(("desk",), ("take", "--operator", "ann"), ("watch", "s")),
    ],
)
def test_ctrl_c_ends_a_command_within_a_second_while_a_server_does_not_answer(
    silent_server: socket.socket, tmp_path: Path, scheme: str, words: tuple[str, ...]
) -> None:
    url = f"{scheme}://127.0.0.1:{silent_server.getsockname()[1]}/{'name' if scheme.endswith('sentinel') else ''}"
    (tmp_path / "in.jsonl").write_text('{"conversation": "s", "user": "u", "messages": []}')
    stores = ("--from", url, "--to", "sqlite:///new.db") if words == ("migrate",) else ("--url", url)
    process = start(*words, *stores)
    connection, _ = silent_server.accept()
    with connection:
        assert connection.recv(1)  # it has been asked, and would have to answer
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        assert process.wait(timeout=10) == 130
        assert time.monotonic() - sent < PROMPT
    process.communicate()


def test_ctrl_c_does_not_wait_for_a_thread_that_waits() -> None:
    code = """if True:
        import asyncio, threading
        from chat_session.cli.runner import run
        def wait():
            print("begun", flush=True)
            threading.Event().wait()
        run(asyncio.to_thread(wait))
    """
    process = PipedProcess([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    assert process.communicate(timeout=10) == ("", "")
    assert (process.returncode, time.monotonic() - sent < PROMPT) == (130, True)


@pytest.mark.parametrize("words", [("history", "s1"), ("history", "s1", "--json"), ("export",)])
def test_ctrl_c_ends_a_command_whose_output_nobody_reads(
    cli: RunCommand, tmp_path: Path, words: tuple[str, ...]
) -> None:
    cli("create", "u", "--session-id", "s1")
    for _ in range(10):
        cli("say", "s1", "x" * 100_000)  # more than any pipe holds
    process = start(*words, "--url", f"sqlite:///{tmp_path}/chat.db")
    assert select.select([process.stdout], [], [], 20)[0]
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    assert process.wait(timeout=10) == 130
    assert time.monotonic() - sent < PROMPT
    process.communicate()


def test_a_second_signal_ends_at_once_what_does_not_want_to_end() -> None:
    code = """if True:
        import asyncio
        from chat_session.cli.runner import run
        async def stubborn():
            print("begun", flush=True)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("told", flush=True)
                await asyncio.Event().wait()
        run(stubborn())
    """
    process = PipedProcess([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "told\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == -signal.SIGTERM


def test_a_cancellation_that_no_signal_caused_is_not_hidden() -> None:
    async def cancelled() -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(cancelled())


def test_ctrl_c_while_the_program_is_still_loading_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "chat_session.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "chat_session.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
    assert main(["--version"]) == 130


def test_a_store_that_fails_is_exit_code_5(cli: RunCommand, tmp_path: Path) -> None:
    failed = cli("create", "u", "--url", f"sqlite:///{tmp_path}/no/such/folder.db")
    assert (failed.code, failed.out) == (5, "")
    assert failed.err.splitlines()[1] == "code: store_denied"


def test_retries_are_shown_while_one_waits_and_what_may_pass_is_said_so(
    cli: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_RETRY_DELAY", "1")
    monkeypatch.setenv("REDIS_MAX_RETRIES", "2")
    failed = cli("count", "--url", "unix:///no/such.sock")
    assert failed.code == 5
    warned, again, error, code = failed.err.splitlines()
    assert warned == "warning: The call count_sessions failed (connection). This is attempt 2."
    assert again == "warning: The call count_sessions failed (connection). This is attempt 3."
    assert error.startswith("error: count_sessions failed on /no/such.sock after 3 attempts in ")
    assert code == "code: store_unavailable; the same command may succeed later"
    told = cli("count", "--url", "unix:///no/such.sock", "--json")
    assert told.error["retryable"] is True


def test_other_logging_of_the_package_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("chat_session")
    before = list(log.handlers)
    with warnings_shown(json=False):
        log.info("not shown")
        log.warning("\x1b[31mshown")
    assert capfd.readouterr().err == "warning: \\x1b[31mshown\n"
    assert log.handlers == before


@pytest.mark.parametrize("url", ["", "mongodb://x", "/a/path.db", "sqlite://two-slashes.db"])
def test_a_url_that_names_no_store_is_a_settings_error(cli: RunCommand, url: str) -> None:
    refused = cli("count", "--url", url)
    assert (refused.code, refused.err.splitlines()[1]) == (2, "code: settings")


def test_a_bad_variable_is_named(cli: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PORT", "70000")
    refused = cli("count")
    assert (refused.code, refused.err.startswith("error: REDIS_PORT: ")) == (2, True)


def test_the_store_comes_from_the_environment_where_no_url_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_SESSION_URL", f"sqlite:///{tmp_path}/env.db")
    assert main(["create", "u"]) == 0
    monkeypatch.delenv("CHAT_SESSION_URL")
    (tmp_path / ".env").write_text(f"CHAT_SESSION_URL=sqlite:///{tmp_path}/env.db\n")
    capfd.readouterr()
    assert main(["count", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"activeSessions": 1}


@pytest.mark.parametrize("words", [("create",), ("nope",), ("history", "s1", "--limit", "many"), ("say", "s1")])
def test_wrong_usage_is_said_in_two_lines_or_as_json(cli: RunCommand, words: tuple[str, ...]) -> None:
    refused = cli(*words)
    assert (refused.code, refused.out) == (2, "")
    error, advice = refused.err.splitlines()
    assert error.startswith("error: ")
    assert advice.startswith("code: usage; see 'chat-session ")
    assert cli(*words, "--json").error["code"] == "usage"


def test_json_after_two_dashes_is_a_word_and_no_option(cli: RunCommand) -> None:
    cli("create", "u", "--session-id", "s1")
    said = main(["say", "s1", "--url", "sqlite:///chat.db", "--", "--json"])
    assert said == 0


def test_an_argument_that_is_no_utf8_is_told_as_json_all_the_same(cli: RunCommand) -> None:
    cli("create", "u")
    refused = cli("list", "\udcff", "--json")
    assert (refused.code, refused.error["code"]) == (2, "invalid_input")
    refused = cli("history", "s1", "--\udcff", "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")


def test_what_strangers_wrote_is_shown_and_not_obeyed(cli: RunCommand) -> None:
    cli("create", "[red]u[/red]", "--session-id", "s1", "--meta", "k=[bold]x[/]", "--meta", "[i]=\x1b[2J")
    cli("say", "s1", "[link=http://x]a[/link] :smile: \x1b[31m\x9b \u202egnp.exe\r\n[/]second line\t👨‍👩‍👧")
    shown = cli("history", "s1").out
    assert "[link=http://x]a[/link] :smile: \\x1b[31m\\x9b \\u202egnp.exe\\r⏎" in shown
    assert "[/]second line\\t👨‍👩‍👧" in shown
    assert "\x1b" not in shown
    session = cli("show", "s1").out
    for text in ("[red]u[/red]", "[bold]x[/]", "metadata [i]", "\\x1b[2J"):
        assert text in session


def test_a_lone_surrogate_can_be_shown() -> None:
    assert visible("a\udcffb").plain == "a\\udcffb"


def test_the_type_of_a_message_and_the_raw_text_of_an_unreadable_one_are_shown(cli: RunCommand, tmp_path: Path) -> None:
    cli("create", "u", "--session-id", "s1")
    cli("say", "s1", "fine")
    cli("say", "s1", "damaged")
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("UPDATE messages SET element = CAST('{damaged' AS BLOB) WHERE seq = 2")
    db.close()
    shown = cli("history", "s1")
    assert "(unreadable) {damaged" in shown.out
    assert shown.err == "warning: 1 messages in session s1 cannot be read.\n"


def test_the_doctor_finds_and_repairs_what_is_inconsistent(cli: RunCommand, tmp_path: Path) -> None:
    cli("create", "u", "--session-id", "s1")
    cli("say", "s1", "text")
    assert cli("doctor").code == 0
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("DELETE FROM sessions")
    db.close()
    sick = cli("doctor")
    assert sick.code == 1
    assert "1 messages without a session" in sick.out
    assert "Removes them." in sick.out
    repaired = cli("doctor", "--repair", "--json")
    assert repaired.code == 0
    assert repaired.json["url"] == f"sqlite:///{tmp_path}/chat.db"
    assert {"level", "subject", "text", "repair"} == repaired.json["findings"][0].keys()
    assert any("They were removed." in finding["text"] for finding in repaired.json["findings"])


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, "redis://localhost:6379/0"),
        (
            {"redis_host": "h", "redis_port": 1, "redis_db": 2, "redis_password": "secret", "redis_username": "me"},
            "redis://me@h:1/2",
        ),
        ({"redis_tls": True}, "rediss://localhost:6379/0"),
        ({"chat_session_url": "redis://me:secret@h:1/2"}, "redis://me@h:1/2"),
        ({"chat_session_url": "redis://:secret@h"}, "redis://h"),
        ({"chat_session_url": "rediss://h/0?password=secret&timeout=5"}, "rediss://h/0?timeout=5"),
        ({"chat_session_url": "unix:///run/r.sock?db=1&password=secret"}, "unix:///run/r.sock?db=1"),
        ({"chat_session_url": "sqlite:///:memory:"}, "sqlite:///:memory:"),
        ({"chat_session_url": "sqlite:////var/chat.db"}, "sqlite:////var/chat.db"),
        ({"chat_session_url": "sqlite:///chat.db"}, "sqlite:///chat.db"),
    ],
)
def test_a_store_is_described_without_its_password(settings: dict[str, Any], shown: str) -> None:
    assert describe_store(Settings.load(**settings)) == shown


def test_the_demo_plays_in_memory_where_no_store_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    told = capfd.readouterr()
    assert told.err == ""
    assert "plays in memory" in told.out
    for text in ("你好，我需要帮助", "is refused", "takes over", "hands back", "客服会话", "is deleted"):
        assert text in told.out


def test_the_demo_leaves_nothing_on_the_store_it_is_given(cli: RunCommand) -> None:
    assert cli("demo").code == 0
    told = cli("demo", "--json")
    assert (told.code, told.err) == (0, "")
    refused = [step for step in told.json["steps"] if isinstance(step["result"], dict) and "refused" in step["result"]]
    assert refused[0]["result"]["code"] == "agent_conflict"
    assert cli("count", "--json").json == {"activeSessions": 0}


def test_the_demo_plays_on_the_store_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_SESSION_URL", f"sqlite:///{tmp_path}/env.db")
    assert main(["demo"]) == 0
    assert f"Store: sqlite:///{tmp_path}/env.db" in capfd.readouterr().out
    assert (tmp_path / "env.db").exists()


def test_output_into_a_pipe_that_was_closed_ends_quietly(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    for words in (("create", "u", "--json"), ("list", "u")):
        process = start(*words, "--url", url)
        process.stdout.close()
        assert process.wait(timeout=10) == 1
        assert process.stderr.read() == ""
        process.stderr.close()
