"""The machine and the versions of a run. Two result files can be compared only where these are the same."""

import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from testkit.servers import Server

OURS = ("chat-session", "redis", "hiredis", "msgspec")


def describe(server: Server, packages: Iterable[str] = ()) -> dict[str, Any]:
    with server.client() as client:
        info = client.info("server")
    name = info.get("server_name", "redis")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "cores": os.cpu_count(),
        "ram_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "server": f"{name} {info.get('valkey_version') or info['redis_version']}",
        "versions": {package: find_version(package) for package in dict.fromkeys((*OURS, *packages))},
    }


def longest_pause(seconds: float = 2.0) -> float:
    """The longest time for which the machine stopped a busy loop, in seconds.

    Single slow commands mean something only where this is far below them.
    """
    worst = 0.0
    last = time.perf_counter()
    end = last + seconds
    while last < end:
        now = time.perf_counter()
        worst = max(worst, now - last)
        last = now
    return worst


def find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
