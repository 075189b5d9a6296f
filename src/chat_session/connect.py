"""The composition root: from a URL, settings or a client to a store."""

from typing import Any
from urllib.parse import urlsplit

from chat_session.errors import SettingsError
from chat_session.settings import Settings
from chat_session.storage.contract import SessionStore
from chat_session.telemetry.hooks import Hooks

SCHEMES = "redis:// rediss:// unix:// sqlite:///"


def open_store(settings: Settings, hooks: Hooks) -> SessionStore:
    """The store that the settings name. Nothing is connected before the first call."""
    scheme = urlsplit(settings.chat_session_url or "redis://").scheme
    if scheme == "sqlite":
        from chat_session.storage.sqlite import SqliteStore  # noqa: PLC0415 - a store is loaded when it is used

        return SqliteStore.from_settings(settings)
    if scheme in ("redis", "rediss", "unix"):
        from chat_session.storage.redis import RedisStore  # noqa: PLC0415 - as above

        return RedisStore.from_settings(settings, hooks)
    raise SettingsError("CHAT_SESSION_URL", f"scheme {scheme!r} is not one of {SCHEMES}")


def adopt(client_or_store: Any, settings: Settings, hooks: Hooks) -> SessionStore:
    """A store as it is; a redis.asyncio client as a store, left open when that store closes."""
    if isinstance(client_or_store, SessionStore):
        return client_or_store
    from chat_session.storage.redis import RedisStore  # noqa: PLC0415 - as above

    return RedisStore.from_client(client_or_store, settings, hooks)
