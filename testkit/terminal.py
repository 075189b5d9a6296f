"""A command on a pseudo-terminal of its own, as a person would run it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType
from typing import Self

_DONE_WITHIN = 20  # seconds, where many tests share a processor
_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """Runs ``python -m chat_session`` with these words. Standard error goes to the terminal, too.

    ``written``: all bytes so far, as the terminal gets them.
    """

    def __init__(self, *words: str, lines: int = 40, columns: int = 120, kind: str = "xterm") -> None:
        self.written = b""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chat_session", *words],
            env={**environment, "TERM": kind, "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def read_until(self, text: str) -> str:
        """Wait until the text has been written since the last call; what was written until then, without controls.

        Raises TimeoutError, and EOFError if the command ends before.
        """
        seen, deadline = len(self.written), time.monotonic() + _DONE_WITHIN
        while text not in (shown := shown_of(self.written[seen:])):
            self._read(deadline)
        return shown

    def wait(self) -> int:
        """Read until the command ends; its exit code."""
        deadline = time.monotonic() + _DONE_WITHIN
        try:
            while True:
                self._read(deadline)
        except EOFError:
            return self.process.wait(timeout=_DONE_WITHIN)

    def _read(self, deadline: float) -> None:
        ready, _, _ = select.select([self._ours], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise TimeoutError(f"The terminal shows {self.written[-2000:]!r}")
        try:
            read = os.read(self._ours, 100_000)
        except OSError:  # what Linux answers when nobody has the other end open
            read = b""
        if not read:
            raise EOFError(f"The terminal shows {self.written[-2000:]!r}")
        self.written += read

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


def shown_of(written: bytes) -> str:
    """The text without the sequences that move the cursor and set a style."""
    return _CONTROL.sub(b"", written).decode(errors="ignore")
