"""What a power cut leaves of a folder, and the library that records what a process does to files."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.powercut import (
    CREATE,
    RENAME,
    SYNC_BEGINS,
    SYNC_ENDS,
    TRUNCATE,
    UNLINK,
    WRITE,
    CannotRecord,
    Disk,
    Event,
    build_library,
    read_log,
)


class Written:
    """A disk, with short methods for what a process does to it."""

    def __init__(self, **files: bytes) -> None:
        self.disk = Disk(files)

    def do(self, kind: int, name: str, offset: int = 0, data: bytes = b"") -> None:
        self.disk.apply(Event(kind, name, offset, data))

    def sync(self, name: str) -> None:
        self.do(SYNC_BEGINS, name)
        self.do(SYNC_ENDS, name)

    def cuts(self, variant: str, tries: int = 50) -> set[tuple[tuple[str, bytes], ...]]:
        """The different contents that were left by ``tries`` power cuts."""
        return {tuple(sorted(self.disk.cut(variant, random.Random(i)).items())) for i in range(tries)}


def test_what_was_synced_survives_a_power_cut_and_the_rest_may_not() -> None:
    written = Written()
    written.do(CREATE, "a")
    written.do(WRITE, "a", 0, b"safe")
    assert written.cuts("nothing") == {()}
    written.sync("a")
    written.do(WRITE, "a", 4, b"not")
    assert written.cuts("nothing") == {(("a", b"safe"),)}
    assert written.cuts("everything") == {(("a", b"safenot"),)}


def test_a_sync_covers_what_was_written_before_it_began() -> None:
    written = Written(a=b"")
    written.do(WRITE, "a", 0, b"1")
    written.do(SYNC_BEGINS, "a")
    written.do(WRITE, "a", 1, b"2")
    written.do(SYNC_ENDS, "a")
    assert written.cuts("nothing") == {(("a", b"1"),)}


def test_of_a_write_that_was_not_synced_any_sectors_may_be_there() -> None:
    written = Written(a=b"")
    written.do(WRITE, "a", 100, b"x" * 1000)
    assert {len(data) for [(_, data)] in written.cuts("partial")} == {0, 512, 1024}
    holes = {data[100:512].strip(b"\0") == b"" for [(_, data)] in written.cuts("scattered") if len(data) == 1100}
    assert holes == {True, False}


def test_names_are_safe_when_their_folder_was_synced() -> None:
    written = Written(old=b"1", gone=b"2")
    written.do(RENAME, "old", data=b"new")
    written.do(UNLINK, "gone")
    assert written.cuts("nothing") == {(("gone", b"2"), ("old", b"1"))}
    written.sync("")
    assert written.cuts("nothing") == {(("new", b"1"),)}


def test_the_preloaded_library_records_what_a_process_does_to_files(tmp_path: Path) -> None:
    try:
        library = build_library(tmp_path)
    except CannotRecord as reason:
        pytest.skip(str(reason))
    folder, log = tmp_path / "folder", tmp_path / "log"
    folder.mkdir()
    program = """if True:
        import os
        fd = os.open("a", os.O_RDWR | os.O_CREAT)
        os.write(fd, b"one")
        os.pwrite(fd, b"two", 7)
        os.writev(fd, [b"th", b"ree"])
        os.fsync(fd)
        os.ftruncate(fd, 2)
        os.fdatasync(fd)
        os.rename("a", "b")
        os.fsync(os.open(".", os.O_RDONLY))
        os.unlink("b")
        os.write(os.open("../elsewhere", os.O_WRONLY | os.O_CREAT), b"not watched")
    """
    environment = {"LD_PRELOAD": str(library), "POWERCUT_FOLDER": str(folder), "POWERCUT_LOG": str(log)}
    subprocess.run([sys.executable, "-c", program], cwd=folder, env={**os.environ, **environment}, check=True)
    events = [(kind, name, offset if kind < SYNC_BEGINS else 0, data) for kind, name, offset, data in read_log(log)]
    assert events == [
        (CREATE, "a", 0, b""),
        (WRITE, "a", 0, b"one"),
        (WRITE, "a", 7, b"two"),
        (WRITE, "a", 3, b"th"),
        (WRITE, "a", 5, b"ree"),
        (SYNC_BEGINS, "a", 0, b""),
        (SYNC_ENDS, "a", 0, b""),
        (TRUNCATE, "a", 2, b""),
        (SYNC_BEGINS, "a", 0, b""),
        (SYNC_ENDS, "a", 0, b""),
        (RENAME, "a", 0, b"b"),
        (SYNC_BEGINS, "", 0, b""),
        (SYNC_ENDS, "", 0, b""),
        (UNLINK, "b", 0, b""),
    ]


def test_without_a_compiler_a_power_cut_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRecord, match="no C compiler"):
        build_library(tmp_path)
