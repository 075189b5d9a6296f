"""What the command line says of itself, in one file for a person to read from start to end: cli_messages.txt.

``CHAT_SESSION_WRITE_GOLDEN=1`` writes that file anew.
"""

import asyncio
import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

from chat_session import SessionManager
from chat_session.cli import bounds, main

GOLDEN = Path(__file__).with_name("cli_messages.txt")
URL = "sqlite:///chat.db"
STAMPS = {"createdAt": "2026-01-01T00:00:00Z", "lastActiveAt": "2026-01-01T00:00:00Z"}

COMMANDS = [
    "create u --ttl soon",
    "create u --meta color",
    "create u --meta a=1 --meta a=2",
    "update s1",
    "update s1 a=1 --remove a",
    "list u --agent ai",
    "list nobody",
    "list --limit 1",
    "nonsense",
    "import in.jsonl",
    "import many.jsonl",
    "import cut.jsonl.gz",
    "import damaged.jsonl.gz",
    "import nowhere.jsonl",
    "import .",
    "export /dev/null",
    "export out.jsonl",
    "export",
    f"migrate --from {URL} --to sqlite:///target.db",
    f"migrate --from sqlite:///changed.db --to {URL}",
]


def line(**fields: Any) -> str:
    return json.dumps({"conversation": "s1", "user": "u", "messages": []} | fields)


HELLO = {"id": "m", "from": "user", "text": "hello"}
LINES = [
    "{",
    "[]",
    line(user=None),
    line(user="another"),
    line(messages=[HELLO, HELLO | {"text": "other"}]),
    line(messages=[HELLO | {"id": f"new-{i}"} for i in range(3)]),
    line(messages=[HELLO]),
    line(n=1, metadata={"n": 2}),
    line(session={"color": 1}),
    line(session={**STAMPS, "messageCount": 0}, messages=[HELLO]),
    line(conversation="large", x=["[" * 900]),
    line(conversation="parts", x=[1] * 90),
]


async def fill() -> None:
    async with SessionManager.from_url(URL) as manager:
        await manager.create_session("u", session_id="s1")
        await manager.create_session("u", session_id="s2", metadata={"x": "y" * 900})
        for text in "abc":
            await manager.add_message("s1", {"from": "user", "text": text, "id": text})
    async with SessionManager.from_url("sqlite:///changed.db") as manager:
        await manager.create_session("u", session_id="s1")


def test_every_message_of_the_command_line_is_in_the_golden_file(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(bounds, "MAX_LINE_BYTES", 900)
    monkeypatch.setattr(bounds, "MAX_LINE_PARTS", 80)
    asyncio.run(fill())
    monkeypatch.setenv("MAX_MESSAGE_HISTORY", "2")
    packed = gzip.compress(line().encode())
    Path("in.jsonl").write_text("\n".join(LINES))
    Path("many.jsonl").write_text("{\n" * 23)
    Path("cut.jsonl.gz").write_bytes(packed[:-9])
    Path("damaged.jsonl.gz").write_bytes(packed[:-8] + b"12345678")
    said = []
    for command in COMMANDS:
        words = command.split()
        store = [] if "--url" in words or words[0] == "migrate" else ["--url", URL]
        code = main([*words, *store])
        out, err = capfd.readouterr()
        advice = [told for told in out.splitlines() if told.startswith(("There are", "user ", "no "))]
        differences = re.findall(r"^ +(s[0-9] {2,}[a-z].*[a-z])", out, re.MULTILINE) if words[0] == "migrate" else []
        shown = "\n".join([*sorted(err.splitlines(), key=line_number), *advice, *differences])
        shown = re.sub(r"--cursor .*", "--cursor CURSOR", shown)
        shown = re.sub(r"(error: line 1: (.*)\n)(error: line [0-9]+: \2\n)+", r"\1and so on\n", shown)
        said.append(f"$ chat-session {command}\n{shown}\n(exit code {code})\n")
    if os.environ.get("CHAT_SESSION_WRITE_GOLDEN"):
        GOLDEN.write_text("\n".join(said), "utf-8")
    assert "\n".join(said) == GOLDEN.read_text("utf-8")


def line_number(error: str) -> int:
    """Lines of different sessions are imported side by side, so their errors come in any order."""
    found = re.match("error: line ([0-9]+): ", error)
    return int(found[1]) if found else 1_000_000


def test_each_reason_against_a_line_is_a_sentence():
    for reason in re.findall(r"^error: line [0-9]+: (.*)$", GOLDEN.read_text("utf-8"), re.MULTILINE):
        assert re.fullmatch(r"[A-Zms\"].*\.", reason), reason
