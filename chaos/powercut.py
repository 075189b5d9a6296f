"""What a power cut may leave of a folder: the log of ``powercut.c``, replayed up to a moment.

What was synced before the cut is there. What was not synced may be there, may be missing, or may be there in part:
each sector of a write may be lost separately. A new, renamed or removed name is safe when its folder was synced, or
the file itself, because journaling file systems write the name together with the file. Of the changes of names that
are not safe, the first ones up to any number may be there.
"""

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("powercut.c")
SECTOR = 512  # bytes that a disk writes as one
HEAD = struct.Struct("=IIqq")
CREATE, WRITE, TRUNCATE, SYNC_BEGINS, SYNC_ENDS, RENAME, UNLINK, NOTE = range(1, 9)
VARIANTS = ("nothing", "partial", "scattered", "everything")  # how much is there of what was not synced


class CannotRecord(Exception):
    """This machine has no C compiler, or it is not Linux, whose preloaded libraries are needed."""


def build_library(folder: Path) -> Path:
    """Compile the recording library. Raises CannotRecord, or CalledProcessError where the compiler refuses it."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or sys.platform != "linux":
        raise CannotRecord("a power cut is recorded by a C library on Linux, and there is no C compiler here")
    library = folder / "powercut.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl", "-pthread"], check=True)
    return library


class Event(NamedTuple):
    kind: int
    name: str
    offset: int
    data: bytes


def note(log: str, data: bytes) -> None:
    """Add what a caller was told to the records of the files. Other processes may write to the same log."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, HEAD.pack(NOTE, 0, 0, len(data)) + data)
    finally:
        os.close(fd)


def read_log(path: Path) -> Iterator[Event]:
    """All complete records. The last one may be incomplete, because its process was killed."""
    data = path.read_bytes()
    at = 0
    while at + HEAD.size <= len(data):
        kind, name_length, offset, length = HEAD.unpack_from(data, at)
        name_at, at = at + HEAD.size, at + HEAD.size + name_length + length
        if at <= len(data):
            name = os.fsdecode(data[name_at : name_at + name_length])
            yield Event(kind, name, offset, data[name_at + name_length : at])


@dataclass
class _File:
    """The content that is safe, and the events since then with their numbers."""

    safe: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, Event]] = field(default_factory=list)


class Disk:
    """The files of a folder. A part of their content is only in the memory of the operating system."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        """``files`` are on the disk already."""
        self._names = {name: _File(bytearray(data)) for name, data in (files or {}).items()}
        self._safe_names = dict(self._names)
        self._since: list[tuple[int, str, _File | None]] = []  # names that were added or removed
        self._syncs: dict[tuple[str, int], int] = {}
        self._numbers = count()

    def apply(self, event: Event) -> None:
        number = next(self._numbers)
        name = event.name
        match event.kind:
            case _ if event.kind == NOTE:
                pass
            case _ if event.kind == SYNC_BEGINS:
                self._syncs[name, event.offset] = number
            case _ if event.kind == SYNC_ENDS:
                self._sync(name, self._syncs.pop((name, event.offset), -1))
            case _ if event.kind == UNLINK:
                self._rename(number, name, None)
            case _ if event.kind == RENAME:
                file = self._file(number, name)
                self._rename(number, os.fsdecode(event.data), file)
                self._rename(number, name, None)
            case _:
                self._file(number, name).since.append((number, event))

    def _file(self, number: int, name: str) -> _File:
        if name not in self._names:
            self._rename(number, name, _File())
        return self._names[name]

    def _rename(self, number: int, name: str, file: _File | None) -> None:
        _put(self._names, name, file)
        self._since.append((number, name, file))

    def _sync(self, name: str, begun: int) -> None:
        file = self._names.get(name)
        if file is not None:
            for number, event in file.since:
                if number < begun:
                    _change(file.safe, event)
            file.since = [(number, event) for number, event in file.since if number > begun]
        left = []
        for number, changed, target in self._since:
            of_folder = file is None and changed.rpartition("/")[0] == name
            if number < begun and (of_folder or (file is not None and target is file)):
                _put(self._safe_names, changed, target)
            else:
                left.append((number, changed, target))
        self._since = left

    def cut(self, variant: str, rng: random.Random) -> dict[str, bytes]:
        """The files that are there after the power cut."""
        names = dict(self._safe_names)
        kept = {"nothing": 0, "everything": len(self._since)}.get(variant, rng.randint(0, len(self._since)))
        for _, name, target in self._since[:kept]:
            _put(names, name, target)
        return {name: self._contents(file, variant, rng) for name, file in names.items()}

    def _contents(self, file: _File, variant: str, rng: random.Random) -> bytes:
        data = bytearray(file.safe)
        events = [event for _, event in file.since]
        if variant == "nothing" or not events:
            return bytes(data)
        whole = len(events) if variant != "partial" else rng.randrange(len(events))
        for event in events[:whole]:
            parts = [event] if variant != "scattered" else [e for e in _sectors(event) if rng.random() < 0.5]
            for part in parts:
                _change(data, part)
        if variant == "partial":  # the next write stops in the middle
            sectors = list(_sectors(events[whole]))
            for part in sectors[: rng.randrange(len(sectors))]:
                _change(data, part)
        return bytes(data)


def _put(names: dict[str, _File], name: str, file: _File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


def _change(data: bytearray, event: Event) -> None:
    size = {CREATE: 0, TRUNCATE: event.offset}.get(event.kind)
    if size is not None:
        del data[size:]
    end = event.offset + len(event.data)
    data.extend(bytes(max(0, (end if size is None else size) - len(data))))
    data[event.offset : end] = event.data


def _sectors(event: Event) -> Iterator[Event]:
    """A write as the sectors that it consists of. Any other event is one piece."""
    if event.kind != WRITE:
        yield event
        return
    at = event.offset
    while at < event.offset + len(event.data):
        after = min((at // SECTOR + 1) * SECTOR, event.offset + len(event.data))
        yield event._replace(offset=at, data=event.data[at - event.offset : after - event.offset])
        at = after
