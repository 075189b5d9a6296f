"""The composition root: from a URL, settings or a client to a store."""

from typing import Any

from chat_session.addresses import SCHEMES
from chat_session.errors import SettingsError
from chat_session.settings import Settings
from chat_session.storage.contract import SessionStore
from chat_session.telemetry.hooks import Hooks


def open_store(client_or_store: Any, settings: Settings, hooks: Hooks, *, must_exist: bool = False) -> SessionStore:
    """A store as it is; a redis.asyncio client as a store that leaves it open; None: what the settings name.

    ``must_exist``: an SQLite file that is missing is an error of the first call and is not created.
    Nothing is connected before the first call. Raises SettingsError, InvalidInput.
    """
    if isinstance(client_or_store, SessionStore):
        return client_or_store
    scheme, separator, _ = (settings.chat_session_url or "redis://").partition("://")
    if client_or_store is None and scheme == "sqlite" and separator:
        from chat_session.storage.sqlite import SqliteStore  # noqa: PLC0415 - a store is loaded when it is used

        return SqliteStore.from_settings(settings, must_exist=must_exist)
    if client_or_store is None and f"{scheme}://" not in SCHEMES:
        raise SettingsError("CHAT_SESSION_URL", f"The URL must begin with one of {' '.join(SCHEMES)}.")
    from chat_session.storage.redis import RedisStore  # noqa: PLC0415 - as above

    if client_or_store is None:
        return RedisStore.from_settings(settings, hooks)
    return RedisStore.from_client(client_or_store, settings, hooks)


def name_store(client_or_store: Any, settings: Settings) -> str:
    """Where the store of ``open_store`` is, without a password."""
    if client_or_store is None:
        return settings.address
    if (pool := getattr(client_or_store, "connection_pool", None)) is not None:
        from chat_session.storage.redis.topology import address_of  # noqa: PLC0415 - as above

        return address_of(pool)
    return f"of the given {type(client_or_store).__name__}"
