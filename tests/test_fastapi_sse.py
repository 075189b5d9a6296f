"""examples/fastapi_sse.py: the feed as Server-Sent Events. The tests speak ASGI with it, as a server does."""

import asyncio
import importlib.util
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from chat_session import Desk, Hooks, SessionManager

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "fastapi_sse.py"
PAGE = (ROOT / "docs" / "howto-fastapi-sse.md").read_text("utf-8")
LONGEST = 20  # seconds, where many tests share a processor


class Watchers(Hooks):
    """How many feeds are open."""

    def __init__(self) -> None:
        self.open = 0

    def watch_begun(self, session_id: str) -> None:
        self.open += 1

    def watch_ended(self, session_id: str) -> None:
        self.open -= 1


class Chat:
    """The app on a store of its own. ``create``, ``say``: what clients do. ``watchers``: how many feeds are open."""

    def __init__(self, app: Any, manager: SessionManager, watchers: Watchers) -> None:
        self.app = app
        self.manager = manager
        self.watchers = watchers
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat")

    async def create(self) -> str:
        session_id: str = (await self.client.post("/sessions")).json()["sessionId"]
        return session_id

    async def say(self, session_id: str, text: str) -> None:
        answered = await self.client.post(f"/sessions/{session_id}/messages", json={"text": text})
        assert answered.status_code == 201


class Browser:
    """An EventSource: what it reads of one response, and the id that it would send when it connects again."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._unread = ""

    @asynccontextmanager
    async def connect(self, chat: Chat, session_id: str, after: str = "") -> AsyncIterator[None]:
        headers = [] if self.last_id is None else [(b"last-event-id", self.last_id.encode())]
        path = f"/sessions/{session_id}/events"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": f"after={after}".encode(),
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self._gone.clear()
        self._unread = ""
        serving = asyncio.create_task(chat.app(scope, self._receive, self._sent.put))
        try:
            async with asyncio.timeout(LONGEST):
                begun = await self._sent.get()
            self.status = begun["status"]
            self.headers = {name.decode(): value.decode() for name, value in begun["headers"]}
            yield
        finally:
            self._gone.set()
            async with asyncio.timeout(LONGEST):
                await serving
            while not self._sent.empty():
                self._sent.get_nowait()

    async def read(self, name: str) -> dict[str, Any]:
        """Up to the next event of this name."""
        while True:
            event: dict[str, Any] = json.loads((await self.read_block("data"))["data"])
            if event["event"] == name:
                return event

    async def read_block(self, field: str) -> dict[str, str]:
        """Up to the next block that has this field; "" is a comment's."""
        while True:
            while "\n\n" not in self._unread:
                async with asyncio.timeout(LONGEST):
                    part = await self._sent.get()
                self._unread += part["body"].decode()
                if not part.get("more_body"):
                    raise EOFError
            block, _, self._unread = self._unread.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            self.last_id = fields.get("id", self.last_id)
            if field in fields or (not field and block.startswith(":")):
                return fields

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
async def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Chat]:
    monkeypatch.setenv("CHAT_SESSION_URL", f"sqlite:///{tmp_path}/chat.db")
    app, watchers = _load().app, Watchers()
    async with SessionManager(hooks=[watchers]) as manager:
        app.state.manager = manager
        opened = Chat(app, manager, watchers)
        async with opened.client:
            yield opened


