"""What is never written to a terminal: stored control characters, and characters that it cannot show."""

import asyncio
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager

HOSTILE = "\x1b[31m\x9b\u202e\u2028\x7f"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]")
TEXT = "你好 é 👋"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store of one session, ``s1`` of ``u``, with hostile texts."""
    url = f"sqlite:///{tmp_path}/chat.db"

    async def fill() -> None:
        async with SessionManager.from_url(url) as manager:
            await manager.create_session("u", {"note": TEXT + HOSTILE}, session_id="s1")
            await manager.add_message("s1", {"from": "user", "text": TEXT + HOSTILE})
            await manager.create_session(f"{TEXT}\u202e", session_id="s2")

    asyncio.run(fill())
    return url


def run(*arguments: str, encoding: str = "utf-8", on_terminal: bool = False) -> tuple[int, bytes, bytes]:
    """Run a command in a process of its own. Returns its exit code and what it wrote to both streams."""
    command = [sys.executable, "-m", "chat_session", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "TERM": "dumb", "NO_COLOR": "1"}
    if not on_terminal:
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        return done.returncode, done.stdout, done.stderr
    terminals = [pty.openpty() for _ in range(2)]
    (_, out), (_, err) = terminals
    code = subprocess.run(command, env=environment, check=False, stdout=out, stderr=err).returncode
    written = []
    for ours, theirs in terminals:
        os.set_blocking(ours, False)
        try:
            written.append(os.read(ours, 100_000).replace(b"\r\n", b"\n"))
        except BlockingIOError:
            written.append(b"")
        os.close(ours)
        os.close(theirs)
    return code, written[0], written[1]


@pytest.mark.parametrize("words", [("show", "s1"), ("history", "s1"), ("list",), ("list", "u"), ("export",)])
def test_json_on_a_terminal_has_no_control_characters_and_says_the_same(url: str, words: tuple[str, ...]) -> None:
    plain, shown = (run(*words, "--json", "--url", url, on_terminal=terminal) for terminal in (False, True))
    assert plain[0] == shown[0] == 0
    assert TEXT in plain[1].decode()
    assert TEXT in shown[1].decode()
    assert not CONTROLS.search(shown[1].decode())
    assert decode(shown[1]) == decode(plain[1])


def decode(documents: bytes) -> Any:
    """One document, or one for each line."""
    try:
        return json.loads(documents)
    except ValueError:
        return sorted(documents.splitlines()) and sorted(map(repr, map(json.loads, documents.splitlines())))


def test_json_on_a_terminal_that_is_not_utf_8_is_ascii_and_says_the_same(url: str) -> None:
    plain, shown = (run("show", "s1", "--json", "--url", url, encoding="cp936", on_terminal=t) for t in (False, True))
    assert shown[1].isascii()
    assert json.loads(shown[1]) == json.loads(plain[1].decode("utf-8"))


def test_an_error_as_json_on_a_terminal_has_no_control_characters(url: str) -> None:
    code, _, errors = run("count", "--\u202eé", "--json", "--url", url, on_terminal=True)
    assert code == 2
    assert "--\u202eé" in json.loads(errors)["error"]["message"]
    assert not CONTROLS.search(errors.decode())


def test_ids_agents_and_senders_that_are_no_such_thing_are_shown_and_not_obeyed(url: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("UPDATE sessions SET session_id = ?, user_id = ? WHERE session_id = 's2'", ("s" + HOSTILE, "v"))
        db.execute("UPDATE sessions SET current_agent = ? WHERE session_id = 's1'", ("ai" + HOSTILE,))
    db.close()
    for words in (("list",), ("list", "u"), ("list", "v"), ("show", "s1"), ("export",), ("doctor",)):
        _, shown, errors = run(*words, "--url", url)
        if words != ("export",):
            assert not CONTROLS.search(shown.decode())
        assert not CONTROLS.search(errors.decode())


COMMANDS: list[list[str]] = [
    ["demo"],
    ["create", TEXT, "--meta", f"k={TEXT}"],
    ["show", "s1"],
    ["history", "s1"],
    ["say", "s1", TEXT],
    ["switch", "s1", "human", "--note", TEXT],
    ["update", "s1", f"k={TEXT}"],
    ["list"],
    ["list", TEXT],
    ["count"],
    ["doctor"],
    ["cleanup"],
    ["import", "in.jsonl"],
    ["export", f"{TEXT}.jsonl"],
    ["export"],
    ["ttl", "s1"],
    ["delete", "s1"],
]
REFUSED: list[list[str]] = [["show", f"s1{TEXT}"], ["import", f"no {TEXT}.jsonl"], [TEXT], ["list", HOSTILE]]

RUN_ALL = """if True:
    import json, sys
    from chat_session.cli import main
    codes = [main(words) for words in json.loads(sys.argv[1])]
    sys.stderr.write("\\n" + json.dumps(codes))
"""


@pytest.mark.parametrize("encoding", ["latin-1", "cp936", "ascii"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_character_that_a_terminal_does_not_have_is_replaced_in_every_command(
    url: str, tmp_path: Path, options: tuple[str, ...], encoding: str
) -> None:
    line = {"conversation": "s3", "user": TEXT, "messages": [{"from": "user", "text": TEXT}]}
    (tmp_path / "in.jsonl").write_text(json.dumps(line))
    lines = [[*words, *options, "--url", url] for words in (*COMMANDS, *REFUSED)]
    command = [sys.executable, "-c", RUN_ALL, json.dumps([*lines, ["--help"], ["create", "--help"]])]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    *errors, codes = done.stderr.decode("utf-8" if options else encoding).splitlines()
    assert json.loads(codes) == [0] * len(COMMANDS) + [2, 1, 2, 2] + [0, 0]
    if options:  # JSON is UTF-8 always
        told = [json.loads(error)["error"]["message"] for error in errors if error]
        assert len(told) == len(REFUSED)
        assert f"no {TEXT}.jsonl" in told[1]
    else:
        assert b"?" in done.stdout
        assert sum(error.startswith("error: ") for error in errors) == len(REFUSED)
