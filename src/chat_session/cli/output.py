"""What a command says: an answer on stdout, as a table or as one JSON document; the rest on stderr."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, NamedTuple, TextIO

import msgspec
from rich.console import Console, RenderableType
from rich.text import Text

# Without markup, emoji codes and highlighting: what is printed here was written by strangers.
OUT = Console(markup=False, emoji=False, highlight=False)
ERR = Console(markup=False, emoji=False, highlight=False, stderr=True)
if not OUT.is_terminal and "COLUMNS" not in os.environ:
    OUT.width = 160  # a pipe has no width; at Rich's 80 grep would find half of a text

# Controls that move the cursor, recolour the screen or, like U+202E, turn the text around; and halves
# of surrogate pairs, which no terminal takes. Joiners stay: families of emoji are made with them.
_CONTROLS = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(f"[\x00-\x1f{_CONTROLS}]")
_UNSAFE_IN_JSON = re.compile(f"[{_CONTROLS}]")  # the others are escaped there already
_NOT_ASCII = re.compile("[^\x00-\x7e]")


class Output(NamedTuple):
    """Where one command's words go. ``json``: for a program, else for people."""

    json: bool

    def answer(self, document: Any, shown: RenderableType, *, compact: bool = False) -> None:
        """Print the answer: ``document`` as JSON in UTF-8, with ``compact`` in one line, or ``shown``."""
        if self.json:
            write_json(document, indent=0 if compact else 2)
        else:
            OUT.print(shown)

    def tell(self, shown: RenderableType) -> None:
        """Tell people something on stdout. Programs (--json) get nothing."""
        if not self.json:
            OUT.print(shown, soft_wrap=isinstance(shown, Text))  # what is to be copied must not be broken up

    def note(self, text: str) -> None:
        """Tell people something on stderr. Programs (--json) get nothing."""
        if not self.json:
            ERR.print(visible(text), soft_wrap=True)


def write_json(document: Any, indent: int) -> None:
    encoded = msgspec.json.encode(document)
    try:
        formatted = msgspec.json.format(encoded, indent=indent) if indent else encoded
    except msgspec.MsgspecError:  # a content with half a surrogate pair in an escape, which is JSON all the same
        formatted = encoded
    sys.stdout.buffer.write(escape_for_terminal(formatted, sys.stdout) + b"\n")
    sys.stdout.buffer.flush()


def escape_for_terminal(encoded: bytes, stream: TextIO) -> bytes:
    """JSON as it is; where ``stream`` is a terminal, what would control it or cannot be shown as ``\\uXXXX``."""
    if not stream.isatty():
        return encoded
    unsafe = _UNSAFE_IN_JSON if stream.encoding.lower() in ("utf-8", "utf8") else _NOT_ASCII
    return unsafe.sub(_escape, encoded.decode()).encode()


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def replace_what_cannot_be_shown() -> None:
    """On a terminal that is not UTF-8, a character that it does not have becomes a question mark, no error."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def visible(text: str, style: str = "") -> Text:
    r"""The text with every control character shown instead of obeyed: ESC as ``\x1b``.

    A line break is shown and kept. What looks like Rich's markup is text.
    """
    shown = Text(style=style)
    end = 0
    for found in _UNSAFE.finditer(text):
        shown.append(text[end : found.start()])
        shown.append("⏎\n" if found[0] == "\n" else found[0].encode("unicode_escape").decode(), "dim reverse")
        end = found.end()
    return shown.append(text[end:])


class _Warnings(logging.Handler):
    """Shows what the package logs, for example a retry, to the person who waits for the command."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "action", None) == "store_down":
            return  # the command's own error says so, and why
        ERR.print(visible(f"{record.levelname.lower()}: {record.getMessage()}"), soft_wrap=True, style="yellow")


@contextmanager
def warnings_shown(*, json: bool) -> Iterator[None]:
    """For the time of a command, warnings of the package go to stderr; with ``json`` nowhere."""
    handler = logging.NullHandler() if json else _Warnings(logging.WARNING)
    log = logging.getLogger("chat_session")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@contextmanager
def warnings_hidden() -> Iterator[None]:
    """While a table is renewed in place: their lines would tear it apart."""
    handlers = [each for each in logging.getLogger("chat_session").handlers if isinstance(each, _Warnings)]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler in handlers:
            handler.setLevel(logging.WARNING)
