"""How a command that failed says so, and with which exit code."""

import sys

import msgspec
from rich.text import Text

from chat_session.cli.output import ERR, escape_for_terminal, visible
from chat_session.errors import ChatSessionError, Conflict, MessageNotFound, SessionExists, SessionNotFound, StoreError

PARTLY, USAGE, NOT_FOUND, CONFLICT, STORE = 1, 2, 3, 4, 5

_EXIT_CODES: tuple[tuple[type[ChatSessionError], int], ...] = (
    (SessionNotFound, NOT_FOUND),
    (MessageNotFound, NOT_FOUND),
    (SessionExists, CONFLICT),
    (Conflict, CONFLICT),
    (StoreError, STORE),
)


def report(error: ChatSessionError | OSError, *, json: bool) -> int:
    """Say on stderr what happened; the exit code."""
    if isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        say_failure(f"{where}{error.strerror or error}", "file", json=json)
        return PARTLY
    say_failure(str(error), error.code, retryable=error.retryable, json=json)
    return next((exit_code for kind, exit_code in _EXIT_CODES if isinstance(error, kind)), USAGE)


def say_bad_line(number: int, reason: str, *, json: bool) -> None:
    """A line for a line: of a file there may be many."""
    text = f"line {number}: {reason}"
    if json:
        say_failure(text, "bad_line", json=True)
    else:
        _print_error(text)


def say_failure(text: str, code: str, *, retryable: bool = False, advice: str = "", json: bool) -> None:
    """``error: …`` and ``code: …`` for people; one line ``{"error": …}`` for a program."""
    if json:
        plain = text.encode(errors="backslashreplace").decode()  # an argument that was no UTF-8
        document = {"error": {"code": code, "message": plain, "retryable": retryable}}
        sys.stderr.buffer.write(escape_for_terminal(msgspec.json.encode(document), sys.stderr) + b"\n")
        sys.stderr.flush()
        return
    if retryable:
        advice = "the same command may succeed later"
    _print_error(text)
    ERR.print(visible(f"code: {code}" + (f"; {advice}" if advice else ""), "dim"), soft_wrap=True)


def _print_error(text: str) -> None:
    ERR.print(Text("error: ", "bold red").append_text(visible(text, "default not bold")), soft_wrap=True)
