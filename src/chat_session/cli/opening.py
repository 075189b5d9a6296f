"""From ``--url`` or the environment to a manager, and back to words fit to be shown."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from chat_session.cli.runner import run
from chat_session.manager import SessionManager
from chat_session.settings import Settings
from chat_session.telemetry.hooks import Hooks

Work = Callable[[SessionManager], Awaitable[int]]

_NAMING_A_STORE = frozenset(("chat_session_url", "redis_host", "redis_port", "redis_db", "redis_password"))


def run_on_store(url: str | None, work: Work, hooks: Sequence[Hooks] = (), *, create: bool = False) -> int:
    """Open the store, do ``work`` on it, close it; the exit code of ``work``. Without a URL: the settings' store.

    Only with ``create`` is a missing SQLite file made: else its name is mistyped.
    """
    return run(_open_and_do(url, work, hooks, must_exist=not create))


async def _open_and_do(url: str | None, work: Work, hooks: Sequence[Hooks], *, must_exist: bool) -> int:
    named: dict[str, Any] = {} if url is None else {"chat_session_url": url}
    async with SessionManager(hooks=hooks, must_exist=must_exist, **named) as manager:
        return await work(manager)


def is_store_named() -> bool:
    """Whether the environment or ``.env`` says where the sessions are."""
    return not _NAMING_A_STORE.isdisjoint(Settings.load().model_fields_set)


def describe_store(settings: Settings) -> str:
    """The URL of the store without its password."""
    return settings.address
