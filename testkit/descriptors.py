"""The descriptors that this process has open, so that a test can find a leak. Empty where the system has no /proc."""

from contextlib import suppress
from pathlib import Path

DESCRIPTORS = Path("/proc/self/fd")


def open_sockets() -> set[str]:
    return _targets("socket:")


def open_sockets_and_files(folder: str) -> set[str]:
    """The sockets, and the files below ``folder``."""
    return _targets("socket:", folder)


def _targets(*prefixes: str) -> set[str]:
    found = set()
    for descriptor in DESCRIPTORS.iterdir() if DESCRIPTORS.exists() else ():
        with suppress(OSError):  # the descriptor of this loop itself is closed by now
            target = str(descriptor.readlink())
            if target.startswith(prefixes):
                found.add(f"{descriptor.name} {target}")
    return found
