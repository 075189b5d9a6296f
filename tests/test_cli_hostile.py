"""Hostile files: an import takes a bounded amount of memory, and Ctrl-C ends it within a second."""

import fcntl
import gzip
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chat_session.cli import bounds, main
from chat_session.cli.bounds import MAX_LINE_BYTES, MAX_LINE_PARTS, LineTooLarge, weigh_line
from testkit.command_line import CommandResult, PipedProcess

MIB = 1024 * 1024
HEAD = b'{"conversation":"s%d","user":"u","messages":['
GOOD = HEAD + b'{"from":"user","text":"x"}]}'
TOO_LONG = f"The line has more than {MAX_LINE_BYTES:,} bytes, the limit for one line"
TOO_MANY = f"The line has more than {MAX_LINE_PARTS:,} strings, commas and brackets, the limit for one line"


MEASURED = """if True:
    import re, sys
    from pathlib import Path
    from chat_session.cli import main
    code = main(sys.argv[1:])
    print(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])
    sys.exit(code)
"""


def measure(file: Path, store: str) -> tuple[CommandResult, float]:
    """What an import of the file says, and how much memory it took at most, in MiB."""
    command = [sys.executable, "-c", MEASURED, "import", str(file), "--trim", "--json", "--url", store]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *answer, kib = done.stdout.splitlines()
    return CommandResult(done.returncode, "\n".join(answer), done.stderr), int(kib) / 1024


def large_message(text: bytes) -> bytes:
    return b'{"from":"user","text":"%b"},' % text


def large_emoji() -> bytes:
    """Four bytes a character, once it is decoded."""
    return large_message("😀".encode() + b"x" * 250_000) * 32 + b'{"from":"user","text":""}]}'


# name: how to make a line of the messages, and what is said of it
def content(raw: bytes) -> bytes:
    """A message with that content."""
    return b'{"from":"tool","text":"","content":' + raw + b"}"


def large_contents(begin: bytes) -> bytes:
    return b",".join([content(b'"' + begin + b"x" * (MIB - 100) + b'"')] * 7) + b"]}"


LINES: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "one line of 60 MiB": (lambda: b"[]," * (20 * MIB) + b"[]]}", TOO_LONG),
    "empty lists": (lambda: b"[]," * (2 * MIB) + b"[]]}", TOO_MANY),
    "empty objects": (lambda: b"{}," * (2 * MIB) + b"{}]}", TOO_MANY),
    "messages without end": (lambda: large_message(b"") * 200_000 + b"0]}", TOO_MANY),
    "nested objects": (lambda: (b'{"":' * 20 + b"0" + b"}" * 20 + b",") * 11_500 + b"0]}", "messages[0].from"),
    "deep lists": (lambda: (b"[" * 30 + b"]" * 30 + b",") * 16_000 + b"0]}", "messages[0] must be"),
    "as many messages as fit": (lambda: large_message(b"") * 71_000 + b'{"from":"user","text":""}]}', None),
    "texts with emoji": (large_emoji, None),
    "large contents": (lambda: large_contents(b""), None),
    "contents with half a pair": (lambda: large_contents(b"\\ud800"), None),
    "as many contents as fit": (lambda: content(b"{}") + (b"," + content(b"{}")) * 40_000 + b"]}", None),
    "contents with deep lists": (lambda: content(b"[" * 300 + b"]" * 300) + b"]}", "messages[0].content must be"),
    "contents with many values": (lambda: content(b"[" + b"0," * MIB + b"0]") + b"]}", TOO_MANY),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say how much memory was used")
@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("kind", ["redis", "sqlite"])
def test_an_import_takes_less_than_200_mib_whatever_is_in_the_file(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, name: str
) -> None:
    store = f"sqlite:///{tmp_path}/chat.db" if kind == "sqlite" else request.getfixturevalue("redis_backend").url
    make_line, refusal = LINES[name]
    line = make_line()
    file = tmp_path / "in.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=1) as packed:
        for number in range(3):
            packed.write(HEAD % number + line + b"\n")
        packed.write(GOOD % 9)
    done, mib = measure(file, store)
    assert mib < 200
    assert (done.code, done.json["lines"], done.json["badLines"]) == ((0, 4, 0) if refusal is None else (1, 4, 3))
    for number, error in enumerate(done.err.splitlines(), 1):
        assert f"line {number}: " in json.loads(error)["error"]["message"]
        assert refusal is not None
        assert refusal in error


@pytest.mark.parametrize("endless", [b"\n", b"{\n", b"[],", b"x" * 1000 + b"\n"])
def test_ctrl_c_ends_an_import_of_a_small_file_that_is_huge_unpacked_within_a_second(
    tmp_path: Path, endless: bytes
) -> None:
    packed = gzip.compress(endless * (60 * MIB // len(endless)))
    command = [sys.executable, "-m", "chat_session", "import", "-", "--url", f"sqlite:///{tmp_path}/chat.db"]
    process = PipedProcess(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pipe = process.stdin.fileno()
    written = os.write(pipe, packed[:60_000])  # a pipe holds 64 KiB
    while count_unread(pipe) == written:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    assert process.wait(timeout=20) == 130
    assert time.monotonic() - sent < 3  # where many tests share a processor; alone it takes a third of a second
    process.communicate()


def count_unread(pipe: int) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def weighs(raw: bytes) -> bool:
    try:
        weight = weigh_line(raw)
    except LineTooLarge:
        return False
    return weight > 0


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_LINE_PARTS", 10)
    monkeypatch.setattr(bounds, "MAX_LINE_BYTES", 200)


@pytest.mark.usefixtures("small_limits")
def test_the_content_of_a_text_is_no_part_of_its_line() -> None:
    assert weighs(b"[" + b"0," * 8 + b"0]")
    assert not weighs(b"[" + b"0," * 9 + b'"a"]')
    assert weighs(b'["' + b"[,{" * 50 + b'"]')
    assert weighs(rb'["' + rb"\"[,{" * 20 + rb'"]')
    assert not weighs(rb'["\\","' + b'","' * 5 + rb'"]')
    assert weighs(b"x" * 200)
    assert not weighs(b"x" * 201)


@pytest.mark.usefixtures("small_limits")
def test_an_export_names_a_session_that_import_will_not_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    main(["create", "u", "--session-id", "large", "--url", url])
    capfd.readouterr()
    assert main(["export", str(tmp_path / "out.jsonl"), "--json", "--url", url]) == 1
    out, err = capfd.readouterr()
    assert json.loads(out)["tooLarge"] == json.loads(out)["sessions"] == 1
    assert json.loads(err)["error"]["code"] == "line_too_large"
    assert "session large" in err
    assert "migrate" in err