async def test_a_browser_sees_what_is_said_and_the_reply_as_it_grows(chat: Chat) -> None:
    session_id, browser = await chat.create(), Browser()
    async with browser.connect(chat, session_id):
        assert (browser.status, browser.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert (browser.headers["cache-control"], browser.headers["x-accel-buffering"]) == ("no-cache", "no")
        state = await browser.read("state")
        assert browser.last_id == state["cursor"]
        await chat.say(session_id, "hi")
        assert (await browser.read("message_appended"))["message"]["text"] == "hi"
        started, text = await browser.read("reply_started"), ""
        while text != "You said: hi":
            text += (await browser.read("reply_delta"))["text"]
        message = (await browser.read("message_appended"))["message"]
        assert (message["id"], message["text"]) == (started["replyId"], "You said: hi")
        assert (await browser.read("reply_committed"))["seq"] == message["seq"] == 2


async def test_a_browser_that_connects_again_goes_on_behind_its_last_event(chat: Chat) -> None:
    session_id, browser = await chat.create(), Browser()
    async with browser.connect(chat, session_id):
        await browser.read("state")
    await chat.manager.add_message(session_id, {"from": "user", "text": "one"})
    for text in ("two", "three"):
        async with browser.connect(chat, session_id):
            await browser.read("state")
            await chat.manager.add_message(session_id, {"from": "user", "text": text})
            told = (await browser.read("message_appended"))["message"]
            if told["text"] == "one":
                told = (await browser.read("message_appended"))["message"]
            assert told["text"] == text


async def test_a_page_that_begins_again_names_the_cursor_and_the_browser_s_own_wins(chat: Chat) -> None:
    session_id, browser = await chat.create(), Browser()
    async with browser.connect(chat, session_id):
        first = (await browser.read("state"))["cursor"]
        await chat.manager.add_messages(session_id, [{"from": "user", "text": text} for text in ("one", "two")])
        one = await browser.read("message_appended")
    again, both = Browser(), Browser()
    both.last_id = one["cursor"]
    async with again.connect(chat, session_id, after=first), both.connect(chat, session_id, after=first):
        assert (await again.read("message_appended"))["message"]["text"] == "one"
        assert (await both.read("message_appended"))["message"]["text"] == "two"


async def test_a_store_that_is_away_is_503() -> None:
    app = _load().app
    async with SessionManager.from_url("redis://127.0.0.1:1/0", redis_max_retries=0) as manager:
        app.state.manager = manager
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat") as client:
            answer = await client.get("/sessions/s/events")
    assert (answer.status_code, answer.json()["retryable"]) == (503, True)
    assert "127.0.0.1" not in answer.text


async def test_a_browser_that_leaves_ends_its_feed(chat: Chat) -> None:
    session_id, browser = await chat.create(), Browser()
    async with browser.connect(chat, session_id):
        await browser.read("state")
        assert chat.watchers.open == 1
    assert chat.watchers.open == 0


async def test_a_comment_keeps_a_quiet_connection_open(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
    session_id, browser = await chat.create(), Browser()
    async with browser.connect(chat, session_id):
        await browser.read("state")
        await browser.read_block("")
        await browser.read_block("")
        await chat.manager.add_message(session_id, {"from": "user", "text": "hi"})
        assert (await browser.read("message_appended"))["message"]["text"] == "hi"


async def test_a_session_that_is_not_there_is_404_and_another_s_cursor_422(chat: Chat) -> None:
    missing = await chat.client.get("/sessions/nope/events")
    assert (missing.status_code, missing.json()["code"]) == (404, "session_not_found")
    refused = await chat.client.get(f"/sessions/{await chat.create()}/events", headers={"last-event-id": "7"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert chat.watchers.open == 0


async def test_the_answer_ends_with_the_session_and_connecting_again_is_404(chat: Chat) -> None:
    session_id, browser = await chat.create(), Browser()
    async with browser.connect(chat, session_id):
        await browser.read("state")
        await chat.manager.delete_session(session_id)
        await browser.read("session_deleted")
        with pytest.raises(EOFError):
            await browser.read("state")
    async with browser.connect(chat, session_id):
        assert browser.status == 404


async def test_a_customer_is_not_told_which_operator_writes(chat: Chat) -> None:
    session_id, browser = await chat.create(), Browser()
    async with browser.connect(chat, session_id):
        await browser.read("state")
        await Desk(chat.manager).answer(session_id, "mei", "Hello, Mei here.")
        told = (await browser.read("message_appended"))["message"]
    [read] = (await chat.client.get(f"/sessions/{session_id}/messages")).json()
    assert (told["text"], told.get("author"), read["text"], read.get("author")) == ("Hello, Mei here.", None) * 2
    assert (await chat.client.get(f"/sessions/{session_id}")).status_code == 204


async def test_typing_reaches_who_watches(chat: Chat) -> None:
    session_id, browser = await chat.create(), Browser()
    async with browser.connect(chat, session_id):
        await browser.read("state")
        assert (await chat.client.post(f"/sessions/{session_id}/typing")).status_code == 204
        assert (await browser.read("typing"))["who"] == "user"


async def test_the_page_is_served_and_handles_every_event_that_shows_something(chat: Chat) -> None:
    html = (await chat.client.get("/")).text
    handled = set(re.findall(r"^  (\w+): ", html.split("const handlers = {")[1].split("};")[0], re.MULTILINE))
    shown = {"state", "gap", "reset", "history_cleared", "reply_started", "reply_delta", "reply_committed"}
    assert handled == shown | {"message_appended", "message_replaced", "message_retracted", "reply_aborted"}


def test_the_howto_shows_its_example_as_it_is() -> None:
    assert f"```python\n{EXAMPLE.read_text('utf-8').rstrip()}\n```" in PAGE
    script = EXAMPLE.with_suffix(".html").read_text("utf-8")
    assert f"```js\n{script.split('<script>')[1].split('</script>')[0].strip()}\n```" in PAGE


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fastapi_sse", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
