"""The command line, but for import and export: what it prints, and with which exit code it ends."""

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
from ran import Ran

PROMPT = 3  # seconds, where many tests share a processor; alone a command ends half a second after Ctrl-C
COMMANDS = (
    *("demo", "create", "show", "history", "say", "switch", "ttl", "extend", "update", "delete", "list", "count"),
    *("cleanup", "import", "export", "migrate", "doctor"),
)


@pytest.fixture(autouse=True)
def wide_output(monkeypatch):
    """No text is folded, wherever the tests run."""
    monkeypatch.setattr(OUT, "width", 160)


@pytest.fixture
def cli(capfd, tmp_path):
    """Run one command line in this process, on a store of its own where no --url is given."""

    def run_one(*arguments: str) -> Ran:
        named = "--url" in arguments or arguments[0].startswith("-")
        code = main([*arguments, *([] if named else ["--url", f"sqlite:///{tmp_path}/chat.db"])])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return run_one


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "chat_session.cli", *arguments]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **({"text": True} | pipes | options))


def age_sessions(folder: Path) -> None:
    """Let every session's deadline be long ago."""
    with sqlite3.connect(folder / "chat.db") as db:
        db.execute("UPDATE sessions SET deadline = 1")
    db.close()


def test_the_version_is_the_package_s(cli):
    assert cli("--version") == (0, f"chat-session {chat_session.__version__}\n", "")


def test_the_help_lists_every_command_and_every_exit_code(cli):
    shown = cli("--help")
    assert shown.code == 0
    for command in COMMANDS:
        assert f" {command} " in shown.out
    for text in ("0 done", "2 usage", "3 no such session", "4 conflict", "5 the store failed", "130", "143"):
        assert text in shown.out


def test_the_package_itself_runs_the_command():
    command = [sys.executable, "-m", "chat_session", "--version"]
    shown = subprocess.run(command, capture_output=True, check=True, text=True)
    assert shown.stdout == f"chat-session {chat_session.__version__}\n"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "migrate"])
def test_every_command_has_help_and_takes_a_url_and_json(cli, command):
    shown = cli(command, "--help", "--url", "never opened")
    assert (shown.code, shown.err) == (0, "")
    assert "--url " in shown.out
    assert "--json " in shown.out
    assert cli(command, "--no-such-option").code == 2


def test_without_a_command_the_help_is_shown_and_it_is_a_mistake(cli, capfd):
    assert main([]) == 2
    assert "Commands" in capfd.readouterr().out


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, capfd):
    monkeypatch.delitem(sys.modules, "chat_session.cli.app")
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main(["--version"]) == 2
    assert capfd.readouterr() == (
        "",
        "The command line is not installed. Install it with: pip install 'chat-session[cli]'\n",
    )


def test_another_module_that_is_missing_is_not_taken_for_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "chat_session.cli.app")
    monkeypatch.setitem(sys.modules, "chat_session.cli.demo", None)
    with pytest.raises(ModuleNotFoundError):
        main(["--version"])


def test_a_created_session_is_shown_as_it_was_created(cli):
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
def test_a_ttl_is_seconds_or_never_or_the_default(cli, words, ttl):
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
def test_what_cannot_be_created_is_refused_with_exit_code_2(cli, words):
    refused = cli("create", "u", *words)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: ")
    assert refused.err.count("\n") == 2
    cli("create", "u")
    assert cli("count", "--json").json == {"activeSessions": 1}


def test_metadata_nested_beyond_reading_is_text(cli):
    deep = "[" * 30_000 + "]" * 30_000  # Python 3.13 reads 5,000 levels
    assert cli("create", "u", "--meta", f"deep={deep}", "--json").json["deep"] == deep


def test_a_taken_id_is_a_conflict(cli):
    cli("create", "u", "--session-id", "s1")
    taken = cli("create", "u", "--session-id", "s1")
    assert (taken.code, taken.err.splitlines()[1]) == (4, "code: session_exists")


def test_a_message_said_twice_with_one_id_is_stored_once(cli):
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
def test_a_dash_says_what_standard_input_has(cli, tmp_path, typed):
    cli("create", "u", "--session-id", "s1")
    process = start("say", "s1", "-", "--url", f"sqlite:///{tmp_path}/chat.db", stdin=subprocess.PIPE)
    process.communicate(typed, timeout=10)
    assert process.returncode == 0
    assert cli("history", "s1", "--json").json[0]["text"] == "first line\nsecond 你好"


