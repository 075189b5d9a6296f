"""One command line at a time, in this process, on a file; and what the tests do there beside it."""

from pathlib import Path

import pytest

from chat_session.cli import main
from chat_session.cli.output import OUT
from testkit.command_line import CommandResult, RunCommand
from testkit.desk_sessions import Do, on_desk


@pytest.fixture(autouse=True)
def nobody_is_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own name has no influence on a test, and no text is folded."""
    monkeypatch.delenv("CHAT_SESSION_OPERATOR", raising=False)
    monkeypatch.setattr(OUT, "width", 160)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/chat.db"


@pytest.fixture
def do(url: str) -> Do:
    """Do something with a manager and a desk on the store of this test."""
    return lambda work: on_desk(url, work)


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], url: str) -> RunCommand:
    """Run one command line in this process, on the store of this test."""

    def run_one(*arguments: str) -> CommandResult:
        code = main([*arguments, "--url", url])
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return run_one
