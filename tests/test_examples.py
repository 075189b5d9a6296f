"""The examples run as they are, and the documentation names exactly what the code has."""

import asyncio
import importlib.util
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from chat_session import ChatSessionError, Desk, Inspector, SessionManager, Settings
from chat_session.storage.redis.net import faults
from chat_session.telemetry.hooks import Hooks
from chat_session.telemetry.prometheus import PrometheusHooks
from chat_session.testing.replies.scene import until_shown
from testkit.backends import ACL, ServerBackend
from testkit.examples import EXAMPLES, run_example

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
SUPPORT_DESK = ROOT / "tests" / "support_desk.txt"  # what the example prints


# The scripts


def test_the_quickstart_prints_its_message() -> None:
    printed = run_example("quickstart.py")
    assert printed.startswith("history: [{'id': 'msg-1', 'from': 'user', 'text': '你好，我需要帮助', 'timestamp': ")
    assert printed.count("\n") == 1


def test_the_takeover_drops_the_late_reply_and_keeps_the_next() -> None:
    assert run_example("takeover.py").splitlines() == [
        "AI: dropped: computed at epoch 0, the session is at 1",
        "Tom: too late, the session is with a human",
        "AI: stored: I have read 4 messages.",
        "1 user: I want to talk to a person",
        "2 system: Mei took over",
        "3 operator: Mei here, how can I help?",
        "4 system: Mei handed back",
        "5 assistant: I have read 4 messages.",
    ]


def test_the_bot_and_the_desk_print_what_their_page_says() -> None:
    page = (DOCS / "howto-bot-and-desk.md").read_text("utf-8")
    assert f"```console\n$ python examples/bot_and_desk.py\n{run_example('bot_and_desk.py')}```" in page


def test_the_bot_and_the_desk_have_60_lines_at_most() -> None:
    program = (EXAMPLES / "bot_and_desk.py").read_text("utf-8")
    assert program.count("\n") <= 60
    assert f"```python\n{program.rstrip()}\n```" in (DOCS / "howto-bot-and-desk.md").read_text("utf-8")


def test_the_support_desk_shows_a_barge_in_a_transfer_a_lapse_and_hand_backs_on_a_file() -> None:
    assert run_example("support_desk.py") == SUPPORT_DESK.read_text("utf-8")


def test_the_support_desk_does_the_same_on_a_server(redis_backend: ServerBackend) -> None:
    assert run_example("support_desk.py", "--url", redis_backend.url, may_warn=True) == SUPPORT_DESK.read_text("utf-8")


WORKER_PRINTS = "".join(
    f"customer-{n}: Are you there? 1 answer, Where is my order? 1 answer\n" for n in range(1, 7)
) + ("hard-question: A hard question! 1 answer\n")


def test_two_workers_answer_each_message_once_on_a_file_though_one_is_killed() -> None:
    assert run_example("worker.py") == WORKER_PRINTS
    page = (DOCS / "howto-worker.md").read_text("utf-8")
    assert f"```console\n$ python examples/worker.py\n{WORKER_PRINTS}```" in page


def test_two_workers_do_the_same_on_a_server(redis_backend: ServerBackend) -> None:
    assert run_example("worker.py", "--url", redis_backend.url, may_warn=True) == WORKER_PRINTS


def test_the_howto_for_a_worker_shows_its_example_as_it_is() -> None:
    program = (EXAMPLES / "worker.py").read_text("utf-8")
    assert f"```python\n{program.rstrip()}\n```" in (DOCS / "howto-worker.md").read_text("utf-8")


