"""What people wrote to the desk never controls a terminal."""

import json
import os
import re
import signal
import sqlite3
from pathlib import Path

import pytest

from chat_session import Desk, SessionManager
from testkit.command_line import RunCommand, start_command
from testkit.desk_sessions import Do
from testkit.terminal import Terminal, shown_of

HOSTILE = "\x1b[31m\x9b\u202e\u2028\x7f"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]")
WIDE = "你好 👋"


@pytest.fixture
def hostile(do: Do) -> None:
    """Two sessions, one that waits and one that is assigned, whose every text is hostile."""

    async def fill_hostile(manager: SessionManager, desk: Desk) -> None:
        await manager.create_session(WIDE, {"note": WIDE + HOSTILE}, session_id="s1")
        await manager.create_session(WIDE, session_id="s2")
        await manager.add_message("s1", {"from": "user", "text": WIDE + HOSTILE})
        for session_id in ("s1", "s2"):
            await desk.request_human(session_id, reason=f"{WIDE}\n{HOSTILE}", team=f"{WIDE}\u202e", say=WIDE + HOSTILE)
        await desk.take_over("s2", f"{WIDE}\u202e")
        await desk.note("s2", f"{WIDE}\u202e", WIDE + HOSTILE)

    do(fill_hostile)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    "words",
    [
        ("desk",),
        ("show", "s1"),
        ("show", "s2"),
        ("take", "s1", "--operator", f"{WIDE}\u202e"),
        ("take", "--operator", "ann"),
        ("take", "s1", "--operator", "ann", "--expect-waiting"),
        ("take", "s2", "--operator", "ann", "--expect-waiting"),
        ("take", "--operator", "ann", "--team", f"{WIDE}\u202e2"),
        ("answer", "s1", WIDE + HOSTILE, "--operator", f"{WIDE}\u202e"),
        ("answer", "s2", WIDE, "--operator", "ann", "--polite"),
        ("transfer", "s2", "--operator", f"{WIDE}\u202e", "--team", f"{WIDE}\u202e3"),
        ("hand-back", "s2", "--operator", f"{WIDE}\u202e", "--note", WIDE + HOSTILE),
        ("take", "--operator", HOSTILE),
        ("transfer", "s1", "--operator", "ann", "--to", HOSTILE),
    ],
)
def test_what_people_wrote_is_shown_and_not_obeyed(cli: RunCommand, words: tuple[str, ...]) -> None:
    shown = cli(*words)
    assert shown.out + shown.err
    assert not CONTROLS.search(shown.out)
    assert not CONTROLS.search(shown.err)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    "words", [("desk",), ("desk", "--once"), ("desk", "--json"), ("take", "--json", "--operator", "ann")]
)
def test_on_a_terminal_no_text_controls_it_as_json_or_as_a_table(url: str, words: tuple[str, ...]) -> None:
    with Terminal(*words, "--url", url) as terminal:
        if words == ("desk",):
            assert "\\x1b[31m\\x9b" in terminal.read_until("response (median, 95 %)")
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.wait() == 130
        else:
            assert terminal.wait() == 0
        assert b"\x1b[31m" not in terminal.written
        shown = shown_of(terminal.written)
        assert not CONTROLS.search(shown)
        assert WIDE in shown
        if "--json" in words:
            assert json.loads(shown)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("encoding", ["latin-1", "cp936", "ascii"])
def test_a_character_that_a_terminal_does_not_have_is_replaced(url: str, encoding: str) -> None:
    for words in (("desk",), ("take", "s1", "--operator", "ann"), ("show", "s1")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        process = start_command(*words, "--url", url, env=environment)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, b"")
        assert not CONTROLS.search(out.decode(encoding))


@pytest.mark.usefixtures("hostile")
def test_ids_and_names_that_the_package_would_refuse_are_shown_and_not_obeyed(cli: RunCommand, tmp_path: Path) -> None:
    """They are written into the file by another program."""
    bad = f"a\n{HOSTILE}"
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("UPDATE operators SET operator_id = ?", (bad,))
        db.execute("UPDATE sessions SET desk_operator = ? WHERE session_id = 's2'", (bad,))
        db.execute("UPDATE sessions SET session_id = ?, desk_team = ? WHERE session_id = 's1'", (bad, bad))
        db.execute("UPDATE sessions SET desk = CAST(replace(CAST(desk AS TEXT), ?, ?) AS BLOB)", (WIDE, "\\u001b[31m"))
    db.close()
    for words in (("desk",), ("desk", "--json"), ("show", "s2"), ("list",), ("take", "--operator", "ann")):
        shown = cli(*words)
        assert shown.out + shown.err
        if "--json" not in words:
            assert not CONTROLS.search(shown.out), words
        assert not CONTROLS.search(shown.err), words
        assert len(shown.out.splitlines()) == 5 or words != ("desk",)
