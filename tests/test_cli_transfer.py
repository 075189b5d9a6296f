"""Import and export: what was exported can be imported, nothing is stored twice, and a bad line harms no other."""

import asyncio
import gzip
import json
import os
import pty
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chat_session import Message, SessionManager
from chat_session.cli import main
from testkit.command_line import CommandResult, PipedProcess, start_command
from testkit.edge_case_sessions import build_edge_case_sessions

EXAMPLES = Path(__file__).parents[1] / "examples"
SHARED = Path(__file__).parents[2] / "shared" / "data" / "dialogues.jsonl.gz"
GOOD = b'{"conversation":"%b","user":"u","messages":[{"from":"user","text":"hello"}]}'
MIB = 1024 * 1024


class Store:
    """A file of sessions, and the commands on it."""

    def __init__(self, path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self._capfd = capfd

    def run(self, *arguments: str) -> CommandResult:
        code = main([*arguments, "--url", self.url])
        return CommandResult(code, *self._capfd.readouterr())

    def start(self, *arguments: str, **options: Any) -> PipedProcess[bytes]:
        return start_command(*arguments, "--url", self.url, **({"stdin": subprocess.PIPE} | options))

    def count_messages(self, session_id: str) -> int:
        """Read from the file itself; -1 while there is no such session."""
        try:
            db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        except sqlite3.OperationalError:
            return -1
        try:
            row = db.execute("SELECT message_count FROM sessions WHERE session_id = ?", (session_id,)).fetchone()
        except sqlite3.OperationalError:
            return -1
        finally:
            db.close()
        return row[0] if row else -1

    def wait_for_messages(self, session_id: str, count: int) -> None:
        """Wait until the file itself has that many messages: the import does not report them."""
        deadline = time.monotonic() + 20
        while self.count_messages(session_id) < count:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def ask(self, question: Callable[[SessionManager], Awaitable[Any]]) -> Any:
        """The answer of ``question``, which is given a manager on this store."""

        async def answer() -> Any:
            async with SessionManager.from_url(self.url) as manager:
                return await question(manager)

        return asyncio.run(answer())

    def history(self, session_id: str) -> list[Message]:
        found: list[Message] = self.ask(lambda manager: manager.get_history(session_id, 10_000))
        return found


@pytest.fixture
def store(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Store:
    return Store(tmp_path / "chat.db", capfd)


@pytest.fixture
def other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Store:
    return Store(tmp_path / "other.db", capfd)


def write(path: Path, *lines: bytes | dict[str, Any]) -> str:
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return str(path)


def long_line(messages: int) -> dict[str, Any]:
    return {
        "conversation": "long",
        "user": "u",
        "messages": [{"from": "user", "text": f"message {i}"} for i in range(1, messages + 1)],
    }


def test_the_sample_is_imported_with_what_its_lines_say(store: Store) -> None:
    done = store.run("import", str(EXAMPLES / "sample.jsonl"), "--user", "guest", "--json")
    assert (done.code, done.err) == (0, "")
    assert (done.json["sessionsCreated"], done.json["badLines"]) == (10, 0)
    assert store.run("show", "api-rate-limit", "--json").json["plan"] == {"name": "starter", "requestsPerMinute": 60}
    invoice = store.run("show", "invoice-copy", "--json").json
    assert (invoice["userId"], invoice["vat"], invoice["tags"]) == (
        "buchhaltung@example.de",
        True,
        ["invoice", "2026-Q1"],
    )
    assert store.history("refund-zh")[0].text == "你好，我上周退的鞋子，钱还没有到账。"
    assert store.history("cancel-subscription")[0].to_dict()["timestamp"] == "2026-04-18T17:30:00.000Z"
    assert len(store.run("list", "guest", "--json").json["sessions"]) == 5


def test_an_import_run_twice_stores_no_message_twice(store: Store) -> None:
    words = ("import", str(EXAMPLES / "sample.jsonl"), "--user", "guest")
    first, second = store.run(*words, "--json").json, store.run(*words, "--json").json
    assert (second["sessionsCreated"], second["sessionsExisting"], second["messagesStored"]) == (0, 10, 0)
    assert second["duplicates"] == first["messagesStored"] == 41
    assert "messages stored before   41" in store.run(*words).out


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "The line is not JSON: "),
        (b"\xff\xfe", "The line is not JSON: "),
        (b"[" * 100_000, "The line is not JSON: "),
        (b"[1]", "The line must be a JSON object, not "),
        (b'"text"', "The line must be a JSON object, not "),
        (b'{"user":"u","messages":[]}', "conversation must be 1 to 128"),
        (b'{"conversation":7,"user":"u","messages":[]}', "conversation must be"),
        (b'{"conversation":"a/b","user":"u","messages":[]}', "conversation must be"),
        (b'{"conversation":"a","messages":[]}', 'The line names no user. Add "user" to it, or pass --user.'),
        (b'{"conversation":"a","user":7,"messages":[]}', "user_id must be"),
        (b'{"conversation":"a","user":"u"}', "messages must be a list"),
        (b'{"conversation":"a","user":"u","messages":{}}', "messages must be a list"),
        (b'{"conversation":"a","user":"u","messages":["text"]}', "messages[0] must be an object"),
        (b'{"conversation":"a","user":"u","messages":[{"from":"bot","text":"x"}]}', "messages[0].from must be one of"),
        (b'{"conversation":"a","user":"u","messages":[{"from":"user"}]}', "messages[0].text must be"),
        (b'{"conversation":"a","user":"u","messages":[{"from":"user","text":"x","id":""}]}', "messages[0].id must be"),
        (
            b'{"conversation":"a","user":"u","messages":[{"from":"user","text":"x","timestamp":"now"}]}',
            "messages[0].timestamp must be",
        ),
        (
            b'{"conversation":"a","user":"u","messages":[{"from":"user","text":"x"},{"id":"import-1","from":"user","text":"y"}]}',
            "messages[1].id must be the id of one message",
        ),
        (
            b'{"conversation":"a","user":"u","messages":[{"from":"user","text":"' + b"x" * 300_000 + b'"}]}',
            "messages[0].text must be text of at most 262,144 bytes",
        ),
        (
            b'{"conversation":"a","user":"u","messages":[{"from":"user","text":"x","more":"' + b"x" * 70_000 + b'"}]}',
            "messages[0].extra must be at most",
        ),
        (b'{"conversation":"a","user":"u","messages":[],"userId":"v"}', "metadata must be a mapping without the names"),
        (b'{"conversation":"a","user":"u","messages":[],"metadata":[]}', "metadata must be a mapping"),
        (b'{"conversation":"a","user":"u","messages":[],"n":1,"metadata":{"n":2}}', "metadata must be given once"),
        (b'{"conversation":"a","user":"u","messages":[],"session":7}', "session must be an object"),
        (
            b'{"conversation":"a","user":"u","messages":[],"session":{"color":1}}',
            "with no other fields than agentEpoch",
        ),
        (b'{"conversation":"a","user":"u","messages":[],"session":{}}', "createdAt must be"),
        (
            (
                b'{"conversation":"a","user":"u","messages":[{"from":"user","text":"x"}],"session":{"createdAt":'
                b'"2026-01-01T00:00:00Z","lastActiveAt":"2026-01-01T00:00:00Z","messageCount":0}}'
            ),
            "session.messageCount is 0, but the line has 1 messages.",
        ),
    ],
)
def test_a_bad_line_is_reported_by_number_and_reason_and_the_others_are_imported(
    store: Store, tmp_path: Path, bad: bytes, reason: str
) -> None:
    file = write(tmp_path / "in.jsonl", GOOD % b"first", b"", bad, GOOD % b"last")
    done = store.run("import", file)
    assert done.code == 1
    assert done.err.startswith("error: line 3: ")
    assert reason in done.err
    assert done.err.count("\n") == 1
    assert len(store.run("list", "u", "--json").json["sessions"]) == 2
    told = store.run("import", file, "--json")
    assert json.loads(told.err)["error"].keys() == {"code", "message", "retryable"}
    assert (told.json["badLines"], told.json["lines"]) == (1, 3)


