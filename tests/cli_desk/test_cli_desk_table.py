"""The command desk: on a terminal, into a pipe, and as JSON."""

import asyncio
import re
import signal
import sqlite3
import time
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from chat_session import Desk, DeskEntry, DeskFigures, DeskPage, DeskStats, Operator, SessionManager
from chat_session.cli.desk_lines import desk_lines
from chat_session.cli.desk_table import desk_table
from chat_session.cli.desk_view import DeskView, span
from chat_session.clock import now
from testkit.command_line import RunCommand
from testkit.desk_sessions import Do, fill_desk, on_desk
from testkit.servers import Server
from testkit.terminal import Terminal, shown_of

PROMPT = 3  # seconds, where many tests share a processor


def test_the_desk_is_one_json_document(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    cli("take", "low", "--operator", "ann")
    shown = cli("desk", "--json")
    assert (shown.code, shown.err) == (0, "")
    found = shown.json
    assert found.keys() == {"at", "waiting", "cursor", "operators", "stats"}
    [entry], [operator] = found["waiting"], found["operators"]
    expected = {"sessionId": "high", "team": "billing", "priority": 8, "reason": "refund", "state": "waiting"}
    assert expected.items() <= entry.items()
    expected = {"operatorId": "ann", "available": True, "capacity": 5, "assigned": 1, "away": False}
    assert expected.items() <= operator.items()
    assert (found["stats"]["waiting"], found["stats"]["assigned"]) == ({"billing": 1}, 1)
    assert (found["stats"]["hour"]["requests"], found["stats"]["hour"]["takeovers"]) == (2, {"taken_over": 1})
    assert cli("desk", "--json", "--limit", "1", "--team", "support").json["waiting"] == []


def test_into_a_pipe_the_desk_is_written_once_as_plain_lines(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    cli("take", "low", "--operator", "ann")
    shown = cli("desk", "--interval", "0.1")
    assert (shown.code, shown.err) == (0, "")
    assert "\x1b" not in shown.out
    desk, waiting, operator, hour, day = shown.out.splitlines()
    assert re.fullmatch(r"desk: 1 waiting \(billing 1\), longest wait \d+ s; 1 assigned", desk)
    assert re.fullmatch(r"waiting: session high, team billing, priority 8, for \d+ s, reason: refund", waiting)
    assert re.fullmatch(r"operator: ann, available, 1 of 5 sessions, last sign \d+ s ago", operator)
    assert hour.startswith("last hour: requests 2; takeovers 1 (1 taken over); handed back 0; lapses 0; ")
    assert day.startswith("last day: requests 2; ")


def test_an_empty_desk_has_no_rows(cli: RunCommand, do: Do) -> None:
    do(lambda manager, _: manager.get_active_sessions_count())
    assert cli("desk").out.splitlines()[0] == "desk: 0 waiting; 0 assigned"
    assert len(cli("desk").out.splitlines()) == 3


@pytest.mark.parametrize("words", [("--interval", "0"), ("--interval", "nan"), ("--interval", "x"), ("--limit", "0")])
def test_what_the_desk_cannot_show_is_refused(cli: RunCommand, do: Do, words: tuple[str, ...]) -> None:
    do(fill_desk)
    assert cli("desk", *words).code == 2


def test_a_store_that_is_not_there_is_exit_code_5_and_no_file_is_made(cli: RunCommand, tmp_path: Path) -> None:
    for words in (("desk",), ("take", "--operator", "ann"), ("answer", "s", "x", "--operator", "ann")):
        assert cli(*words).code == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_on_a_terminal_the_desk_is_renewed_until_a_signal_ends_it(
    cli: RunCommand, do: Do, url: str, number: signal.Signals, code: int
) -> None:
    do(fill_desk)
    with Terminal("desk", "--interval", "0.1", "--url", url) as terminal:
        assert "No operator is present." in terminal.read_until("response (median, 95 %)")
        cli("take", "low", "--operator", "ann")
        assert "1 waiting (billing 1)" in terminal.read_until("1/5")
        terminal.process.send_signal(number)
        sent = time.monotonic()
        assert terminal.wait() == code
        assert time.monotonic() - sent < PROMPT
        assert terminal.written.rfind(b"\x1b[?25h") > terminal.written.rfind(b"\x1b[?25l") >= 0, "the cursor is back"
        assert b"Traceback" not in terminal.written


def test_whoever_looks_at_the_table_as_an_operator_is_present_all_the_time(cli: RunCommand, do: Do, url: str) -> None:
    do(fill_desk)

    def read_sign() -> Any:
        [operator] = cli("desk", "--json").json["operators"]
        assert operator["operatorId"] == "ann"
        return operator["seenAt"]

    with Terminal("desk", "--interval", "0.1", "--present-as", "ann", "--url", url) as terminal:
        terminal.read_until("0/5")
        first = read_sign()
        for _ in range(3):
            terminal.read_until("0/5")
        assert read_sign() > first
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130


@pytest.mark.parametrize(("lines", "columns"), [(24, 80), (40, 120), (5, 20)])
def test_the_table_is_never_higher_than_the_terminal(do: Do, url: str, lines: int, columns: int) -> None:
    async def fill_much(manager: SessionManager, desk: Desk) -> None:
        await asyncio.gather(*(manager.create_session("u", session_id=f"s{i:02}") for i in range(60)))
        for i in range(60):
            await desk.request_human(f"s{i:02}", reason="a long reason " * 20, team=f"team {i % 20}")

    do(fill_much)
    with Terminal("desk", "--interval", "0.1", "--url", url, lines=lines, columns=columns) as terminal:
        back = b"\r\x1b[2K"  # to the first line
        while terminal.written.count(back) < 3:
            terminal.read_until("60")  # so many wait
        frames = terminal.written.split(back)
        for frame in frames[:-1]:
            assert frame.count(b"\n") < lines
            assert frame.count(b"\x1b[1A") < lines


def test_the_desk_may_be_shown_once_on_a_terminal(do: Do, url: str) -> None:
    do(fill_desk)
    with Terminal("desk", "--once", "--url", url) as terminal:
        assert terminal.wait() == 0
        assert "prio" in shown_of(terminal.written)
        assert b"\x1b[?25l" not in terminal.written


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(do: Do, url: str) -> None:
    do(fill_desk)
    with Terminal("desk", "--url", url, kind="dumb", columns=80) as terminal:
        assert terminal.wait() == 0
        assert b"\x1b" not in terminal.written
        assert shown_of(terminal.written).startswith("desk: 2 waiting")


def test_a_look_that_failed_is_shown_and_the_next_one_comes(do: Do, url: str, tmp_path: Path) -> None:
    do(fill_desk)
    with Terminal("desk", "--interval", "0.1", "--url", url) as terminal:
        terminal.read_until("response (median, 95 %)")
        with sqlite3.connect(tmp_path / "chat.db") as db:
            db.execute("ALTER TABLE sessions RENAME TO hidden")
        assert "error: " not in terminal.written.decode()
        shown = terminal.read_until("error: ") + terminal.read_until("response (median, 95 %)")
        assert "2 waiting" in shown, "what was seen last still stands there"
        with db:
            db.execute("ALTER TABLE hidden RENAME TO sessions")
        db.close()
        while "error: " in terminal.read_until("response (median, 95 %)"):
            pass
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130


def test_a_server_that_is_away_for_a_while_does_not_end_the_table_or_tear_it(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_TIMEOUT", "2")
    monkeypatch.setenv("REDIS_RETRY_DELAY", "10")
    on_desk(own_server.url, fill_desk)
    with Terminal("desk", "--interval", "0.1", "--url", own_server.url) as terminal:
        terminal.read_until("response (median, 95 %)")
        seen = len(terminal.written)
        own_server.kill()
        terminal.read_until("error: ")
        terminal.read_until("response (median, 95 %)")
        own_server.start()
        while "error: " in terminal.read_until("response (median, 95 %)"):
            pass
        assert "warning" not in shown_of(terminal.written[seen:]), "a retry is told by the error alone"
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130


def test_ctrl_c_ends_the_table_within_a_second_while_the_server_does_not_answer(own_server: Server) -> None:
    on_desk(own_server.url, fill_desk)
    with Terminal("desk", "--interval", "0.1", "--url", own_server.url) as terminal:
        terminal.read_until("response (median, 95 %)")
        with own_server.frozen():
            terminal.process.send_signal(signal.SIGINT)
            sent = time.monotonic()
            assert terminal.wait() == 130
            assert time.monotonic() - sent < PROMPT
        assert terminal.written.rfind(b"\x1b[?25h") > 0, "the cursor is back"


# The words


AT = now()
NO_FIGURES = DeskFigures(
    requests=0,
    takeovers={},
    hand_backs=0,
    lapses=0,
    sessions_created=0,
    sessions_handled=0,
    wait_median=None,
    wait_p95=None,
    first_response_median=None,
    first_response_p95=None,
)
SOME_FIGURES = msgspec.structs.replace(
    NO_FIGURES,
    takeovers={"claimed": 2, "answered": 55},
    sessions_created=25,
    sessions_handled=3,
    wait_median=40.5,
    wait_p95=400.0,
)


def view_of(waiting: list[DeskEntry], operators: list[Operator], counts: dict[str, int], team: Any = None) -> DeskView:
    stats = DeskStats(waiting=counts, longest_wait=4900.0, assigned=0, hour=NO_FIGURES, day=SOME_FIGURES)
    return DeskView(DeskPage(waiting), operators, stats, AT, team)


def seen(name: str, ago: float | None, present: float) -> Operator:
    return Operator(
        operator_id=name,
        available=name != "busy",
        capacity=5,
        assigned=2,
        seen_at=None if ago is None else AT - timedelta(seconds=ago),
        present_until=AT + timedelta(seconds=present),
    )


def test_operators_are_available_or_not_or_away() -> None:
    operators = [seen("ann", 5, 115), seen("busy", 60, 60), seen("gone", 130, -10), seen("new", None, 100)]
    lines = [line for line in desk_lines(view_of([], operators, {})) if line.startswith("operator")]
    assert lines == [
        "operator: ann, available, 2 of 5 sessions, last sign 5 s ago",
        "operator: busy, not available, 2 of 5 sessions, last sign 1 min ago",
        "operator: gone, away, 2 of 5 sessions, last sign 2 min ago",
        "operator: new, available, 2 of 5 sessions, no sign yet",
    ]


def test_figures_are_shares_and_spans_where_there_are_any() -> None:
    *_, hour, day = desk_lines(view_of([], [], {}))
    assert hour == (
        "last hour: requests 0; takeovers 0; handed back 0; lapses 0; people handled 0 of 0 new sessions; "
        "wait (median, 95 %) none; response (median, 95 %) none"
    )
    assert day == (
        "last day: requests 0; takeovers 57 (2 claimed, 55 answered); handed back 0; lapses 0; "
        "people handled 3 of 25 new sessions (12%); wait (median, 95 %) 40 s, 6 min; response (median, 95 %) none"
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0 s"), (0.9, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (11_100, "3 h 5 min")],
)
def test_a_span_is_in_two_units_at_most(seconds: float, words: str) -> None:
    assert span(seconds) == words
    assert span(187_200) == "2 d 4 h"


@pytest.mark.parametrize("team", [None, "b"])
def test_those_who_do_not_fit_are_counted(team: str | None) -> None:
    entries = [
        DeskEntry(session_id=f"s{i:03}", state="waiting", waiting_since=AT - timedelta(seconds=500), team="b")
        for i in range(50)
    ]
    view = view_of(entries, [seen(f"op{i}", 5, 100) for i in range(30)], {"b": 200, "": 3}, team)
    total = 203 if team is None else 200
    assert f"waiting: {total - 50} more" in list(desk_lines(view))
    for lines in (24, 40, 70):
        console = Console(width=120, height=lines, file=StringIO(), markup=False)
        with console.capture() as captured:
            console.print(desk_table(view, console, lines - 1))
        text = captured.get()
        shown = len(re.findall(r"^s\d+", text, re.MULTILINE))
        assert 0 < shown <= 50
        assert text.count("\n") < lines
        assert f"… {total - shown} more wait" in text
        assert "more operators" in text


def test_many_teams_are_named_the_longest_queues_first() -> None:
    counts = {"": 3, **{f"t{i}": i + 10 for i in range(9)}}
    first = next(desk_lines(view_of([], [], counts)))
    assert "(t8 18, t7 17, t6 16, t5 15, t4 14, t3 13, t2 12, t1 11, 2 more teams)" in first
