"""Real server processes. Each listens on a port of 127.0.0.1 and on a Unix socket in its own folder."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import redis

from testkit.ports import HOST, free_port

PATIENCE = 60.0  # seconds; a loaded machine needs many times what an idle one does
START_TIMEOUT = 20.0  # seconds

# Options
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
UNSAVED = ("--appendonly", "no")


class Server:
    """One server process.

    ``stop`` ends it normally, ``kill`` as ``kill -9`` does. ``start`` starts it again on the data that it saved.
    ``with Server(…)`` starts it and stops it at the end.
    """

    def __init__(self, program: Path, folder: Path, *options: str, port: int | None = None) -> None:
        """The path of ``folder`` must be short: a Unix socket's path may have 107 bytes."""
        self.program = program
        self.folder = folder
        self.port = port or free_port()
        self.socket = folder / "redis.sock"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def unix_url(self, database: int = 0) -> str:
        return f"unix://{self.socket}" + (f"?db={database}" if database else "")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def primaries(self) -> "list[Server]":
        """The servers that take writes, as for a topology: here it is this one."""
        return [self]

    def client(self, database: int = 0) -> redis.Redis:
        """A plain synchronous client, to look at what is stored."""
        return redis.Redis(unix_socket_path=str(self.socket), db=database)

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(self.program), "--port", str(self.port), "--bind", HOST),
            *("--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""),
            *("--logfile", str(self.folder / "redis.log"), "--daemonize", "no", *self.options),
        ]
        self._launch(command)
        return self

    def stop(self) -> None:
        """End it and wait. A server that refuses to end, because it could not save, is killed."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def kill_and_restart(self) -> None:
        """Kill it and start it on the data that it saved, after the repair of its append-only file."""
        self.kill()
        self.repair_append_only_file()
        self.start()

    def freeze(self) -> None:
        """Stop the process without ending it: its connections stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process run again."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen within the block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def repair_append_only_file(self) -> None:
        """Cut half a transaction off the end of the append-only file, as docs/guarantees.md advises.

        redis-server 7.0.15 ignores half a transaction when it starts, but leaves it in the file if its last
        command is incomplete. What is written next completes it, and it is executed at the start after that.
        Does nothing where redis-check-aof is not installed.
        """
        tool = shutil.which("redis-check-aof")
        files = [self.folder / "appendonlydir" / "appendonly.aof.manifest", self.folder / "appendonly.aof"]
        for file in files:
            if tool and file.exists():
                command = [tool, "--fix", file.name]
                subprocess.run(command, cwd=file.parent, input=b"y\n", capture_output=True, check=True)

    def _launch(self, command: list[str]) -> None:
        """Start the process and wait until it answers: a server does not announce that it is ready."""
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"{self.program} did not start; see {self.folder}/redis.log") from None
                time.sleep(0.02)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is None:
            raise RuntimeError(f"the server on port {self.port} does not run")
        self.process.send_signal(number)


def wait_until(condition: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
    """Wait for a change that no server announces. A server that does not answer counts as "not yet".

    Raises TimeoutError, which names ``what`` was waited for.
    """
    deadline = time.monotonic() + within
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except redis.RedisError as error:
            last = error
        time.sleep(0.05)
    raise TimeoutError(f"after {within:g} s this was still not so: {what} (last error: {last!r})")
