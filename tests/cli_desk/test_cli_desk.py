"""The commands of an operator: what is taken, answered, transferred and handed back, and with which exit code."""

import asyncio
import json
import subprocess
from typing import Any

import pytest

from chat_session import Desk, SessionManager
from chat_session.cli import main
from chat_session.cli.handoffs import _show_taken
from testkit.backends import StartBackend
from testkit.command_line import RunCommand, start_command
from testkit.desk_sessions import Do, fill_desk, on_desk

# take


def test_the_next_session_is_that_of_the_highest_priority_and_it_is_shown_who_the_customer_is(
    cli: RunCommand, do: Do
) -> None:
    do(fill_desk)
    taken = cli("take", "--operator", "ann")
    assert (taken.code, taken.err) == (0, "")
    for text in ("high", "u2", "metadata vip", "assigned to ann since", "billing", "Where is my order?", "refund"):
        assert text in taken.out
    second = cli("take", "--operator", "ben", "--json").json
    assert (second["session"]["userId"], second["session"]["cs:desk"]["operatorId"]) == ("王小明", "ben")
    assert [message["text"] for message in second["messages"]] == [
        "A person was asked for.",
        "One moment, please.",
        "Operator ben took the session from the queue.",
    ]


def test_that_nobody_waits_is_said_and_is_exit_code_1(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    assert cli("take", "--operator", "ann", "--team", "x", "--team", "y") == (
        1,
        "Nobody waits for team 'x' or team 'y'.\n",
        "",
    )
    assert cli("take", "--operator", "ann", "--team", "x", "--team", "billing").code == 0
    assert cli("take", "--operator", "ann").code == 0
    assert cli("take", "--operator", "ann") == (1, "Nobody waits for a person.\n", "")
    nobody = cli("take", "--operator", "ann", "--json")
    assert (nobody.code, nobody.json) == (1, {"session": None, "messages": []})


def test_a_session_is_taken_by_its_id_whoever_has_it(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    for operator in ("ann", "ben"):
        assert f"assigned to {operator}" in cli("take", "free", "--operator", operator).out
    refused = cli("take", "free", "--operator", "ann", "--expect-waiting")
    assert (refused.code, refused.out) == (4, "")
    assert refused.err.startswith("error: The session 'free' is assigned to operator 'ben' since 20")
    assert refused.err.splitlines()[1] == "code: desk_conflict"
    assert cli("take", "low", "--operator", "ann", "--expect-waiting").code == 0


def test_beyond_the_operator_s_capacity_the_next_session_stays_in_the_queue(cli: RunCommand, do: Do) -> None:
    do(fill_desk)

    async def be_full(_: SessionManager, desk: Desk) -> None:
        await desk.operator_seen("ann", capacity=0)

    do(be_full)
    refused = cli("take", "--operator", "ann", "--json")
    assert (refused.code, refused.out, refused.error["code"]) == (4, "", "operator_full")
    assert len(cli("desk", "--json").json["waiting"]) == 2


def test_only_the_newest_messages_are_shown(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    taken = cli("take", "high", "--operator", "ann", "--messages", "1", "--json").json
    assert [message["text"] for message in taken["messages"]] == ["Operator ann took over the session."]


@pytest.mark.parametrize(
    "words",
    [
        ("take",),
        ("take", "--operator", ""),
        ("take", "--operator", "a\nb"),
        ("take", "--operator", "ann", "--expect-waiting"),
        ("take", "high", "--operator", "ann", "--team", "billing"),
        ("take", "high", "--operator", "ann", "--messages", "0"),
        ("take", "--operator", "ann", "--team", " "),
        ("take", "no id", "--operator", "ann"),
        ("answer", "high", "x"),
        ("answer", "high", "x", "--operator", "ann", "--id", ""),
        ("hand-back", "high"),
        ("hand-back", "high", "--operator", "ann", "--note", ""),
        ("transfer", "high", "--operator", "ann"),
        ("transfer", "high", "--operator", "ann", "--to", "ben", "--team", "x"),
        ("transfer", "high", "--operator", "ann", "--to", "ann"),
    ],
)
def test_what_cannot_be_is_refused_with_exit_code_2_and_nothing_is_changed(
    cli: RunCommand, do: Do, words: tuple[str, ...]
) -> None:
    do(fill_desk)
    before = cli("show", "high", "--json").json
    refused = cli(*words)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: ")
    assert cli("show", "high", "--json").json == before


@pytest.mark.parametrize(
    "words", [("take", "nope"), ("answer", "nope", "x"), ("hand-back", "nope"), ("transfer", "nope", "--team", "x")]
)
def test_a_session_that_is_not_there_is_exit_code_3(cli: RunCommand, do: Do, words: tuple[str, ...]) -> None:
    do(fill_desk)
    missing = cli(*words, "--operator", "ann", "--json")
    assert (missing.code, missing.out, missing.error["code"]) == (3, "", "session_not_found")


def test_the_operator_may_come_from_the_environment(cli: RunCommand, do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    do(fill_desk)
    monkeypatch.setenv("CHAT_SESSION_OPERATOR", "王")
    assert "assigned to 王" in cli("take", "high").out
    assert "assigned to ann" in cli("take", "high", "--operator", "ann").out


def test_a_session_that_was_taken_is_shown_also_when_its_messages_cannot_be_read(
    do: Do, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    do(fill_desk)

    async def take_and_lose_the_store() -> int:
        manager = SessionManager.from_url(url)
        taken = await Desk(manager).take_over("high", "ann")
        await manager.close()
        return await _show_taken(manager, taken, 10, json=False)

    assert asyncio.run(take_and_lose_the_store()) == 2
    out, err = capfd.readouterr()
    assert "assigned to ann" in out
    assert "code: manager_closed" in err


# answer, hand-back, transfer


def test_an_answer_takes_the_session_over_and_is_stored_once(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    first = cli("answer", "high", "Hello", "--operator", "ann", "--id", "m1", "--json").json
    again = cli("answer", "high", "Hello", "--operator", "ann", "--id", "m1")
    assert (first["duplicate"], "it was stored before" in again.out) == (False, True)
    assert cli("show", "high", "--json").json["cs:desk"]["operatorId"] == "ann"
    last = cli("history", "high", "--json").json[-1]
    assert (last["from"], last["author"], last["text"]) == ("operator", "ann", "Hello")


def test_a_polite_answer_to_another_operator_s_session_is_a_conflict(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    cli("take", "high", "--operator", "ann")
    refused = cli("answer", "high", "Hello", "--operator", "ben", "--polite", "--json")
    assert (refused.code, refused.error["code"]) == (4, "desk_conflict")
    assert "operator 'ann'" in refused.error["message"]
    assert cli("answer", "high", "Hello", "--operator", "ann", "--polite").code == 0


def test_a_dash_answers_with_what_standard_input_has(cli: RunCommand, do: Do, url: str) -> None:
    do(fill_desk)
    words = ("answer", "high", "-", "--operator", "ann", "--url", url)
    process = start_command(*words, text=True, stdin=subprocess.PIPE)
    process.communicate("first line\nsecond 你好\n", timeout=10)
    assert process.returncode == 0
    assert cli("history", "high", "--json").json[-1]["text"] == "first line\nsecond 你好"


def test_a_session_is_handed_back_with_a_note_for_the_ai_and_a_sentence_for_the_customer(
    cli: RunCommand, do: Do
) -> None:
    do(fill_desk)
    cli("take", "high", "--operator", "ann")
    refused = cli("hand-back", "high", "--operator", "ben")
    assert (refused.code, refused.err.splitlines()[1]) == (4, "code: desk_conflict")
    words = ("--note", "refunded 20", "--say", "Goodbye!", "--resolved")
    given_back = cli("hand-back", "high", "--operator", "ann", *words)
    assert (given_back.code, "ai (epoch" in given_back.out) == (0, True)
    *_, marker, said = cli("history", "high", "--json").json
    assert (marker["internal"], marker["handoff"]["note"], marker["handoff"]["resolved"]) == (
        True,
        "refunded 20",
        True,
    )
    assert (said["from"], said["text"]) == ("assistant", "Goodbye!")
    public = cli("history", "high", "--public").out
    assert "refunded" not in public
    assert "ann" not in public


def test_a_session_is_transferred_to_an_operator_or_a_team_by_the_one_who_has_it(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    cli("take", "high", "--operator", "ann")
    assert cli("transfer", "high", "--operator", "ben", "--to", "cyd").code == 4
    assert "assigned to ben" in cli("transfer", "high", "--operator", "ann", "--to", "ben", "--note", "slowly").out
    moved = cli("transfer", "high", "--operator", "ben", "--team", "support", "--json").json
    assert (moved["cs:desk"]["state"], moved["cs:desk"]["team"]) == ("waiting", "support")
    assert [entry["sessionId"] for entry in cli("desk", "--team", "support", "--json").json["waiting"]] == ["high"]


def test_the_desk_s_state_stands_where_it_is_shown_who_answers(cli: RunCommand, do: Do) -> None:
    do(fill_desk)
    cli("take", "low", "--operator", "ann")
    shown = cli("show", "high").out
    for text in ("human (epoch 1)", "waiting since 20", "billing", "refund"):
        assert text in shown
    assert "desk" not in cli("show", "free").out
    rows = {line.split()[0]: line for line in cli("list").out.splitlines() if line.strip()}
    assert [word in rows[row] for row, word in (("high", "waiting"), ("low", "human"), ("free", "ai"))] == [True] * 3


@pytest.mark.parametrize("name", ["redis", "cluster", "sqlite"])
def test_a_session_passes_through_all_commands_on_each_kind_of_store(
    start_empty: StartBackend, capfd: pytest.CaptureFixture[str], url: str, name: str
) -> None:
    store = url if name == "sqlite" else start_empty(name).url
    on_desk(store, fill_desk)

    def run(*words: str) -> Any:
        code = main([*words, "--json", "--url", store])
        out, err = capfd.readouterr()
        assert (code, err) == (0, "")
        return json.loads(out)

    assert run("take", "--operator", "ann", "--team", "billing")["session"]["sessionId"] == "high"
    assert run("answer", "high", "Hello", "--operator", "ann")["message"]["author"] == "ann"
    assert run("transfer", "high", "--operator", "ann", "--to", "ben")["cs:desk"]["operatorId"] == "ben"
    found = run("desk")
    assert [entry["sessionId"] for entry in found["waiting"]] == ["low"]
    assert [(each["operatorId"], each["assigned"]) for each in found["operators"]] == [("ann", 0), ("ben", 1)]
    assert (found["stats"]["waiting"], found["stats"]["assigned"]) == ({"": 1}, 1)
    assert run("hand-back", "high", "--operator", "ben", "--resolved")["currentAgent"] == "ai"
    assert run("desk")["stats"]["hour"]["handBacks"] == 1