@pytest.mark.parametrize(("typed", "code"), [(b"\xff", "invalid_input"), (b"x" * 300_000, "message_too_large")])
def test_what_cannot_be_said_on_standard_input_is_refused(cli, tmp_path, typed, code):
    cli("create", "u", "--session-id", "s1")
    words = ("say", "s1", "-", "--json", "--url", f"sqlite:///{tmp_path}/chat.db")
    process = start(*words, stdin=subprocess.PIPE, text=False)
    _, err = process.communicate(typed, timeout=10)
    assert (process.returncode, json.loads(err)["error"]["code"]) == (2, code)
    assert cli("history", "s1", "--json").json == []


def test_a_say_that_waits_for_its_text_ends_on_ctrl_c(cli, tmp_path):
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


def test_metadata_is_changed_entry_by_entry(cli):
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
def test_a_change_of_metadata_that_cannot_be_is_refused(cli, words, code):
    cli("create", "u", "--session-id", "s1", "--meta", "a=0")
    assert (cli("update", *words).code, cli("show", "s1", "--json").json["a"]) == (code, 0)


def test_history_gives_a_window_of_messages_oldest_first(cli):
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


def test_a_session_without_messages_is_no_missing_session(cli):
    cli("create", "u", "--session-id", "s1")
    assert cli("history", "s1", "--json") == (0, "[]\n", "")
    assert cli("history", "s1").out == "There are no messages.\n"


def test_a_reply_computed_before_the_takeover_is_refused(cli):
    cli("create", "u", "--session-id", "s1")
    taken = cli("switch", "s1", "human", "--expect", "0", "--note", "小王 takes over", "--json")
    assert taken.json == {"success": True, "newAgent": "human", "epoch": 1}
    late = cli("say", "s1", "late", "--from", "assistant", "--epoch", "0", "--json")
    assert (late.code, late.error["code"], late.error["retryable"]) == (4, "agent_conflict", False)
    [note] = cli("history", "s1", "--json").json
    assert (note["from"], note["text"]) == ("system", "小王 takes over")


def test_a_switch_that_expected_another_agent_or_epoch_is_a_conflict(cli):
    cli("create", "u", "--session-id", "s1")
    assert cli("switch", "s1", "human", "--expect", "7").code == 4
    assert cli("switch", "s1", "human", "--expect", "human").code == 4
    assert cli("switch", "s1", "human", "--expect", "ai").code == 0
    assert "human" in cli("switch", "s1", "human").out
    assert cli("switch", "s1", "robot").code == 2
    assert cli("switch", "s1", "ai", "--expect", "robot").code == 2


def test_a_ttl_is_shown_set_and_slid(cli):
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
def test_a_session_that_is_not_there_is_exit_code_3(cli, words):
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
def test_a_command_for_stored_sessions_makes_no_file(cli, tmp_path, words):
    missing = cli(*words, "--json")
    assert (missing.code, missing.out) == (5, "")
    assert f"There is no file {tmp_path}/chat.db" in missing.error["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite:///chat.db?mode=rw", "sqlite:///chat.db?mode=ro"])
def test_a_url_may_say_that_the_file_must_exist(cli, tmp_path, url):
    assert cli("create", "u", "--url", url).code == 5
    assert list(tmp_path.iterdir()) == []


def test_deleting_tells_what_was_not_there(cli):
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


def test_nothing_is_deleted_when_one_of_the_ids_is_no_id(cli):
    cli("create", "u", "--session-id", "s1")
    assert cli("delete", "s1", "a/b").code == 2
    assert cli("show", "s1").code == 0


def names(listed: Ran) -> list[str]:
    return [session["sessionId"] for session in listed.json["sessions"]]


def test_a_user_s_sessions_come_in_pages_the_newest_first(cli):
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


def test_all_sessions_come_in_pages_also_those_of_one_agent(cli):
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


def test_the_text_of_a_list_says_how_to_get_the_next_page(cli, monkeypatch):
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
def test_a_page_that_cannot_be_is_refused(cli, words, code):
    cli("create", "u")
    refused = cli("list", *words, "--json")
    assert (refused.code, refused.out, refused.error["code"]) == (2, "", code)


