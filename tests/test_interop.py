"""Sessions shared with a Node.js service: ioredis reads what is written here, and the other way round.

The programs in tests/interop speak the specification's keys and values. ioredis is installed outside
the source tree, once for each content of package.json. Where node, npm, the server or the registry is
missing these tests are skipped; in CI that is a failure.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis

from chat_session import AgentConflict, Inspector, MessageConflict, SessionManager
from testkit.backends import start_server
from testkit.present import present
from testkit.programs import MissingProgram, need_program

PROGRAMS = Path(__file__).parent / "interop"
ODD_TEXTS = [
    "你好，我需要帮助",
    "👩‍👩‍👧‍👦 🏳️‍🌈 \U0010ffff",
    "line\u2028separator\u2029end",
    'quotes " \\ and \x00 \x1f \r\n\t',
    "RLO \u202e and NFD e\u0301",
    "",
]


class Node:
    """Runs one program on the server's keys and gives its answer."""

    def __init__(self, program: str, modules: Path, port: int) -> None:
        self._program = program
        self._modules = modules
        self._port = port

    def __call__(self, name: str, **argument: Any) -> Any:
        done = subprocess.run(
            [self._program, str(PROGRAMS / "run.js"), str(self._port), name],
            input=json.dumps(argument).encode(),
            capture_output=True,
            env={**os.environ, "NODE_PATH": str(self._modules)},
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def interop_server(server_folder: Path) -> Iterator[int]:
    """The port of a server that only these tests use."""
    with start_server("redis", server_folder / "interop") as server:
        yield server.port


@pytest.fixture(scope="module")
def node(interop_server: int) -> Node:
    return Node(need_program("node"), _install_modules(), interop_server)


@pytest.fixture
async def manager(interop_server: int) -> AsyncIterator[SessionManager]:
    with redis.Redis(port=interop_server) as client:
        client.flushall()
    async with SessionManager.from_url(f"redis://127.0.0.1:{interop_server}/0", max_message_history=5) as manager:
        yield manager


# What this package wrote, read by ioredis


async def test_a_session_is_read_field_by_field(manager: SessionManager, node: Node) -> None:
    created = await manager.create_session("user:1 {ü} 🙂", {"name": "客服会话", "type": "support"}, session_id="s1")
    await manager.add_message(
        "s1",
        {"id": "msg-1", "from": "user", "text": "hi", "timestamp": "2026-01-31T09:00:00+01:00", "type": "text"},
    )
    await manager.switch_agent("s1", "human")
    session = present(await manager.get_session("s1"))
    read = node("read_session", sessionId="s1")
    assert len(read["meta"].pop("cs:created")) == 8
    assert read["meta"].pop("cs:done").count(";") == 1
    assert read["meta"] == {
        "userId": "user:1 {ü} 🙂",
        "sessionId": "s1",
        "createdAt": created.to_dict()["createdAt"],
        "lastActiveAt": session.to_dict()["lastActiveAt"],
        "currentAgent": "human",
        "agentSwitchedAt": session.to_dict()["agentSwitchedAt"],
        "ttl": "86400",
        "agentEpoch": "1",
        "messageCount": "1",
        "cs:customer": "1",
        "name": "客服会话",
        "type": "support",
    }
    assert read["agent"] == "human"
    assert read["history"] == [
        {"id": "msg-1", "from": "user", "text": "hi", "timestamp": "2026-01-31T08:00:00.000Z", "type": "text"}
    ]
    assert read["types"] == ["hash", "string", "list", "hash"]


async def test_all_keys_show_one_deadline(manager: SessionManager, node: Node) -> None:
    await manager.create_session("u", session_id="s1", ttl=90)
    await manager.add_message("s1", {"from": "user", "text": "hi"})
    read = node("read_session", sessionId="s1")
    assert len(set(read["left"])) == 1
    assert 85 <= read["ttl"] <= 90


async def test_a_session_without_end_has_no_deadline_on_any_key(manager: SessionManager, node: Node) -> None:
    await manager.create_session("u", session_id="s1", ttl=None)
    await manager.add_message("s1", {"from": "user", "text": "hi"})
    read = node("read_session", sessionId="s1")
    assert read["left"] == [-1, -1, -1, -1]
    assert read["meta"]["ttl"] == "-1"


async def test_metadata_of_each_json_type_reads_with_one_rule(manager: SessionManager, node: Node) -> None:
    """The rule is JSON.parse, or the text itself where JSON.parse fails."""
    metadata = {
        "text": "plain",
        "empty": "",
        "looks_like_number": "42",
        "looks_like_null": "null",
        "quoted": '"q"',
        "number": 42,
        "big": 2**53 - 1,
        "float": 1.5,
        "yes": True,
        "none_inside": [None],
        "list": [1, "two", {"three": 3}],
        "mapping": {"a": {"b": []}},
        "emoji": "🙂\u2028",
        "__proto__": "inert",
    }
    await manager.create_session("u", metadata, session_id="s1")
    read = node("read_session", sessionId="s1")["meta"]
    assert {name: _parse_as_javascript(read[name]) for name in metadata if name != "__proto__"} == {
        name: value for name, value in metadata.items() if name != "__proto__"
    }
    assert read["text"] == "plain"
    assert present(await manager.get_session("s1")).metadata == metadata


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_a_text_arrives_character_by_character(manager: SessionManager, node: Node, text: str) -> None:
    await manager.create_session("u", session_id="s1")
    await manager.add_message("s1", {"from": "user", "text": text, "note": {"nested": [text]}})
    read = node("read_session", sessionId="s1")
    assert read["units"] == [[ord(c) for c in text]]
    assert read["history"][0]["text"] == text
    assert read["history"][0]["note"] == {"nested": [text]}


async def test_the_list_is_bounded_and_in_order_for_the_other_reader(manager: SessionManager, node: Node) -> None:
    await manager.create_session("u", session_id="s1")
    await manager.add_messages("s1", [{"from": "user", "text": str(n)} for n in range(8)])
    read = node("read_session", sessionId="s1")
    assert [message["text"] for message in read["history"]] == ["3", "4", "5", "6", "7"]
    assert read["meta"]["messageCount"] == "8"


# What the specification's module wrote, used here


async def test_a_foreign_session_is_read(manager: SessionManager, node: Node) -> None:
    wrote = _write(node, messages=[_message(1, text=ODD_TEXTS[1]), _message(2, text=ODD_TEXTS[2])])
    session = present(await manager.get_session("js"))
    assert session.user_id == "user123"
    assert session.to_dict()["createdAt"] == wrote["createdAt"]
    assert session.current_agent == "ai"
    assert session.agent_epoch == 0
    assert session.message_count == 0
    assert session.metadata == {"name": "客服会话", "type": "support", "priority": 1}
    assert await manager.is_session_active("js")
    assert await manager.get_session_agent("js") == "ai"
    assert 55 <= await manager.get_session_ttl("js") <= 60
    history = await manager.get_history("js")
    assert [(m.seq, m.id, m.sender, m.text) for m in history] == [
        (1, "msg-1", "user", ODD_TEXTS[1]),
        (2, "msg-2", "user", ODD_TEXTS[2]),
    ]
    assert history[0].timestamp == datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


async def test_a_foreign_session_is_appended_to_and_takes_one_deadline(manager: SessionManager, node: Node) -> None:
    _write(node, messages=[_message(n) for n in (1, 2, 3)])
    added = await manager.add_message("js", {"id": "py-1", "from": "assistant", "text": "yes"})
    assert added.seq == 4
    again = await manager.add_message("js", {"id": "py-1", "from": "assistant", "text": "yes"})
    assert (again.seq, again.duplicate) == (4, True)
    with pytest.raises(MessageConflict):
        await manager.add_message("js", {"id": "py-1", "from": "assistant", "text": "no"})
    await manager.add_messages("js", [{"from": "user", "text": str(n)} for n in range(2)])
    read = node("read_session", sessionId="js")
    assert [message["id"] for message in read["history"][:3]] == ["msg-2", "msg-3", "py-1"]
    assert read["meta"]["messageCount"] == "6"
    assert len(set(read["left"])) == 1
    assert 86_390 <= read["ttl"] <= 86_400  # it had no ttl of its own: the default of the settings


async def test_an_id_that_only_another_program_wrote_is_not_known_as_a_duplicate(
    manager: SessionManager, node: Node
) -> None:
    _write(node, messages=[_message(1)])
    again = await manager.add_message("js", _message(1))
    assert (again.seq, again.duplicate) == (2, False)


async def test_a_foreign_session_is_switched_and_the_other_side_sees_it(manager: SessionManager, node: Node) -> None:
    _write(node, messages=[_message(1)])
    switched = await manager.switch_agent("js", "human", expect="ai", note="an operator took over")
    assert switched.epoch == 1
    read = node("read_session", sessionId="js")
    assert read["agent"] == read["meta"]["currentAgent"] == "human"
    assert read["meta"]["agentSwitchedAt"] == read["meta"]["lastActiveAt"]
    assert read["history"][-1]["text"] == "an operator took over"


async def test_a_foreign_session_is_updated_extended_and_given_another_ttl(manager: SessionManager, node: Node) -> None:
    _write(node, messages=[_message(1)])
    updated = await manager.update_session("js", {"priority": None, "vip": True})
    assert updated.metadata == {"name": "客服会话", "type": "support", "vip": True}
    await manager.extend_session("js")
    assert node("read_session", sessionId="js")["ttl"] > 86_000
    await manager.set_session_ttl("js", 30)
    read = node("read_session", sessionId="js")
    assert read["meta"]["ttl"] == "30"
    left = [each for each in read["left"] if each != -2]
    assert max(left) - min(left) < 100  # milliseconds: they are read one after the other


async def test_a_foreign_session_is_deleted_whole(manager: SessionManager, node: Node) -> None:
    _write(node, messages=[_message(1)])
    deleted = await manager.delete_session("js")
    assert (deleted.success, deleted.deleted_keys) == (True, 3)
    assert node("read_session", sessionId="js")["types"] == ["none"] * 4


async def test_a_foreign_session_is_listed_and_counted_after_a_repair(manager: SessionManager, node: Node) -> None:
    _write(node, messages=[_message(1)])
    assert await manager.get_user_sessions("user123") == []
    assert await manager.get_active_sessions_count() == 0
    await Inspector(manager).diagnose(repair=True)
    assert [session.session_id for session in await manager.get_user_sessions("user123")] == ["js"]
    assert await manager.get_active_sessions_count() == 1


async def test_a_foreign_session_without_a_deadline_never_expires_until_it_is_written(
    manager: SessionManager, node: Node
) -> None:
    _write(node, ttl=None, messages=[_message(1)])
    assert await manager.get_session_ttl("js") == -1
    await manager.extend_session("js")
    assert await manager.get_session_ttl("js") == 86_400


async def test_damaged_and_foreign_elements_keep_their_places(manager: SessionManager, node: Node) -> None:
    raw = [
        b"{broken",
        b"\xff\xfe",
        b"[1, 2]",
        b'{"id": 7, "from": "user", "text": "a number for an id"}',
        b'{"text":"other order","from":"user","type":"text","id":"odd","mood":"good"}',
        b'{"id":"null","from":"user","text":"no type","type":null,"timestamp":null,"mood":"good"}',
    ]
    _write(node, messages=[], raw=raw)
    history = await manager.get_history("js")
    assert [m.type for m in history] == ["unreadable"] * 4 + ["text", None]
    assert [m.seq for m in history] == [1, 2, 3, 4, 5, 6]
    assert history[0].extra == {"raw": "{broken"}
    assert (history[4].id, history[4].timestamp, history[4].extra) == ("odd", None, {"mood": "good"})
    added = await manager.add_message("js", {"from": "user", "text": "goes on"})
    assert added.seq == 7
    assert [m.seq for m in await manager.get_history("js")] == [3, 4, 5, 6, 7]


async def test_a_sender_of_another_program_is_shown_as_unreadable_with_its_text(
    manager: SessionManager, node: Node
) -> None:
    _write(node, messages=[{**_message(1), "from": "bot"}])
    [message] = await manager.get_history("js")
    assert message.type == "unreadable"
    assert json.loads(message.extra["raw"])["from"] == "bot"


async def test_a_text_with_half_a_surrogate_pair_does_not_hide_the_others(manager: SessionManager, node: Node) -> None:
    """JSON.stringify writes half a pair as an escape. UTF-8 has no form for it."""
    _write(node, messages=[_message(1)], raw=[b'{"id":"half","from":"user","text":"\\ud83d"}'])
    history = await manager.get_history("js")
    assert [m.id for m in history] == ["msg-1", "unreadable-2"]


# Both sides on one session


async def test_a_push_that_keeps_the_count_continues_the_sequence(manager: SessionManager, node: Node) -> None:
    await manager.create_session("u", session_id="s1")
    await manager.add_messages("s1", [{"id": f"py-{n}", "from": "user", "text": str(n)} for n in range(1, 6)])
    node("append_message", sessionId="s1", message=_message(1), maxHistory=5)
    added = await manager.add_message("s1", {"id": "py-6", "from": "user", "text": "6"})
    assert added.seq == 7
    history = await manager.get_history("s1")
    assert [(m.seq, m.id) for m in history] == [(3, "py-3"), (4, "py-4"), (5, "py-5"), (6, "msg-1"), (7, "py-6")]
    again = await manager.add_message("s1", {"id": "py-5", "from": "user", "text": "5"})
    assert (again.seq, again.message.text, again.duplicate) == (5, "5", True)
    read = node("read_session", sessionId="s1")
    assert len(set(read["left"])) == 1


async def test_a_switch_that_raises_the_epoch_fences_a_late_reply(manager: SessionManager, node: Node) -> None:
    session = await manager.create_session("u", session_id="s1")
    node("switch_agent", sessionId="s1", agent="human", epoch=True)
    with pytest.raises(AgentConflict) as caught:
        await manager.add_message("s1", {"from": "assistant", "text": "late"}, epoch=session.agent_epoch)
    assert (caught.value.current_epoch, caught.value.current_agent) == (1, "human")


async def test_a_switch_without_the_epoch_is_seen_but_fences_nothing(manager: SessionManager, node: Node) -> None:
    session = await manager.create_session("u", session_id="s1")
    node("switch_agent", sessionId="s1", agent="human", epoch=False)
    assert await manager.get_session_agent("s1") == "human"
    late = await manager.add_message("s1", {"from": "assistant", "text": "late"}, epoch=session.agent_epoch)
    assert late.seq == 1


def _message(number: int, text: str = "hello") -> dict[str, str]:
    return {
        "id": f"msg-{number}",
        "from": "user",
        "text": text,
        "timestamp": "2026-01-31T08:00:00.000Z",
        "type": "text",
    }


def _write(node: Node, **given: Any) -> dict[str, str]:
    argument = {
        "sessionId": "js",
        "userId": "user123",
        "ttl": 60,
        "maxHistory": 5,
        "metadata": {"name": "客服会话", "type": "support", "priority": 1},
        **given,
    }
    argument["raw"] = [base64.b64encode(element).decode() for element in given.get("raw", [])]
    written: dict[str, str] = node("write_session", **argument)
    return written


def _parse_as_javascript(stored: str) -> Any:
    try:
        return json.loads(stored)
    except ValueError:
        return stored


def _install_modules() -> Path:
    """The node_modules folder with what package.json asks for, made once for each content of it."""
    npm = need_program("npm")
    wanted = PROGRAMS / "package.json"
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chat-session-tests"
    folder = root / f"interop-{sha256(wanted.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        making = root / f"{folder.name}.{os.getpid()}"
        making.mkdir(parents=True, exist_ok=True)
        shutil.copy(wanted, making)
        command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
        try:
            done = subprocess.run(command, cwd=making, capture_output=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            shutil.rmtree(making)
            raise MissingProgram("npm install took longer than a minute") from None
        if done.returncode:
            shutil.rmtree(making)
            raise MissingProgram("npm install failed: " + done.stderr.decode(errors="replace")[-300:])
        try:
            making.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(making)
    return folder / "node_modules"
