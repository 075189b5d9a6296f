"""A Redis or Valkey server of our own: on a unix socket in a temporary folder, on a core of its own."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

START_TIMEOUT = 20.0  # seconds


class Server:
    """Reached through ``url(database)``; ``raw(database)`` is a plain synchronous client to look and prepare with."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def url(self, database: int = 0) -> str:
        return f"unix://{self.socket}?db={database}"

    def raw(self, database: int = 0) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), db=database)


@contextmanager
def start_server() -> Iterator[Server]:
    """Start one, and stop it however the block ends. Nothing is written to disk but its log."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("benchmarks need redis-server or valkey-server on the PATH")
    with tempfile.TemporaryDirectory(prefix="chat-session-bench-") as folder, _separate_cores() as core:
        socket = Path(folder, "redis.sock")
        command = [
            *(program, "--port", "0", "--unixsocket", str(socket), "--dir", folder, "--databases", "32"),
            *("--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", str(Path(folder, "redis.log"))),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
            _wait_until_ready(process, socket)
            yield Server(socket)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _separate_cores() -> Iterator[int | None]:
    """Keep the last core for the server, where there are two or more; gives it, or None."""
    if not hasattr(os, "sched_setaffinity") or len(cores := sorted(os.sched_getaffinity(0))) < 2:
        yield None
        return
    os.sched_setaffinity(0, cores[:-1])
    try:
        yield cores[-1]
    finally:
        os.sched_setaffinity(0, cores)


def _wait_until_ready(process: subprocess.Popen[bytes], socket: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    with redis.Redis(unix_socket_path=str(socket)) as client:
        while True:
            with suppress(redis.RedisError):
                client.ping()
                return
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.02)
