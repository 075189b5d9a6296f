"""The command line of the package, in a process of its own or in this one."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Any, AnyStr, NamedTuple


class CommandResult(NamedTuple):
    """The exit code of a command, and what it wrote to standard output and to standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.err)["error"]
        return found


RunCommand = Callable[..., CommandResult]  # takes the words of a command line


class PipedProcess(subprocess.Popen[AnyStr]):
    """A process with pipes. Only the streams for which a pipe was asked may be used."""

    stdin: IO[AnyStr]
    stdout: IO[AnyStr]
    stderr: IO[AnyStr]


def start_command(*words: str, text: bool = False, **options: Any) -> PipedProcess[Any]:
    """Start a command in a process of its own. Its output goes into pipes, and it has no standard input.

    ``options`` are those of subprocess.Popen, such as ``stdin=subprocess.PIPE``.
    """
    command = [sys.executable, "-m", "chat_session.cli", *words]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return PipedProcess(command, text=text, **(streams | options))
