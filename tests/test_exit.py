"""Scripts that do not close a blocking manager, or are killed: the process ends, with the right exit code."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chat_session import blocking
from testkit.backends import StartBackend
from testkit.command_line import PipedProcess
from testkit.present import present
from testkit.pythons import RELEASES, find_pythons

PYTHONS = find_pythons()
STORES = ("file", "memory", "redis")
WITHIN = 20  # seconds; closing takes milliseconds, a loaded machine the rest

OPEN = """
import atexit, os, signal, sys, threading, time
from chat_session import ManagerClosed, blocking
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
manager = blocking.SessionManager.from_url(sys.argv[1])
manager.create_session("u", session_id="s")

def ask_on():
    try:
        while True:
            manager.get_session("s")
    except ManagerClosed:
        pass

"""
ENDS = {
    "no close": ("", 0),
    "close at exit": ("atexit.register(manager.close)", 0),
    "an exception": ("raise ValueError('of the script')", 1),
    "sys.exit": ("sys.exit(3)", 3),
    "SIGINT": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM),
    "fork": ("child = os.fork(); sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 5)", 5),
    "fork and close": (
        "child = os.fork(); manager.close(); child and sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))",
        0,
    ),
    "a cleanup that runs": ("blocking.SessionCleanup(manager, 3600).start()", 0),
    "a thread that calls": ("threading.Thread(target=ask_on, daemon=True).start(); time.sleep(0.1)", 0),
    "an open iterator": ("sessions = blocking.Inspector(manager).scan_sessions(); next(sessions)", 0),
}


@pytest.fixture(params=[(release, store) for release in RELEASES for store in STORES], ids="-".join)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """An interpreter, and a store's address."""
    release, store = request.param
    if release not in PYTHONS:
        pytest.skip(f"no Python {release} on this machine")
    return str(PYTHONS[release]), find_url(store, tmp_path, request)


@pytest.fixture(params=[*STORES, "cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return find_url(request.param, tmp_path, request)


def find_url(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if store == "file":
        return f"sqlite:///{tmp_path}/chat.db"
    if store == "memory":
        return "sqlite:///:memory:"
    backend = request.getfixturevalue("start_empty")(store)
    # By its host's name: asking for its address takes a thread, which is gone before the exit's handlers run.
    return backend.url if store == "cluster" else f"redis://localhost:{backend.server.port}"


def run(python: str, script: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-X", "faulthandler", "-c", script, *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=WITHIN, check=False)


@pytest.mark.parametrize("end", ENDS)
def test_a_script_that_does_not_close_the_manager_ends_with_its_exit_code(where: tuple[str, str], end: str) -> None:
    check_end(*where, end)


@pytest.mark.parametrize("end", ENDS)
def test_on_a_cluster_too(start_empty: StartBackend, end: str) -> None:
    check_end(sys.executable, start_empty("cluster").url, end)


def check_end(python: str, url: str, end: str) -> None:
    script, code = ENDS[end]
    ran = run(python, OPEN + script, url)
    assert ran.returncode == code, ran.stderr
    traceback = {"an exception": "ValueError: of the script", "SIGINT": "KeyboardInterrupt"}.get(end, "")
    assert ran.stderr.count("Traceback") == bool(traceback)
    assert all(part in ran.stderr for part in traceback.split(": ")), "a warning of the log may come in between"
    assert "Exception ignored" not in ran.stderr
    if not url.endswith(":memory:"):
        with blocking.SessionManager.from_url(url) as manager:
            assert present(manager.get_session("s")).user_id == "u", "what was acknowledged is there"


def test_a_script_that_closes_or_not_leaves_nothing_to_warn_of(url: str) -> None:
    ran = run(sys.executable, "import warnings; warnings.simplefilter('always')" + OPEN, url)
    assert "ResourceWarning" not in ran.stderr


APP = """
import os
from chat_session import blocking
made = blocking.SessionManager.from_url(os.environ["URL"])
made.get_active_sessions_count()
pid, mine = os.getpid(), []

def app(environ, start_response):
    if os.getpid() == pid:
        mine.append(made)
    elif not mine:
        mine.append(blocking.SessionManager.from_url(os.environ["URL"]))
    body = str(mine[0].get_active_sessions_count()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=WITHIN)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def ask(path: Path, process: subprocess.Popen[str]) -> bytes:
    deadline = time.monotonic() + WITHIN
    while True:
        connection = UnixConnection(path)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read()
        except OSError:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)  # gunicorn tells nobody that it listens
        finally:
            connection.close()


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["each worker imports", "preload"])
def test_gunicorn_ends_at_once_and_by_itself(
    where: tuple[str, str], preload: tuple[str, ...], server_folder: Path
) -> None:
    python, url = where
    folder = server_folder / "gunicorn"
    folder.mkdir(exist_ok=True)
    folder.joinpath("exits.py").write_text(APP)
    path = folder / f"{time.monotonic_ns()}.sock"
    command = [python, "-m", "gunicorn", "--bind", f"unix:{path}", "--chdir", str(folder), *preload, "exits:app"]
    process = PipedProcess(
        [*command, "--workers", "1", "--graceful-timeout", str(WITHIN), "--worker-tmp-dir", str(folder)],
        env={**os.environ, "URL": url},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert ask(path, process) == b"0"
        process.terminate()
        assert process.wait(WITHIN) == 0
        said = process.stderr.read()
        assert "Traceback" not in said
        assert "SIGKILL" not in said
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()
