"""A chat backend on FastAPI: one manager for the process, errors as HTTP answers, fenced AI replies.

python examples/fastapi_app.py                     (needs fastapi and uvicorn; http://127.0.0.1:8000/docs)
uvicorn fastapi_app:app --app-dir examples --workers 2

The store is CHAT_SESSION_URL, or memory where that is unset: with several workers name a server or a
file, since each process has a memory of its own.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from chat_session import (
    AgentConflict,
    ChatSessionError,
    InvalidInput,
    MessageTooLarge,
    SessionCleanup,
    SessionManager,
    SessionNotFound,
    StoreError,
)

log = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The manager belongs to the event loop that serves: it is made in it, and closed in it."""
    url = os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:"
    async with SessionManager.from_url(url) as manager, SessionCleanup(manager):
        app.state.manager = manager
        yield


app = FastAPI(title="chat", lifespan=lifespan)


def get_manager(request: Request) -> SessionManager:
    manager: SessionManager = request.app.state.manager
    return manager


Manager = Annotated[SessionManager, Depends(get_manager)]


class NewSession(BaseModel):
    user_id: str
    metadata: dict[str, Any] = {}


class NewMessage(BaseModel):
    """``id``: the client's own. Sent again after a lost answer, the message is stored once."""

    text: str
    id: str | None = None


@app.post("/sessions", status_code=201)
async def create_session(body: NewSession, manager: Manager) -> dict[str, Any]:
    return (await manager.create_session(body.user_id, body.metadata)).to_dict()


@app.get("/sessions/{session_id}")
async def get_session(session_id: str, manager: Manager) -> dict[str, Any]:
    session = await manager.get_session(session_id)
    if session is None:
        raise SessionNotFound(session_id)
    return session.to_dict()


@app.get("/sessions/{session_id}/messages")
async def get_history(session_id: str, manager: Manager, limit: int = 20) -> list[dict[str, Any]]:
    return [message.to_dict() for message in await manager.get_history(session_id, limit)]


@app.post("/sessions/{session_id}/messages", status_code=201)
async def add_message(
    session_id: str, body: NewMessage, manager: Manager, background: BackgroundTasks
) -> dict[str, Any]:
    message = {"id": body.id, "from": "user", "text": body.text}
    result = await manager.add_message(session_id, message)
    if not result.duplicate:
        background.add_task(answer, manager, session_id)
    return result.to_dict()


@app.post("/sessions/{session_id}/agent/{agent}")
async def switch_agent(session_id: str, agent: str, manager: Manager, expect: int | None = None) -> dict[str, Any]:
    return (await manager.switch_agent(session_id, agent, expect=expect)).to_dict()  # type: ignore[arg-type]  # checked by the manager


async def answer(manager: SessionManager, session_id: str) -> None:
    """Read the session, compute, write with the epoch that was read: a reply that comes late is dropped."""
    session = await manager.get_session(session_id)
    if session is None or session.current_agent != "ai":
        return
    reply = await compute_reply([message.text for message in await manager.get_history(session_id)])
    try:
        await manager.add_message(session_id, {"from": "assistant", "text": reply}, epoch=session.agent_epoch)
    except (AgentConflict, SessionNotFound):
        return  # a person took over, or the session ended


async def compute_reply(texts: list[str]) -> str:
    """The place of a language model."""
    return f"You said: {texts[-1]}"


@app.exception_handler(ChatSessionError)
async def explain(_: Request, error: ChatSessionError) -> JSONResponse:
    """One answer for every error: a status, a stable code, and whether to try again."""
    if isinstance(error, SessionNotFound):
        status = 404
    elif isinstance(error, MessageTooLarge):
        status = 413
    elif isinstance(error, InvalidInput):
        status = 422
    elif isinstance(error, StoreError):
        status = 503 if error.retryable else 500
    else:
        status = 409
    text = str(error)
    if isinstance(error, StoreError):  # its words name addresses: they are for the log, not for the public
        log.error("%s: %s", error.code, error)
        text = "the store did not answer"
    return JSONResponse({"code": error.code, "retryable": error.retryable, "detail": text}, status)


if __name__ == "__main__":
    import uvicorn  # only to serve; not needed if the app is mounted elsewhere

    uvicorn.run(app, host="127.0.0.1", port=8000)