def test_cleanup_removes_what_dead_sessions_left(cli, tmp_path):
    cli("create", "u")
    cli("create", "u")
    age_sessions(tmp_path)
    assert cli("count").out == "0 active sessions\n"
    assert cli("cleanup", "--json").json == {"success": True, "cleanedCount": 2}
    assert cli("cleanup").out == "0 dead sessions removed\n"


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "often"])
def test_a_cleanup_interval_must_be_a_positive_number(cli, seconds):
    assert cli("cleanup", "--every", seconds).code == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_running_cleanup_ends_on_a_signal_without_a_word(tmp_path, number, code):
    process = start("cleanup", "--every", "0.01", "--json", "--url", f"sqlite:///{tmp_path}/chat.db")
    documents = []
    while len(documents) < 3:  # each line is one run
        documents.append(json.loads(process.stdout.readline()))
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (code, "")
    assert documents[0].keys() == {"at", "outcome", "cleanedCount", "seconds"}
    assert [document["outcome"] for document in documents] == ["ok"] * 3


def test_a_running_cleanup_ends_when_nobody_reads_it_any_more(tmp_path):
    process = start("cleanup", "--every", "0.01", "--json", "--url", f"sqlite:///{tmp_path}/chat.db")
    assert process.stdout.readline().endswith("}\n")
    process.stdout.close()
    assert process.wait(timeout=10) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_running_cleanup_shows_a_failed_run_and_goes_on(tmp_path):
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
    """It accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
@pytest.mark.parametrize(
    "words",
    [("count",), ("demo",), ("cleanup", "--every", "1"), ("import", "in.jsonl"), ("doctor",), ("migrate",)],
)
def test_ctrl_c_ends_a_command_within_a_second_while_a_server_does_not_answer(silent_server, tmp_path, scheme, words):
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


def test_ctrl_c_does_not_wait_for_a_thread_that_waits():
    code = """if True:
        import asyncio, threading
        from chat_session.cli.runner import run
        def wait():
            print("begun", flush=True)
            threading.Event().wait()
        run(asyncio.to_thread(wait))
    """
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    assert process.communicate(timeout=10) == ("", "")
    assert (process.returncode, time.monotonic() - sent < PROMPT) == (130, True)


@pytest.mark.parametrize("words", [("history", "s1"), ("history", "s1", "--json"), ("export",)])
def test_ctrl_c_ends_a_command_whose_output_nobody_reads(cli, tmp_path, words):
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


def test_a_second_signal_ends_at_once_what_does_not_want_to_end():
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
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "told\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == -signal.SIGTERM


def test_a_cancellation_that_no_signal_caused_is_not_hidden():
    async def cancelled() -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(cancelled())


def test_ctrl_c_while_the_program_is_still_loading_is_exit_code_130(monkeypatch):
    class Impatient:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "chat_session.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "chat_session.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
    assert main(["--version"]) == 130


def test_a_store_that_fails_is_exit_code_5(cli, tmp_path):
    failed = cli("create", "u", "--url", f"sqlite:///{tmp_path}/no/such/folder.db")
    assert (failed.code, failed.out) == (5, "")
    assert failed.err.splitlines()[1] == "code: store_denied"


def test_retries_are_shown_while_one_waits_and_what_may_pass_is_said_so(cli, monkeypatch):
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


def test_other_logging_of_the_package_is_left_as_it_was(capfd):
    log = logging.getLogger("chat_session")
    before = list(log.handlers)
    with warnings_shown(json=False):
        log.info("not shown")
        log.warning("\x1b[31mshown")
    assert capfd.readouterr().err == "warning: \\x1b[31mshown\n"
    assert log.handlers == before


@pytest.mark.parametrize("url", ["", "mongodb://x", "/a/path.db", "sqlite://two-slashes.db"])
def test_a_url_that_names_no_store_is_a_settings_error(cli, url):
    refused = cli("count", "--url", url)
    assert (refused.code, refused.err.splitlines()[1]) == (2, "code: settings")


def test_a_bad_variable_is_named(cli, monkeypatch):
    monkeypatch.setenv("REDIS_PORT", "70000")
    refused = cli("count")
    assert (refused.code, refused.err.startswith("error: REDIS_PORT: ")) == (2, True)


def test_the_store_comes_from_the_environment_where_no_url_is_given(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("CHAT_SESSION_URL", f"sqlite:///{tmp_path}/env.db")
    assert main(["create", "u"]) == 0
    monkeypatch.delenv("CHAT_SESSION_URL")
    (tmp_path / ".env").write_text(f"CHAT_SESSION_URL=sqlite:///{tmp_path}/env.db\n")
    capfd.readouterr()
    assert main(["count", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"activeSessions": 1}


@pytest.mark.parametrize("words", [("create",), ("nope",), ("history", "s1", "--limit", "many"), ("say", "s1")])
def test_wrong_usage_is_said_in_two_lines_or_as_json(cli, words):
    refused = cli(*words)
    assert (refused.code, refused.out) == (2, "")
    error, advice = refused.err.splitlines()
    assert error.startswith("error: ")
    assert advice.startswith("code: usage; see 'chat-session ")
    assert cli(*words, "--json").error["code"] == "usage"


def test_json_after_two_dashes_is_a_word_and_no_option(cli):
    cli("create", "u", "--session-id", "s1")
    said = main(["say", "s1", "--url", "sqlite:///chat.db", "--", "--json"])
    assert said == 0


def test_an_argument_that_is_no_utf8_is_told_as_json_all_the_same(cli):
    cli("create", "u")
    refused = cli("list", "\udcff", "--json")
    assert (refused.code, refused.error["code"]) == (2, "invalid_input")
    refused = cli("history", "s1", "--\udcff", "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")


def test_what_strangers_wrote_is_shown_and_not_obeyed(cli):
    cli("create", "[red]u[/red]", "--session-id", "s1", "--meta", "k=[bold]x[/]", "--meta", "[i]=\x1b[2J")
    cli("say", "s1", "[link=http://x]a[/link] :smile: \x1b[31m\x9b \u202egnp.exe\r\n[/]second line\t👨‍👩‍👧")
    shown = cli("history", "s1").out
    assert "[link=http://x]a[/link] :smile: \\x1b[31m\\x9b \\u202egnp.exe\\r⏎" in shown
    assert "[/]second line\\t👨‍👩‍👧" in shown
    assert "\x1b" not in shown
    session = cli("show", "s1").out
    for text in ("[red]u[/red]", "[bold]x[/]", "metadata [i]", "\\x1b[2J"):
        assert text in session


def test_a_lone_surrogate_can_be_shown():
    assert visible("a\udcffb").plain == "a\\udcffb"


def test_the_type_of_a_message_and_the_raw_text_of_an_unreadable_one_are_shown(cli, tmp_path):
    cli("create", "u", "--session-id", "s1")
    cli("say", "s1", "fine")
    cli("say", "s1", "torn")
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("UPDATE messages SET element = CAST('{torn' AS BLOB) WHERE seq = 2")
    db.close()
    shown = cli("history", "s1")
    assert "(unreadable) {torn" in shown.out
    assert shown.err == "warning: 1 messages in session s1 cannot be read.\n"


def test_the_doctor_finds_and_mends_what_is_torn(cli, tmp_path):
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
    mended = cli("doctor", "--repair", "--json")
    assert mended.code == 0
    assert mended.json["url"] == f"sqlite:///{tmp_path}/chat.db"
    assert {"level", "subject", "text", "repair"} == mended.json["findings"][0].keys()
    assert any("They were removed." in finding["text"] for finding in mended.json["findings"])


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
def test_a_store_is_described_without_its_password(settings, shown):
    assert describe_store(Settings.load(**settings)) == shown


def test_the_demo_plays_in_memory_where_no_store_is_named(capfd):
    assert main(["demo"]) == 0
    told = capfd.readouterr()
    assert told.err == ""
    assert "plays in memory" in told.out
    for text in ("你好，我需要帮助", "is refused", "takes over", "hands back", "客服会话", "is deleted"):
        assert text in told.out


def test_the_demo_leaves_nothing_on_the_store_it_is_given(cli):
    assert cli("demo").code == 0
    told = cli("demo", "--json")
    assert (told.code, told.err) == (0, "")
    refused = [step for step in told.json["steps"] if isinstance(step["result"], dict) and "refused" in step["result"]]
    assert refused[0]["result"]["code"] == "agent_conflict"
    assert cli("count", "--json").json == {"activeSessions": 0}


def test_the_demo_plays_on_the_store_that_the_environment_names(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("CHAT_SESSION_URL", f"sqlite:///{tmp_path}/env.db")
    assert main(["demo"]) == 0
    assert f"Store: sqlite:///{tmp_path}/env.db" in capfd.readouterr().out
    assert (tmp_path / "env.db").exists()


def test_output_into_a_pipe_that_was_closed_ends_quietly(tmp_path):
    url = f"sqlite:///{tmp_path}/chat.db"
    for words in (("create", "u", "--json"), ("list", "u")):
        process = start(*words, "--url", url)
        process.stdout.close()
        assert process.wait(timeout=10) == 1
        assert process.stderr.read() == ""
        process.stderr.close()
