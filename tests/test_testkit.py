"""The testkit itself, where no other test would notice that it is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.descriptors import open_sockets_and_files
from testkit.ports import free_ports
from testkit.programs import MissingProgram, need_program

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("ci", "expected"), [("", "2 skipped"), ("true", "2 errors")])
def test_a_test_without_its_server_is_skipped_and_in_ci_it_fails(tmp_path: Path, ci: str, expected: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/test_close.py"]
    environment = {**os.environ, "PATH": str(tmp_path), "CI": ci}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert expected in done.stdout
    assert "no redis-server or valkey-server on this machine" in done.stdout


def test_a_missing_program_is_named() -> None:
    with pytest.raises(MissingProgram, match="no such-program on this machine"):
        need_program("such-program")


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list open files")
def test_an_open_file_is_found_until_it_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        assert any("file" in name for name in open_sockets_and_files(str(tmp_path)))
    assert not any(str(tmp_path) in name for name in open_sockets_and_files(str(tmp_path)))
