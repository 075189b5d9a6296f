"""A server on a core of its own, so that it does not share its core with what is measured."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testkit.programs import MissingProgram, need_server
from testkit.servers import UNSAVED, Server

DATABASES = 32  # each peer has one


@contextmanager
def start_server() -> Iterator[Server]:
    """Start a server, and stop it when the block ends. It writes nothing to the disk but its log."""
    try:
        program = need_server()
    except MissingProgram as missing:
        raise SystemExit(f"benchmarks need a server: {missing}") from None
    with tempfile.TemporaryDirectory(prefix="cs-bench-") as folder:
        server = Server(program, Path(folder), "--databases", str(DATABASES), *UNSAVED)
        with _start_on_last_core(server):
            yield server


def use_all_cores() -> None:
    """Also that of the server: for benchmarks of several processes, which would share one core on a small machine."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


@contextmanager
def _start_on_last_core(server: Server) -> Iterator[None]:
    """Where there are two cores or more: the server has the last one, and this process the others."""
    if not hasattr(os, "sched_setaffinity") or len(cores := sorted(os.sched_getaffinity(0))) < 2:
        with server:
            yield
        return
    os.sched_setaffinity(0, cores[-1:])  # the server inherits it, with all its threads
    try:
        with server:
            os.sched_setaffinity(0, cores[:-1])
            yield
    finally:
        os.sched_setaffinity(0, cores)
