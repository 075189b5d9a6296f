"""The command watch, in a process of its own, while another one writes."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chat_session import Desk, SessionManager
from chat_session.cli import main
from testkit.backends import StartBackend
from testkit.command_line import PipedProcess, start_command
from testkit.terminal import Terminal

LONGEST = 20  # seconds, where many tests share a processor


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/chat.db"


def on_store(url: str, work: Callable[[SessionManager], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with SessionManager.from_url(url) as manager:
            return await work(manager)

    return asyncio.run(run())


def create(url: str) -> None:
    on_store(url, lambda manager: manager.create_session("ann", session_id="s", ttl=600))


def say(url: str, text: str, **fields: Any) -> None:
    on_store(url, lambda manager: manager.add_message("s", {"from": "user", "text": text, **fields}))


@contextmanager
def watching(url: str, *words: str) -> Iterator[PipedProcess[str]]:
    process = start_command("watch", "s", *words, "--url", url, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_line(process: PipedProcess[str]) -> str:
    """Without its end and its time."""
    line = process.stdout.readline()
    assert line.endswith("\n"), process.stderr.read()
    return line[:-1][len("2026-01-31 08:00:00Z  ") :]


def read_event(process: PipedProcess[str]) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(process.stdout.readline())
    return event


def test_each_event_is_a_line_until_the_session_is_deleted(url: str) -> None:
    create(url)
    with watching(url) as process:
        assert read_line(process) == "state              agent ai, epoch 0, desk open"
        say(url, "Is anybody\nthere? \x1b[31m")
        assert read_line(process) == "message_appended   1 user: Is anybody there? \\x1b[31m"
        on_store(url, lambda manager: Desk(manager).take_over("s", "mei"))
        seen = {read_line(process) for _ in range(3)}
        assert {"agent_switched     agent human, epoch 1", "desk_changed       assigned to mei"} < seen
        assert any(line.startswith("message_appended   2 system (handoff; internal): ") for line in seen)
        on_store(url, lambda manager: manager.delete_session("s"))
        assert read_line(process) == "session_deleted"
        assert process.wait(timeout=LONGEST) == 0
        assert process.communicate() == ("", "")


def test_a_customer_is_shown_nothing_internal(url: str) -> None:
    create(url)
    with watching(url, "--as-customer") as process:
        read_line(process)
        say(url, "thinking", internal=True)
        say(url, "Hello!")
        assert read_line(process) == "message_appended   2 user: Hello!"
        on_store(url, lambda manager: Desk(manager).take_over("s", "mei"))
        assert {read_line(process) for _ in range(2)} == {
            "agent_switched     agent human, epoch 1",
            "desk_changed       assigned",
        }


def test_with_json_each_event_is_a_document_and_its_cursor_goes_on_behind_it(url: str) -> None:
    create(url)
    with watching(url, "--json") as process:
        state = read_event(process)
        assert (state["event"], state["sessionId"], state["session"]["userId"]) == ("state", "s", "ann")
        say(url, "one")
        first = read_event(process)
        assert (first["event"], first["message"]["text"]) == ("message_appended", "one")
    say(url, "two")
    with watching(url, "--json", "--after", first["cursor"]) as process:
        assert read_event(process)["event"] == "state"
        assert read_event(process)["message"]["text"] == "two"


def test_a_reply_is_shown_as_it_grows(url: str) -> None:
    create(url)
    with watching(url) as process:
        read_line(process)

        async def answer(manager: SessionManager) -> None:
            async with manager.turn("s") as turn, turn.stream(author="bot") as reply:
                await reply.write("On its\nway ")
                assert await asyncio.to_thread(read_line, process) == "reply_started      assistant bot"
                assert await asyncio.to_thread(read_line, process) == "reply_delta        On its way"

        on_store(url, answer)
        assert read_line(process) == "message_appended   1 assistant bot: On its way"
        assert read_line(process) == "reply_committed    message 1"


def test_on_a_terminal_the_reply_grows_on_its_line(url: str) -> None:
    create(url)
    with Terminal("watch", "s", "--url", url) as terminal:
        terminal.read_until("desk open")

        async def answer(manager: SessionManager) -> None:
            async with manager.turn("s") as turn, turn.stream() as reply:
                for text in ("On ", "its ", "\x1b[31mway"):
                    await reply.write(text)
                    await asyncio.to_thread(terminal.read_until, text.replace("\x1b", "\\x1b").strip())

        on_store(url, answer)
        terminal.read_until("reply_committed    message 1")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
    written = terminal.written.decode()
    assert written.count("reply_delta") == 1
    assert "\x1b[31m" not in written


def test_a_session_that_expires_ends_it_with_0(url: str, tmp_path: Path) -> None:
    create(url)
    with watching(url) as process:
        read_line(process)
        on_store(url, lambda manager: manager.set_session_ttl("s", 1))
        assert read_line(process) == "session_updated    user ann, ttl 1 s"
        assert read_line(process) == "session_expired"
        assert process.wait(timeout=LONGEST) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_without_a_word(url: str, number: signal.Signals, code: int) -> None:
    create(url)
    with watching(url, "--json") as process:
        read_event(process)
        process.send_signal(number)
        assert process.wait(timeout=LONGEST) == code
        assert process.communicate() == ("", "")


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_it_ends_when_nobody_reads_it_any_more_although_nothing_happens(url: str, words: tuple[str, ...]) -> None:
    create(url)
    process = start_command("watch", "s", *words, "--url", url, text=True)
    assert "state" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=LONGEST) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_session_that_is_not_there_is_exit_code_3_and_a_bad_cursor_2(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    create(url)
    assert main(["watch", "nope", "--json", "--url", url]) == 3
    assert json.loads(capfd.readouterr().err)["error"]["code"] == "session_not_found"
    assert main(["watch", "s", "--after", "yesterday", "--url", url]) == 2
    assert "after" in capfd.readouterr().err


def test_a_file_is_not_made(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "s", "--url", f"sqlite:///{tmp_path}/none.db"]) == 5
    assert not (tmp_path / "none.db").exists()
    capfd.readouterr()


@pytest.mark.parametrize("name", ["redis", "cluster"])
def test_what_happens_on_servers_is_shown_too(start_empty: StartBackend, name: str) -> None:
    url = start_empty(name).url
    create(url)
    with watching(url, "--json") as process:
        read_event(process)
        say(url, "Hello!")
        assert read_event(process)["message"]["text"] == "Hello!"
        on_store(url, lambda manager: manager.delete_session("s"))
        assert read_event(process)["event"] == "session_deleted"
        assert process.wait(timeout=LONGEST) == 0