def test_of_many_bad_lines_the_first_twenty_are_shown_and_the_others_counted(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *[b"{"] * 1000, GOOD % b"good")
    done = store.run("import", file)
    shown = done.err.splitlines()
    assert (done.code, len(shown)) == (1, 22)
    assert shown[19].startswith("error: line 20: ")
    assert shown[20:] == ["error: 980 more lines are bad, like those above.", "code: bad_line"]
    told = store.run("import", file, "--json")
    assert (told.json["badLines"], len(told.err.splitlines())) == (1000, 21)
    assert json.loads(told.err.splitlines()[-1])["error"]["message"] == "980 more lines are bad, like those above."


def test_nothing_of_a_line_is_stored_when_its_last_message_is_bad(store: Store, tmp_path: Path) -> None:
    line = long_line(500)
    line["messages"].append({"from": "nobody", "text": "x"})
    assert store.run("import", write(tmp_path / "in.jsonl", line)).code == 1
    assert store.count_messages("long") == -1


def test_a_gzip_that_is_cut_off_is_imported_as_far_as_it_goes(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl.gz"
    lines = b"\n".join(GOOD % b"s%d" % i for i in range(1000))
    whole = gzip.compress(lines)
    file.write_bytes(whole[: len(whole) // 2])
    cut = store.run("import", str(file), "--json")
    assert cut.code == 1
    message = json.loads(cut.err)["error"]["message"]
    imported = cut.json["sessionsCreated"]
    assert message == f"line {imported + 1}: The gzip data is cut off. What was read before it was imported."
    assert 0 < imported < 1000
    file.write_bytes(whole)
    again = store.run("import", str(file), "--json")
    assert (again.code, again.json["sessionsCreated"], again.json["sessionsExisting"]) == (
        0,
        1000 - imported,
        imported,
    )


def test_a_gzip_that_is_damaged_is_told_from_one_that_is_cut_off(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl.gz"
    whole = bytearray(gzip.compress(GOOD % b"s1" + b"\n"))
    whole[-6] ^= 0xFF  # its checksum
    file.write_bytes(whole)
    done = store.run("import", str(file))
    assert done.code == 1
    assert "The gzip data is damaged" in done.err


def test_a_gzip_of_several_members_and_padding_is_read_to_its_end(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "in"
    members = [gzip.compress(GOOD % b"s%d" % i + b"\n") for i in range(3)]
    file.write_bytes(b"".join(members) + b"\0" * 100)
    assert store.run("import", str(file), "--json").json["sessionsCreated"] == 3


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", b"\x1f"])
def test_a_file_without_a_line_is_no_failure_but_a_lone_byte_is_a_bad_line(
    store: Store, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "in").write_bytes(content)
    assert store.run("import", str(tmp_path / "in")).code == (1 if content == b"\x1f" else 0)


def test_the_last_line_needs_no_end_and_the_first_may_have_a_byte_order_mark(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\xef\xbb\xbf" + GOOD % b"s1" + b"\r\n" + GOOD % b"s2")
    assert store.run("import", str(tmp_path / "in"), "--json").json["sessionsCreated"] == 2


@pytest.mark.parametrize("name", ["missing.jsonl", ""])
def test_a_missing_file_and_a_folder_are_errors_of_exit_code_1(store: Store, tmp_path: Path, name: str) -> None:
    failed = store.run("import", str(tmp_path / name))
    assert (failed.code, failed.out) == (1, "")
    assert failed.err.splitlines()[1] == "code: file"
    assert not store.path.exists()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system has no file that refuses to be read")
def test_a_file_that_cannot_be_read_on_is_reported_with_the_line(store: Store) -> None:
    done = store.run("import", "/proc/self/mem")
    assert done.code == 1
    assert done.err.startswith("error: line 1: The file cannot be read further: ")


def test_a_device_is_read_to_its_end(store: Store) -> None:
    assert store.run("import", "/dev/null", "--json").json["lines"] == 0


def test_a_session_of_another_user_is_left_alone(store: Store, tmp_path: Path) -> None:
    store.run("create", "owner", "--session-id", "s1")
    done = store.run("import", write(tmp_path / "in.jsonl", GOOD % b"s1"))
    assert done.code == 1
    assert "line 1: The stored session belongs to user 'owner', not to 'u'." in done.err
    assert store.count_messages("s1") == 0


def test_an_existing_session_that_lost_nothing_is_gone_on_with(store: Store, tmp_path: Path) -> None:
    store.run("create", "u", "--session-id", "s1", "--meta", "kept=1")
    store.run("say", "s1", "here already")
    done = store.run("import", write(tmp_path / "in.jsonl", GOOD % b"s1"), "--json").json
    assert (done["sessionsExisting"], done["messagesStored"]) == (1, 1)
    assert [message.text for message in store.history("s1")] == ["here already", "hello"]


def test_an_id_that_is_stored_with_other_content_is_a_conflict(store: Store, tmp_path: Path) -> None:
    store.run("create", "u", "--session-id", "s1")
    store.run("say", "s1", "other", "--id", "import-1")
    done = store.run("import", write(tmp_path / "in.jsonl", GOOD % b"s1"))
    assert done.code == 1
    assert "line 1: The message id 'import-1' is stored in session 's1' with other content" in done.err
    assert store.count_messages("s1") == 1


def test_lines_of_one_session_are_imported_in_the_order_of_the_file(store: Store, tmp_path: Path) -> None:
    lines = [
        {"conversation": "s1", "user": "u", "messages": [{"id": f"m{i}", "from": "user", "text": str(i)}]}
        for i in range(50)
    ]
    assert store.run("import", write(tmp_path / "in.jsonl", *lines), "--json").json["messagesStored"] == 50
    assert [message.text for message in store.history("s1")] == [str(i) for i in range(50)]


def test_equal_messages_of_one_id_in_a_line_are_one_message(store: Store, tmp_path: Path) -> None:
    message = {"id": "m1", "from": "user", "text": "x"}
    line = {"conversation": "s1", "user": "u", "messages": [message, message]}
    done = store.run("import", write(tmp_path / "in.jsonl", line), "--json").json
    assert (done["messagesStored"], done["duplicates"], done["badLines"]) == (1, 1, 0)


def test_a_conversation_longer_than_the_history_is_refused_and_nothing_of_it_is_stored(
    store: Store, tmp_path: Path
) -> None:
    file = write(tmp_path / "in.jsonl", long_line(150), GOOD % b"s1")
    refused = store.run("import", file, "--json")
    assert (refused.code, refused.json["messagesStored"], refused.json["badLines"]) == (1, 1, 1)
    assert "line 1: The session would hold 150 messages, but MAX_MESSAGE_HISTORY is 100." in refused.error["message"]
    assert "--trim" in refused.error["message"]
    assert store.count_messages("long") == -1


def test_trim_keeps_the_newest_messages_of_a_longer_conversation_and_counts_what_it_drops(
    store: Store, tmp_path: Path
) -> None:
    file = write(tmp_path / "in.jsonl", long_line(150))
    facts = ("messagesStored", "duplicates", "messagesDropped")
    done = store.run("import", file, "--trim", "--json")
    assert (done.code, *(done.json[name] for name in facts)) == (0, 100, 0, 50)
    assert [message.text for message in store.history("long")] == [f"message {i}" for i in range(51, 151)]
    again = store.run("import", file, "--trim", "--json")
    assert (again.code, *(again.json[name] for name in facts)) == (0, 0, 100, 50)
    store.run("say", "long", "said since")
    assert "messages dropped         50" in store.run("import", file, "--trim").out
    assert store.count_messages("long") == 101


@pytest.mark.parametrize("trim", [False, True])
def test_a_stored_session_that_would_grow_beyond_the_history_loses_nothing_without_trim(
    store: Store, tmp_path: Path, trim: bool
) -> None:
    store.run("import", write(tmp_path / "first.jsonl", long_line(100)))
    line = {"conversation": "long", "user": "u", "messages": [{"id": "new", "from": "user", "text": "new"}]}
    half = long_line(60) | {"conversation": "half"}
    rest = {
        "conversation": "half",
        "user": "u",
        "messages": [{"from": "user", "id": f"r{i}", "text": "x"} for i in range(60)],
    }
    store.ask(lambda manager: manager.create_session("u", session_id="half"))
    file = write(tmp_path / "in.jsonl", half, rest)
    done = store.run("import", file, "--json", *(["--trim"] if trim else []))
    assert done.code == (0 if trim else 1)
    assert (done.json["messagesStored"], done.json["messagesDropped"]) == ((120, 20) if trim else (60, 0))
    assert store.count_messages("half") == (120 if trim else 60)
    assert store.run("import", write(tmp_path / "new.jsonl", line)).code == 1


def test_an_export_of_a_store_with_a_larger_bound_is_not_cut_silently(
    store: Store, other: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_MESSAGE_HISTORY", "300")
    build_sessions(store)
    file = str(tmp_path / "out.jsonl")
    store.run("export", file)
    monkeypatch.delenv("MAX_MESSAGE_HISTORY")
    refused = other.run("import", file, "--json")
    assert (refused.code, refused.json["sessionsCreated"], refused.json["messagesStored"]) == (1, 2, 2)
    trimmed = other.run("import", file, "--trim", "--json").json
    assert (trimmed["messagesStored"], trimmed["messagesDropped"], trimmed["duplicates"]) == (100, 150, 2)
    assert [message.seq for message in other.history("trimmed")] == list(range(151, 251))


def test_a_line_whose_messages_may_all_be_trimmed_is_reported_and_not_guessed_about(
    store: Store, tmp_path: Path
) -> None:
    store.run("create", "u", "--session-id", "long")
    store.ask(lambda manager: manager.add_messages("long", long_line(150)["messages"]))
    file = write(tmp_path / "other.jsonl", GOOD % b"long")
    done = store.run("import", file)
    assert done.code == 1
    assert "line 1: The stored session has had 150 messages and holds none of the line's." in done.err
    line = {"conversation": "long", "user": "u", "messages": [{"id": "new", "from": "user", "text": "x"}]}
    done = store.run("import", write(tmp_path / "new.jsonl", line))
    assert done.code == 1
    assert "so nothing was added" in done.err
    assert store.count_messages("long") == 150


def test_an_import_that_was_killed_goes_on_where_it_was_killed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_MESSAGE_HISTORY", "10000")
    file = write(tmp_path / "in.jsonl", *(GOOD % b"s%d" % i for i in range(20)), long_line(10_000))
    process = store.start("import", file)
    store.wait_for_messages("long", 1000)
    process.kill()
    process.communicate()
    before = store.count_messages("long")
    assert 1000 <= before < 10_000
    again = store.run("import", file, "--json").json
    assert store.count_messages("long") == 10_000
    assert again["duplicates"] == before + 20
    assert [message.text for message in store.history("long")] == [f"message {i}" for i in range(1, 10_001)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_an_import_that_waits_for_its_input(store: Store, number: signal.Signals, code: int) -> None:
    process = store.start("import", "-")
    process.stdin.write(GOOD % b"s1" + b"\n" + (GOOD % b"s2")[:20])
    process.stdin.flush()
    store.wait_for_messages("s1", 1)
    process.send_signal(number)
    assert process.wait(timeout=10) == code  # with its input still open
    out, err = process.communicate()
    assert err.decode() == "Stopped after 1 lines. Run the command again: no message is stored twice.\n"
    assert "messages stored          1" in out.decode()


def test_an_import_from_standard_input_may_come_piece_by_piece_and_packed(store: Store) -> None:
    process = store.start("import", "-", "--json")
    packed = gzip.compress(GOOD % b"s1" + b"\n" + GOOD % b"s2" + b"\n")
    process.stdin.write(packed[:1])
    process.stdin.flush()
    process.stdin.write(packed[1:30])
    process.stdin.flush()
    out, err = process.communicate(packed[30:], timeout=10)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["sessionsCreated"] == 2


def test_an_import_from_a_named_pipe_waits_for_its_writer(store: Store, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(GOOD % b"s1"))
    process = store.start("import", str(pipe), "--json")
    writer.start()
    out, _ = process.communicate(timeout=10)
    writer.join()
    assert (process.returncode, json.loads(out)["sessionsCreated"]) == (0, 1)


def test_a_store_that_fails_stops_the_import_and_says_how_far_it_came(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_MESSAGE_HISTORY", "2000")
    store.run("create", "u", "--session-id", "s1")
    with sqlite3.connect(store.path) as db:
        db.execute(
            "CREATE TRIGGER full BEFORE INSERT ON messages WHEN NEW.seq > 1200 BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    db.close()
    file = write(tmp_path / "in.jsonl", GOOD % b"s1", b"{", long_line(1500))
    failed = store.run("import", file)
    assert failed.code == 5
    assert "messages stored          1001" in failed.out
    bad, stopped, error, _ = failed.err.splitlines()
    assert bad.startswith("error: line 2: ")
    assert stopped == "Stopped after 2 lines. Run the command again: no message is stored twice."
    assert error.startswith("error: ")
    told = store.run("import", file, "--json")
    assert (told.code, told.json["lines"]) == (5, 2)
    assert json.loads(told.err.splitlines()[1])["error"]["code"].startswith("store")


def test_the_ttl_is_for_sessions_that_bring_none(store: Store, tmp_path: Path) -> None:
    session = {"createdAt": "2026-01-01T00:00:00Z", "lastActiveAt": "2026-01-01T00:00:00Z", "ttl": None}
    lines = ({"conversation": "own", "user": "u", "messages": [], "session": session}, GOOD % b"none")
    assert store.run("import", write(tmp_path / "in.jsonl", *lines), "--ttl", "77").code == 0
    assert store.run("ttl", "own", "--json").json["ttl"] == -1
    assert store.run("show", "none", "--json").json["ttl"] == 77


def build_sessions(store: Store) -> None:
    names = {name: [name] for name in ("conversation", "user", "messages", "session", "metadata")}
    store.ask(lambda manager: build_edge_case_sessions(manager, "用户:1", names))


def test_an_import_of_an_export_gives_the_same_sessions_messages_and_numbers(
    store: Store, other: Store, tmp_path: Path
) -> None:
    build_sessions(store)
    file = str(tmp_path / "out.jsonl.gz")
    done = store.run("export", file, "--json")
    assert (done.code, done.err) == (0, "")
    assert (done.json["file"], done.json["sessions"], done.json["messages"]) == (file, 3, 102)
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert other.run("import", file).code == 0
    for session_id in ("odd", "empty", "trimmed"):
        ours, theirs = (s.run("show", session_id, "--json").json for s in (store, other))
        assert ours | {"lastActiveAt": ""} == theirs | {"lastActiveAt": ""}
        assert store.history(session_id) == other.history(session_id)
    assert other.run("import", file, "--json").json["duplicates"] == 102


def test_an_import_of_an_export_into_its_own_store_changes_nothing(store: Store, tmp_path: Path) -> None:
    build_sessions(store)
    file = str(tmp_path / "out.jsonl")
    store.run("export", file)
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE messages SET element = CAST('{damaged' AS BLOB) WHERE session_id = 'trimmed' AND seq = 200")
    db.close()
    damaged = str(tmp_path / "damaged.jsonl")
    store.run("export", damaged)
    before = {session_id: store.history(session_id) for session_id in ("odd", "empty", "trimmed")}
    done = store.run("import", damaged, "--json")
    assert (done.code, done.json["messagesStored"], done.json["duplicates"]) == (0, 0, 102)
    assert {session_id: store.history(session_id) for session_id in before} == before


def test_an_exported_session_that_lived_on_is_recognized_by_its_creation(store: Store, tmp_path: Path) -> None:
    build_sessions(store)
    file = str(tmp_path / "out.jsonl")
    store.run("export", file)
    later = [{"from": "user", "text": f"later {i}"} for i in range(120)]
    store.ask(lambda manager: manager.add_messages("trimmed", later))
    done = store.run("import", file, "--json")
    assert (done.code, done.json["messagesStored"], done.json["duplicates"]) == (0, 0, 102)
    assert store.count_messages("trimmed") == 370


def test_an_exported_session_killed_between_its_making_and_its_messages_is_completed(
    store: Store, other: Store, tmp_path: Path
) -> None:
    build_sessions(store)
    file = tmp_path / "out.jsonl"
    store.run("export", str(file))
    [line] = [line for line in map(json.loads, file.read_text().splitlines()) if line["conversation"] == "trimmed"]
    begun = line | {"messages": []}
    begun["session"] = line["session"] | {"messageCount": 150}
    other.run("import", write(tmp_path / "begun.jsonl", begun))
    assert other.count_messages("trimmed") == 150
    assert other.run("import", write(tmp_path / "whole.jsonl", line), "--json").json["messagesStored"] == 100
    assert other.history("trimmed") == store.history("trimmed")


@pytest.mark.parametrize("raw", [b"{damaged", b"\xff\xfe" * 20_000])
def test_an_unreadable_message_is_exported_as_it_is_and_imported_without_loss(
    store: Store, other: Store, tmp_path: Path, raw: bytes
) -> None:
    store.run("create", "u", "--session-id", "s1")
    store.run("say", "s1", "damaged")
    store.run("say", "s1", "fine")
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE messages SET element = ? WHERE seq = 1", (raw,))
    db.close()
    file = str(tmp_path / "out.jsonl")
    assert store.run("export", file).code == 0
    assert other.run("import", file).code == 0
    assert other.run("import", file, "--json").json["duplicates"] == 2
    damaged, fine = other.history("s1")
    assert (damaged.type, damaged.seq, fine.text) == ("unreadable", 1, "fine")
    text = raw.decode(errors="backslashreplace")
    assert text == damaged.extra.get("raw", damaged.text)


def test_an_export_of_one_user_has_only_that_user_s_sessions(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    store.run("create", "u", "--session-id", "s1")
    store.run("create", "v", "--session-id", "s2")
    shown = store.run("export", "--user", "v")
    assert shown.json["conversation"] == "s2"
    assert shown.err == "1 sessions with 0 messages exported\n"
    assert len(store.run("export", "-", "--json").out.splitlines()) == 2


def test_many_sessions_are_exported_each_once(store: Store, tmp_path: Path) -> None:
    store.run("import", write(tmp_path / "in.jsonl", *(GOOD % b"s%d" % i for i in range(100))))
    file = tmp_path / "out.jsonl"
    assert "sessions   100" in store.run("export", str(file)).out
    names = [json.loads(line)["conversation"] for line in file.read_text().splitlines()]
    assert sorted(names) == sorted(f"s{i}" for i in range(100))


def test_an_export_that_fails_leaves_the_old_file_and_no_half_one(store: Store, tmp_path: Path) -> None:
    for i in range(40):
        store.run("create", "u", "--session-id", f"s{i}")
    with sqlite3.connect(store.path) as db:
        db.execute("ALTER TABLE messages RENAME TO hidden")
    db.close()
    folder = tmp_path / "exports"
    folder.mkdir()
    file = folder / "out.jsonl"
    file.write_text("the old one")
    failed = store.run("export", str(file))
    assert (failed.code, failed.out) == (5, "")
    assert file.read_text() == "the old one"
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize("path", ["", "no/such/folder.jsonl", "/dev/null"])
def test_an_export_to_what_is_no_file_is_an_error_that_names_it(store: Store, tmp_path: Path, path: str) -> None:
    store.run("create", "u")
    failed = store.run("export", str(tmp_path / path))
    assert failed.code == 1
    assert failed.err.startswith(f"error: {tmp_path / path}: ")
    assert Path("/dev/null").is_char_device()


def test_an_export_into_a_pipe_ends_when_its_reader_does(store: Store, tmp_path: Path) -> None:
    line = long_line(100)
    line["messages"][0]["text"] = "x" * 10_000
    store.run("import", write(tmp_path / "in.jsonl", *(line | {"conversation": f"s{i}"} for i in range(50))))
    process = store.start("export")
    assert process.stdout.read(10) == b'{"conversa'
    process.stdout.close()
    assert process.wait(timeout=10) == 1
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()


def test_a_signal_ends_an_export_whose_reader_does_not_read(store: Store, tmp_path: Path) -> None:
    line = long_line(90) | {"pad": "x" * 60_000}
    store.run("import", write(tmp_path / "in.jsonl", *(line | {"conversation": f"s{i}"} for i in range(20))))
    process = store.start("export")
    assert process.stdout.read(10) == b'{"conversa'
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    _, err = process.communicate()
    assert err == b""


def test_the_progress_is_shown_on_a_terminal_only(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", *(GOOD % b"s%d" % i for i in range(300)))
    ours, theirs = pty.openpty()
    for words, shown in ((("import", file), b"importing"), (("export", str(tmp_path / "out")), b"exporting")):
        process = store.start(*words, stdin=subprocess.DEVNULL, stderr=theirs)
        assert process.wait(timeout=20) == 0
        process.stdout.close()
        assert shown in os.read(ours, 65_536)
    os.close(ours)
    os.close(theirs)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared dialogues are not here")
def test_real_dialogues_come_out_of_an_export_as_they_went_in(store: Store, tmp_path: Path) -> None:
    assert store.run("import", str(SHARED), "--user", "visitor").code == 0
    file = tmp_path / "out.jsonl.gz"
    assert store.run("export", str(file)).code == 0

    def read(path: Path) -> dict[str, Any]:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return {
                line["conversation"]: (line["services"], [(m["from"], m["text"]) for m in line["messages"]])
                for line in map(json.loads, lines)
            }

    assert read(file) == read(SHARED)
