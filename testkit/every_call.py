"""Every call of the package, made on a store whose data or answers may be anything."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from chat_session import ChatSessionError, Inspector, SessionManager

MESSAGE = {"id": "m", "from": "user", "text": "x"}


async def _scan(manager: SessionManager) -> None:
    async for _ in Inspector(manager).scan_sessions():
        pass


CALLS: dict[str, Callable[[SessionManager], Coroutine[Any, Any, Any]]] = {
    "create": lambda manager: manager.create_session("u", session_id="s"),
    "get": lambda manager: manager.get_session("s"),
    "agent": lambda manager: manager.get_session_agent("s"),
    "active": lambda manager: manager.is_session_active("s"),
    "update": lambda manager: manager.update_session("s", {"a": 1}),
    "delete": lambda manager: manager.delete_session("s"),
    "extend": lambda manager: manager.extend_session("s"),
    "append": lambda manager: manager.add_message("s", MESSAGE),
    "history": lambda manager: manager.get_history("s"),
    "window": lambda manager: manager.get_history("s", after=1),
    "switch": lambda manager: manager.switch_agent("s", "human"),
    "set_ttl": lambda manager: manager.set_session_ttl("s", 5),
    "get_ttl": lambda manager: manager.get_session_ttl("s"),
    "list": lambda manager: manager.list_user_sessions("u", limit=3),
    "list all": lambda manager: Inspector(manager).list_sessions(limit=3),
    "count": lambda manager: manager.get_active_sessions_count(),
    "sweep": lambda manager: manager.cleanup_expired_sessions(),
    "scan": _scan,
    "diagnose": lambda manager: Inspector(manager).diagnose(repair=True),
}


async def make_every_call(url: str, **options: Any) -> None:
    """Fails if a call raises an error that is not of the package, or does not end within 10 s."""
    options = {"store_timeout": 2.0, "redis_max_retries": 0} | options
    async with SessionManager.from_url(url, **options) as manager:
        for name, call in CALLS.items():
            try:
                async with asyncio.timeout(10):
                    await call(manager)
            except ChatSessionError:
                pass
            except TimeoutError:
                raise AssertionError(f"{name} did not end") from None
