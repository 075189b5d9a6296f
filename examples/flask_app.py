"""A chat backend on Flask, through chat_session.blocking.

python examples/flask_app.py                                      (http://127.0.0.1:5000)
gunicorn --chdir examples --workers 2 --threads 8 flask_app:app

A preforking server (gunicorn, uWSGI) copies the process. A manager's connections and its background
thread do not survive that, so the manager is made at first use, in the worker; one that was made
before the fork raises UsedAfterFork. The store is CHAT_SESSION_URL, or memory where that is unset: with
several workers name a server or a file, since each process has a memory of its own.
"""

import logging
import os
from threading import Lock
from typing import Any

from flask import Flask, request

from chat_session import ChatSessionError, InvalidInput, MessageTooLarge, SessionNotFound, StoreError
from chat_session.blocking import SessionManager

log = logging.getLogger(__name__)
app = Flask(__name__)
_making = Lock()
_made: list[SessionManager] = []


def get_manager() -> SessionManager:
    """The one manager of this process, for all its threads; their calls share round trips."""
    with _making:
        if not _made:
            _made.append(SessionManager.from_url(os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:"))
    return _made[0]


def get_body() -> dict[str, Any]:
    body = request.get_json()
    if not isinstance(body, dict):
        raise InvalidInput("body", "a JSON object", f"a {type(body).__name__}")
    return body


@app.post("/sessions")
def create_session() -> tuple[dict[str, Any], int]:
    body = get_body()
    return get_manager().create_session(body.get("user_id", ""), body.get("metadata")).to_dict(), 201


@app.get("/sessions/<session_id>")
def get_session(session_id: str) -> dict[str, Any]:
    session = get_manager().get_session(session_id)
    if session is None:
        raise SessionNotFound(session_id)
    return session.to_dict()


@app.get("/sessions/<session_id>/messages")
def get_history(session_id: str) -> list[dict[str, Any]]:
    limit = request.args.get("limit", 20, type=int)
    return [message.to_dict() for message in get_manager().get_history(session_id, limit)]


@app.post("/sessions/<session_id>/messages")
def add_message(session_id: str) -> tuple[dict[str, Any], int]:
    """The client sends an ``id`` of its own: sent again after a lost answer, the message is stored once."""
    body = get_body()
    message = {"id": body.get("id"), "from": "user", "text": body.get("text")}
    return get_manager().add_message(session_id, message).to_dict(), 201


@app.post("/sessions/<session_id>/agent/<agent>")
def switch_agent(session_id: str, agent: str) -> dict[str, Any]:
    expect = request.args.get("expect", type=int)
    return get_manager().switch_agent(session_id, agent, expect=expect).to_dict()  # type: ignore[arg-type]  # checked by the manager


@app.errorhandler(ChatSessionError)
def explain(error: ChatSessionError) -> tuple[dict[str, Any], int]:
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
    return {"code": error.code, "retryable": error.retryable, "detail": text}, status


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=5000)
