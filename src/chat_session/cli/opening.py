"""From ``--url`` or the environment to a manager, and back to words fit to be shown."""

from collections.abc import Awaitable, Callable, Sequence

from chat_session.cli.runner import run
from chat_session.manager import SessionManager
from chat_session.settings import Settings
from chat_session.telemetry.hooks import Hooks

Work = Callable[[SessionManager], Awaitable[int]]

_NAMING_A_STORE = frozenset(("chat_session_url", "redis_host", "redis_port", "redis_db", "redis_password"))


def run_on_store(url: str | None, work: Work, hooks: Sequence[Hooks] = ()) -> int:
    """Open the store, do ``work`` on it, close it; the exit code of ``work``. Without a URL: the settings' store."""
    return run(_open_and_do(url, work, hooks))


async def _open_and_do(url: str | None, work: Work, hooks: Sequence[Hooks]) -> int:
    opened = SessionManager(hooks=hooks) if url is None else SessionManager.from_url(url, hooks=hooks)
    async with opened as manager:
        return await work(manager)


def is_store_named() -> bool:
    """Whether the environment or ``.env`` says where the sessions are."""
    return not _NAMING_A_STORE.isdisjoint(Settings.load().model_fields_set)


def describe_store(settings: Settings) -> str:
    """The URL of the store without its password."""
    return settings.address
