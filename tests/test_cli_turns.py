"""The commands about turns: which sessions wait for a worker, and how a worker is stopped."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chat_session import Desk, SessionManager, TurnLost
from chat_session.cli import main
from testkit.backends import StartBackend, store_of
from testkit.command_line import CommandResult, RunCommand, start_command
from testkit.terminal import Terminal, shown_of


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/chat.db"


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], url: str) -> RunCommand:
    """Run one command line in this process, on the store of this test."""

    def run_one(*arguments: str) -> CommandResult:
        code = main([*arguments, "--url", url])
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return run_one


def on_store(url: str, work: Callable[[SessionManager], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with SessionManager.from_url(url, turns=True) as manager:
            return await work(manager)

    return asyncio.run(run())


async def fill(manager: SessionManager) -> None:
    """``first`` and ``second`` wait for a worker; the others wait for a person, are answered, or have no turns."""
    for session_id in ("first", "second", "human", "answered"):
        await manager.create_session(f"user of {session_id}", session_id=session_id)
        await manager.add_message(session_id, {"from": "user", "text": "Hello?", "timestamp": "2026-01-31T08:00:00Z"})
    await manager.create_session("u", session_id="without", turns=False)
    await manager.add_message("without", {"from": "user", "text": "Hello?"})
    await manager.add_message("second", {"from": "user", "text": "Is anybody\nthere? \x1b[31m"})
    await Desk(manager).request_human("human")
    async with manager.turn("answered") as turn:
        await turn.reply("Hello.")


def test_the_sessions_that_wait_are_listed_with_the_customer_s_last_words(cli: RunCommand, url: str) -> None:
    on_store(url, fill)
    listed = cli("pending")
    assert (listed.code, listed.err) == (0, "")
    first, second = listed.out.splitlines()
    assert first.startswith("pending: session first, user user of first, for ")
    assert first.endswith(", text: Hello?")
    assert second.endswith(", text: Is anybody there? \\x1b[31m")
    document = cli("pending", "--json").json
    assert [each["sessionId"] for each in document] == ["first", "second"]
    assert document[1] == {
        "sessionId": "second",
        "userId": "user of second",
        "since": "2026-01-31T08:00:00.000Z",
        "text": "Is anybody\nthere? \x1b[31m",
    }
    assert [each["sessionId"] for each in cli("pending", "--limit", "1", "--json").json] == ["first"]


def test_that_nobody_waits_is_said(cli: RunCommand, url: str) -> None:
    on_store(url, lambda manager: manager.create_session("u"))
    assert cli("pending") == (0, "No session waits for a worker.\n", "")
    assert cli("pending", "--json").json == []


def test_a_limit_that_is_none_is_exit_code_2(cli: RunCommand, url: str) -> None:
    on_store(url, fill)
    assert cli("pending", "--limit", "0").code == 2


def test_a_session_that_cannot_be_read_hides_no_other(cli: RunCommand, url: str) -> None:
    async def damage(manager: SessionManager) -> None:
        await fill(manager)

        def update(db: Any) -> None:
            db.execute("UPDATE sessions SET metadata = x'78' WHERE session_id = 'first'")

        await store_of(manager)._writer.run("damage", update)

    on_store(url, damage)
    listed = cli("pending", "--json")
    assert (listed.code, [each["sessionId"] for each in listed.json]) == (1, ["second"])
    assert listed.error["code"] == "store_corrupt"


def test_the_worker_of_a_session_is_stopped_and_the_question_waits_again(cli: RunCommand, url: str) -> None:
    on_store(url, fill)

    async def work(manager: SessionManager) -> None:
        async with manager.turn("first"):
            process = start_command("stop-turn", "first", "--url", url, text=True)
            out, err = await asyncio.to_thread(process.communicate, timeout=10)
            assert (process.returncode, out, err) == (0, "session first: the turn was stopped\n", "")
            await asyncio.Event().wait()

    with pytest.raises(TurnLost, match="stop_turn was called"):
        on_store(url, work)
    assert [each["sessionId"] for each in cli("pending", "--json").json] == ["first", "second"]


def test_that_there_was_no_turn_to_stop_is_exit_code_1_and_no_session_is_3(cli: RunCommand, url: str) -> None:
    on_store(url, fill)
    assert cli("stop-turn", "second") == (1, "session second: no worker has the turn\n", "")
    stopped = cli("stop-turn", "second", "--json")
    assert (stopped.code, stopped.json) == (1, {"sessionId": "second", "success": False})
    missing = cli("stop-turn", "nope", "--json")
    assert (missing.code, missing.error["code"]) == (3, "session_not_found")


@pytest.mark.parametrize("name", ["redis", "cluster"])
def test_what_waits_on_servers_is_listed_too(
    start_empty: StartBackend, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    store = start_empty(name).url
    on_store(store, fill)
    assert main(["pending", "--json", "--url", store]) == 0
    assert [each["sessionId"] for each in json.loads(capfd.readouterr().out)] == ["first", "second"]


def test_on_a_terminal_it_is_a_table(url: str) -> None:
    on_store(url, fill)
    with Terminal("pending", "--url", url) as terminal:
        assert terminal.wait() == 0
        shown = shown_of(terminal.written)
    for text in ("session", "user of second", "Is anybody there? \\x1b[31m"):
        assert text in shown
    assert "pending:" not in shown
