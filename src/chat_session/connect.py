"""The composition root: from a URL, settings or a client to a store."""

from typing import Any

from chat_session.errors import SettingsError
from chat_session.settings import Settings
from chat_session.storage.contract import SessionStore
from chat_session.telemetry.hooks import Hooks

SCHEMES = (
    "redis:// rediss:// unix:// redis+sentinel:// rediss+sentinel:// redis+cluster:// rediss+cluster:// sqlite:///"
)


def open_store(settings: Settings, hooks: Hooks) -> SessionStore:
    """The store that the settings name. Nothing is connected before the first call."""
    scheme, separator, _ = (settings.chat_session_url or "redis://").partition("://")
    if scheme == "sqlite" and separator:
        from chat_session.storage.sqlite import SqliteStore  # noqa: PLC0415 - a store is loaded when it is used

        return SqliteStore.from_settings(settings)
    if f"{scheme}://" in SCHEMES.split():
        from chat_session.storage.redis import RedisStore  # noqa: PLC0415 - as above

        return RedisStore.from_settings(settings, hooks)
    raise SettingsError("CHAT_SESSION_URL", f"must begin with one of {SCHEMES}")


def adopt(client_or_store: Any, settings: Settings, hooks: Hooks) -> SessionStore:
    """A store as it is; a redis.asyncio client as a store, left open when that store closes."""
    if isinstance(client_or_store, SessionStore):
        return client_or_store
    from chat_session.storage.redis import RedisStore  # noqa: PLC0415 - as above

    return RedisStore.from_client(client_or_store, settings, hooks)
