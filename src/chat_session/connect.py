"""The composition root: from a URL, settings or a client to a store.

Stores are given frozen options. They read no settings themselves.
"""

from typing import TYPE_CHECKING, Any

from chat_session.addresses import SCHEMES, parse_sqlite_url
from chat_session.errors import InvalidInput, SettingsError
from chat_session.settings import Settings
from chat_session.storage.contract import Store, is_store, missing_methods
from chat_session.telemetry.hooks import Hooks

if TYPE_CHECKING:
    from chat_session.storage.redis import RedisOptions


def open_store(client_or_store: Any, settings: Settings, hooks: Hooks, *, must_exist: bool = False) -> Store:
    """A store as it is; a redis.asyncio client as a store that leaves it open; None: what the settings name.

    ``must_exist``: an SQLite file that is missing is an error of the first call and is not created.
    Nothing is connected before the first call. Raises SettingsError, InvalidInput.
    """
    if is_store(client_or_store):
        return _check_store(client_or_store)
    scheme, separator, _ = (settings.chat_session_url or "redis://").partition("://")
    if client_or_store is None and scheme == "sqlite" and separator:
        return _open_sqlite(settings, must_exist=must_exist)
    if client_or_store is None and f"{scheme}://" not in SCHEMES:
        raise SettingsError("CHAT_SESSION_URL", f"The URL must begin with one of {' '.join(SCHEMES)}.")
    from chat_session.storage.redis import RedisStore  # noqa: PLC0415 - a store is loaded when it is used

    if client_or_store is None:
        return RedisStore.open(_redis_options(settings), hooks)
    return RedisStore.adopt(client_or_store, _redis_options(settings), hooks)


def name_store(client_or_store: Any, settings: Settings) -> str:
    """Where the store of ``open_store`` is, without a password."""
    if client_or_store is None:
        return settings.address
    if (pool := getattr(client_or_store, "connection_pool", None)) is not None:
        from chat_session.storage.redis import address_of  # noqa: PLC0415 - as above

        return address_of(pool)
    return f"of the given {type(client_or_store).__name__}"


def name_system(client_or_store: Any, settings: Settings) -> str | None:
    """What the store of ``open_store`` is, as OpenTelemetry calls it; None for a store that was given."""
    if is_store(client_or_store):
        return None
    is_sqlite = client_or_store is None and (settings.chat_session_url or "").startswith("sqlite://")
    return "sqlite" if is_sqlite else "redis"


def _check_store(store: Any) -> Store:
    if missing := missing_methods(store):
        allowed = "a store that has all methods of the contract (chat_session.storage.contract)"
        got = f"a {type(store).__module__}.{type(store).__qualname__} without {', '.join(missing)}"
        raise InvalidInput("client_or_store", allowed, got)
    return store  # type: ignore[no-any-return]  # it was checked by hand, for an error that names what is missing


def _open_sqlite(settings: Settings, *, must_exist: bool) -> Store:
    from chat_session.storage.sqlite import SqliteOptions, SqliteStore  # noqa: PLC0415 - as above

    path, mode = parse_sqlite_url(settings.chat_session_url or "")
    options = SqliteOptions(
        path=path,
        mode="rw" if must_exist and mode == "rwc" else mode,
        max_history=settings.max_message_history,
        call_timeout=settings.store_timeout,
        desk=settings.desk,
    )
    return SqliteStore(options)


def _redis_options(settings: Settings) -> "RedisOptions":
    from chat_session.storage.redis import ConnectionOptions, RedisOptions  # noqa: PLC0415 - as above

    files = {
        "ssl_ca_certs": settings.redis_tls_ca_file,
        "ssl_certfile": settings.redis_tls_cert_file,
        "ssl_keyfile": settings.redis_tls_key_file,
    }
    connection = ConnectionOptions(
        url=settings.server_url,
        tls=settings.redis_tls,
        tls_files={name: path for name, path in files.items() if path},
        username=settings.redis_username,
        password=settings.redis_password,
        retries=settings.redis_max_retries,
        retry_delay=settings.redis_retry_delay / 1000,
        call_timeout=settings.store_timeout,
        wait_replicas=settings.redis_wait_replicas,
        wait_timeout_ms=settings.redis_wait_timeout,
    )
    return RedisOptions(
        connection=connection,
        key_prefix=settings.key_prefix,
        key_layout=settings.key_layout,
        default_ttl=settings.default_session_ttl,
        max_history=settings.max_message_history,
        desk=settings.desk,
    )
