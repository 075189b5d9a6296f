"""A chat that is live in the browser: the feed of a session as Server-Sent Events, on FastAPI 0.135 or later.

python examples/fastapi_sse.py                     (needs fastapi and uvicorn; then open http://127.0.0.1:8000)
uvicorn fastapi_sse:app --app-dir examples --workers 2 --timeout-graceful-shutdown 3

The store is CHAT_SESSION_URL, or memory where that is unset: with several workers name a server or a file.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, Header, Request
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from chat_session import (
    AgentConflict,
    ChatSessionError,
    InvalidInput,
    Message,
    SessionManager,
    SessionNotFound,
    StoreError,
    TurnBusy,
    TurnLost,
)
from chat_session.events import Event

PAGE = Path(__file__).with_suffix(".html")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with SessionManager.from_url(os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:") as manager:
        app.state.manager = manager
        yield


app = FastAPI(title="live chat", lifespan=lifespan)


def get_manager(request: Request) -> SessionManager:
    manager: SessionManager = request.app.state.manager
    return manager


Manager = Annotated[SessionManager, Depends(get_manager)]


async def open_feed(
    session_id: str, manager: Manager, after: str = "", last_event_id: Annotated[str, Header()] = ""
) -> AsyncIterator[AsyncGenerator[Event]]:
    """The events behind the one that the browser got last, or from now on.

    A browser that connects again sends the header by itself; a page that begins again sends ``after``. The first event
    is read here, before the answer begins, so that a session that is not there is still answered with 404.
    """
    async with aclosing(manager.watch(session_id, after=last_event_id or after or None)) as feed:
        first = await anext(feed)

        async def events() -> AsyncGenerator[Event]:
            yield first
            async for event in feed:
                yield event

        async with aclosing(events()) as opened:
            yield opened


@app.get("/sessions/{session_id}/events", response_class=EventSourceResponse)
async def send_events(feed: Annotated[AsyncGenerator[Event], Depends(open_feed)]) -> AsyncIterator[ServerSentEvent]:
    """The cursor is the id: a browser that connects again sends it as Last-Event-ID."""
    async for event in feed:
        yield ServerSentEvent(data=event.to_dict(), id=event.cursor)


@app.post("/sessions", status_code=201)
async def create_session(manager: Manager) -> dict[str, Any]:
    return (await manager.create_session("visitor")).to_dict()


@app.get("/sessions/{session_id}", status_code=204)
async def check_session(session_id: str, manager: Manager) -> None:
    if not await manager.is_session_active(session_id):
        raise SessionNotFound(session_id)


@app.get("/sessions/{session_id}/messages")
async def get_history(session_id: str, manager: Manager) -> list[dict[str, Any]]:
    return [show_to_customer(message) for message in await manager.get_history(session_id, 100)]


def show_to_customer(message: Message) -> dict[str, Any]:
    """Without the operator's id, as the feed tells it."""
    fields = message.to_dict()
    if message.sender == "operator":
        fields.pop("author", None)
    return fields


class NewMessage(BaseModel):
    text: str
    id: str | None = None


@app.post("/sessions/{session_id}/messages", status_code=201)
async def add_message(
    session_id: str, body: NewMessage, manager: Manager, background: BackgroundTasks
) -> dict[str, Any]:
    result = await manager.add_message(session_id, {"id": body.id, "from": "user", "text": body.text})
    background.add_task(answer, manager, session_id)
    return result.to_dict()


@app.post("/sessions/{session_id}/typing", status_code=204)
async def send_typing(session_id: str, manager: Manager) -> None:
    await manager.send_typing(session_id, "user")


async def answer(manager: SessionManager, session_id: str) -> None:
    """One worker answers; whoever watches the session, in whichever process, sees the reply grow."""
    with suppress(TurnBusy, TurnLost, AgentConflict, SessionNotFound):
        async with manager.turn(session_id) as turn:
            async for messages in turn:
                async with turn.stream() as reply:
                    async for part in compute_reply(messages[-1].text or ""):
                        await reply.write(part)


async def compute_reply(text: str) -> AsyncIterator[str]:
    """The place of a language model."""
    for part in ("You ", "said: ", text):
        yield part
        await asyncio.sleep(0.1)


@app.get("/", response_class=HTMLResponse)
async def show_page() -> str:
    return PAGE.read_text("utf-8")


@app.exception_handler(ChatSessionError)
async def explain(_: Request, error: ChatSessionError) -> JSONResponse:
    """As in fastapi_app.py, which has more cases."""
    text = "the store did not answer" if isinstance(error, StoreError) else str(error)
    statuses = ((SessionNotFound, 404), (InvalidInput, 422), (StoreError, 503))
    status = next((status for kind, status in statuses if isinstance(error, kind)), 409)
    return JSONResponse({"code": error.code, "retryable": error.retryable, "detail": text}, status)


if __name__ == "__main__":
    import uvicorn  # only to serve; not needed if the app is mounted elsewhere

    uvicorn.run(app, host="127.0.0.1", port=8000, timeout_graceful_shutdown=3)