async def test_the_cleanup_service_cleans_until_it_is_told_to_stop(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    async with SessionManager.from_url(url) as manager:
        for n in range(3):
            await manager.create_session("u", session_id=f"s{n}")
    with sqlite3.connect(tmp_path / "chat.db") as db:
        db.execute("UPDATE sessions SET deadline = 1 WHERE session_id <> 's0'")
    db.close()
    service = await asyncio.create_subprocess_exec(
        sys.executable,
        EXAMPLES / "cleanup_service.py",
        env={**os.environ, "CHAT_SESSION_URL": url, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(20):
            assert service.stdout is not None
            assert b"is up" in await service.stdout.readline()
            assert b"cleanup removed 2 dead sessions (ok)" in await service.stdout.readline()
            assert b"running every 3600 s" in await service.stdout.readline()
            service.send_signal(signal.SIGTERM)
            assert await service.stdout.read() == b"stopped\n"
            assert await service.wait() == 0
    finally:
        if service.returncode is None:
            service.kill()
            await service.wait()


# FastAPI


@pytest.fixture
async def fastapi_client() -> AsyncIterator[httpx.AsyncClient]:
    app = _load("fastapi_app").app
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat") as client,
    ):
        yield client


async def test_the_fastapi_app_answers_a_message_and_stores_a_repeat_once(fastapi_client: httpx.AsyncClient) -> None:
    created = await fastapi_client.post("/sessions", json={"user_id": "u", "metadata": {"name": "客服会话"}})
    assert created.status_code == 201
    assert created.json()["name"] == "客服会话"
    messages = f"/sessions/{created.json()['sessionId']}/messages"
    first = await fastapi_client.post(messages, json={"text": "hi", "id": "m1"})
    again = await fastapi_client.post(messages, json={"text": "hi", "id": "m1"})
    assert (first.status_code, first.json()["duplicate"], again.json()["duplicate"]) == (201, False, True)
    history = (await fastapi_client.get(messages)).json()
    assert [(m["seq"], m["from"], m["text"]) for m in history] == [(1, "user", "hi"), (2, "assistant", "You said: hi")]


async def test_the_fastapi_app_is_silent_while_a_person_answers(fastapi_client: httpx.AsyncClient) -> None:
    session_id = (await fastapi_client.post("/sessions", json={"user_id": "u"})).json()["sessionId"]
    switched = await fastapi_client.post(f"/sessions/{session_id}/agent/human", params={"expect": 0})
    assert switched.json() == {"success": True, "newAgent": "human", "epoch": 1}
    await fastapi_client.post(f"/sessions/{session_id}/messages", json={"text": "hi"})
    assert len((await fastapi_client.get(f"/sessions/{session_id}/messages")).json()) == 1
    assert (await fastapi_client.get(f"/sessions/{session_id}")).json()["currentAgent"] == "human"


async def test_the_fastapi_app_drops_a_reply_that_comes_after_a_takeover(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _load("fastapi_app")
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        session = await manager.create_session("u")

        async def compute_slowly(texts: list[str]) -> str:
            await manager.switch_agent(session.session_id, "human")
            return "late"

        monkeypatch.setattr(module, "compute_reply", compute_slowly)
        await module.answer(manager, session.session_id)
        assert await manager.get_history(session.session_id) == []


async def test_the_fastapi_app_answers_errors_with_a_status_and_a_code(fastapi_client: httpx.AsyncClient) -> None:
    session_id = (await fastapi_client.post("/sessions", json={"user_id": "u"})).json()["sessionId"]
    answers = [
        await fastapi_client.get("/sessions/gone"),
        await fastapi_client.post("/sessions", json={"user_id": ""}),
        await fastapi_client.post(f"/sessions/{session_id}/messages", json={"text": "x" * 300_000}),
        await fastapi_client.post(f"/sessions/{session_id}/agent/human", params={"expect": 7}),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == ERRORS


async def test_the_fastapi_app_hides_the_stores_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_SESSION_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("REDIS_MAX_RETRIES", "0")
    app = _load("fastapi_app").app
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://chat") as client,
    ):
        answer = await client.get("/sessions/s1")
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "store_unavailable", True)
    assert "127.0.0.1" not in answer.text


ERRORS = [(404, "session_not_found"), (422, "invalid_input"), (413, "message_too_large"), (409, "agent_conflict")]


# Flask


@pytest.fixture
def flask_client() -> Iterator[Any]:
    module = _load("flask_app")
    yield module.app.test_client()
    for manager in module._made:
        manager.close()


def test_the_flask_app_stores_a_repeat_once(flask_client: Any) -> None:
    created = flask_client.post("/sessions", json={"user_id": "u", "metadata": {"name": "客服会话"}})
    assert (created.status_code, created.json["name"]) == (201, "客服会话")
    messages = f"/sessions/{created.json['sessionId']}/messages"
    first = flask_client.post(messages, json={"text": "hi", "id": "m1"})
    again = flask_client.post(messages, json={"text": "hi", "id": "m1"})
    assert (first.status_code, first.json["duplicate"], again.json["duplicate"]) == (201, False, True)
    assert [m["text"] for m in flask_client.get(messages).json] == ["hi"]
    switched = flask_client.post(f"/sessions/{created.json['sessionId']}/agent/human?expect=0")
    assert switched.json == {"success": True, "newAgent": "human", "epoch": 1}


def test_the_flask_app_answers_errors_with_a_status_and_a_code(flask_client: Any) -> None:
    session_id = flask_client.post("/sessions", json={"user_id": "u"}).json["sessionId"]
    answers = [
        flask_client.get("/sessions/gone"),
        flask_client.post("/sessions", json=["no object"]),
        flask_client.post(f"/sessions/{session_id}/messages", json={"text": "x" * 300_000}),
        flask_client.post(f"/sessions/{session_id}/agent/human?expect=7"),
    ]
    assert [(answer.status_code, answer.json["code"]) for answer in answers] == ERRORS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_flask_app_makes_its_manager_in_the_worker_that_was_forked() -> None:
    """As a preforking server does: import in the parent, first use in the child."""
    program = (
        "import os, flask_app\n"
        "assert flask_app._made == []\n"
        "if (child := os.fork()) == 0:\n"
        "    answer = flask_app.app.test_client().post('/sessions', json={'user_id': 'u'})\n"
        "    flask_app._made[0].close()\n"
        "    os._exit(0 if answer.status_code == 201 else 1)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=EXAMPLES, check=True, timeout=20)


# The documentation


def test_the_settings_page_names_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", (DOCS / "settings.md").read_text("utf-8"), re.MULTILINE)
    assert {name: default.strip("`") for name, default in rows} == {
        name.upper(): _shown(field.default) for name, field in Settings.model_fields.items()
    }


def test_the_env_example_names_every_setting_and_changes_nothing(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    lines = (tmp_path / ".env").read_text("utf-8").splitlines()
    names = [line.partition("=")[0] for line in lines if line and not line.startswith("#")]
    assert sorted(names) == sorted(name.upper() for name in Settings.model_fields)
    assert Settings.load() == Settings.model_construct()


def test_the_storage_page_gives_the_acl_user_the_rights_it_is_tested_with() -> None:
    [rules] = re.findall(r"ACL SETUSER chat on >PASSWORD (.*?)```", (DOCS / "storage-layout.md").read_text(), re.DOTALL)
    assert rules.split() == ACL.split()


def test_the_errors_page_names_every_code_with_its_class() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (yes|no) \|", (DOCS / "errors.md").read_text("utf-8"), re.MULTILINE)
    tree = [(kind.code, kind.__name__, "yes" if kind.retryable else "no") for kind in _family(ChatSessionError)]
    assert sorted(rows) == sorted(tree)


def test_the_errors_page_draws_the_tree() -> None:
    drawn = (DOCS / "errors.md").read_text("utf-8").split("```")[1]
    assert re.findall(r"[A-Z]\w+", re.sub(r"\(.*\)", "", drawn)) == [
        kind.__name__ for kind in _family(ChatSessionError)
    ]


def test_the_errors_page_names_every_fault_of_a_server() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| `(store_\w+)` \| (yes|no) \|", (DOCS / "errors.md").read_text("utf-8"), re.MULTILINE
    )
    known = [value for value in vars(faults).values() if isinstance(value, faults.Fault)]
    known += faults._BY_WORD.values()
    assert sorted(rows) == sorted({(f.reason, f.error.code, "yes" if f.retry else "no") for f in known})


def test_the_metrics_page_names_every_metric_with_its_labels() -> None:
    registry = CollectorRegistry()
    PrometheusHooks(registry)
    collectors: list[Any] = list(registry._collector_to_names)
    registered = {
        collector._name + ("_total" if collector._type == "counter" else ""): (
            collector._type,
            ", ".join(f"`{label}`" for label in collector._labelnames) or "none",
        )
        for collector in collectors
    }
    rows = re.findall(
        r"^\| `(chat_session_\w+)` \| (\w+) \| ([^|]+) \|", (DOCS / "metrics.md").read_text("utf-8"), re.MULTILINE
    )
    assert {name: (kind, labels) for name, kind, labels in rows} == registered


async def test_the_page_on_messages_for_agents_is_true() -> None:
    """Its blocks are one story, from the first to the last."""
    page = (DOCS / "messages-for-agents.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 5
    story = textwrap.indent("".join(blocks), "    ")
    names: dict[str, Any] = {}
    exec(f"async def tell(manager):\n{story}", names)
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        await names["tell"](manager)


async def test_the_metrics_page_names_every_operation(redis_backend: ServerBackend) -> None:
    called: set[str] = set()

    class Listener(Hooks):
        def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
            called.add(name)

    async with SessionManager.from_url("sqlite:///:memory:", hooks=[Listener()]) as manager:
        await manager.create_session("u", session_id="s")
        await manager.get_session("s")
        await manager.is_session_active("s")
        await manager.update_session("s", {})
        await manager.extend_session("s")
        await manager.add_message("s", {"id": "m", "from": "user", "text": "hi"})
        await manager.get_history("s")
        await manager.get_or_create_session("s", "u")
        await manager.increment("s", "n")
        await manager.replace_message("s", {"id": "m", "from": "user", "text": "hello"})
        await manager.retract_message("s", "m")
        await manager.pop_messages("s")
        await manager.replace_history("s", [])
        await manager.clear_history("s")
        await manager.assign_session("s", "u")
        await manager.update_state("user:u", await manager.get_state("user:u"))
        await manager.switch_agent("s", "human")
        await manager.set_session_ttl("s", 60)
        await manager.get_session_ttl("s")
        await manager.get_user_sessions("u")
        await manager.get_active_sessions_count()
        await manager.cleanup_expired_sessions()
        await Inspector(manager).diagnose()
        await Inspector(manager).list_sessions()
        assert [found async for found in Inspector(manager).scan_sessions()]
        await manager.check_epoch("s", 1)
        await use_desk(Desk(manager))
        await use_turns(manager)
        await manager.send_typing("s", "user")
        async with aclosing(manager.watch("s")) as feed:
            await anext(feed)
        await manager.delete_session("s")
        await manager.erase_user("u")
    async with redis_backend.open(hooks=[Listener()]) as manager:
        await manager.create_session("u", session_id="s", ttl=60)
        await use_replies(manager)
    listed = (DOCS / "metrics.md").read_text("utf-8").split("`operation` is one of")[1].split(".")[0]
    assert set(re.findall(r"`(\w+)`", listed)) == called


async def use_desk(desk: Desk) -> None:
    """Each of its methods, on the session s."""
    await desk.take_over("s", "ann")
    await desk.transfer("s", "ann", team="b")
    assert await desk.claim_next("ann")
    await desk.decline("s", "ann")
    await desk.answer("s", "ann", "hi")
    await desk.note("s", "ann", "calls back")
    await desk.hand_back("s", "ann")
    await desk.request_human("s")
    await desk.operator_seen("ann")
    await desk.operators()
    await desk.waiting()
    await desk.assigned("ann")
    await desk.stats()


async def use_turns(manager: SessionManager) -> None:
    """Each call of a turn, on the session s."""
    await manager.switch_agent("s", "ai")
    await manager.pending_turns()
    async with manager.turn("s", debounce=0.01) as turn:
        await turn.reply("hi")
        assert await anext(turn, None) is None
    await manager.stop_turn("s")


async def use_replies(manager: SessionManager) -> None:
    """Each call of a streaming reply, on the session s."""
    async with manager.turn("s") as turn:
        for keep in (True, False):
            with suppress(ZeroDivisionError):
                async with turn.stream(keep_partial=keep) as reply:
                    await reply.write("hi")
                    await until_shown(reply, 2)
                    raise ZeroDivisionError
        async with turn.stream() as reply:
            await reply.write("hi")


@pytest.mark.parametrize("name", ["fastapi", "flask"])
def test_a_howto_shows_its_example_as_it_is(name: str) -> None:
    page = (DOCS / f"howto-{name}.md").read_text("utf-8")
    assert f"```python\n{(EXAMPLES / f'{name}_app.py').read_text('utf-8').rstrip()}\n```" in page


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_pages_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        path, anchor = target
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings], target


def _load(name: str) -> ModuleType:
    """A fresh copy of the module: it reads the environment again."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _shown(default: object) -> str:
    if default is None:
        return "unset"
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) or "empty"


def _family(kind: type[ChatSessionError]) -> list[type[ChatSessionError]]:
    """The class and its descendants of this package, depth first, in the order of their definition."""
    children = [child for child in kind.__subclasses__() if child.__module__ == ChatSessionError.__module__]
    return [kind, *(one for child in children for one in _family(child))]
