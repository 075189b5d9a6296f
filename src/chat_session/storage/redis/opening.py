"""From settings, or from a client that was handed in, to the servers behind them. Nothing connects yet."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat_session.errors import InvalidInput, SettingsError
from chat_session.settings import Settings
from chat_session.storage.redis.batching import Confirmation, Lane
from chat_session.storage.redis.cluster import Address, Cluster
from chat_session.storage.redis.connection import Patience
from chat_session.storage.redis.topology import HeldConnection, OneServer, PoolConnections, Topology, address_of
from chat_session.telemetry.hooks import Hooks

SENTINEL_PORT, CLUSTER_PORT = 26379, 6379


class Opener:
    """Makes lanes and pools as the settings say."""

    def __init__(self, settings: Settings, hooks: Hooks) -> None:
        self._settings = settings
        self._hooks = hooks
        self.patience = Patience(settings.redis_max_retries, settings.redis_retry_delay / 1000, settings.store_timeout)

    def open(self) -> Topology:
        """The servers that CHAT_SESSION_URL or REDIS_* name. Raises SettingsError."""
        url = self._settings.chat_session_url
        if url is None:
            scheme = "rediss" if self._settings.redis_tls else "redis"
            host = f"[{self._settings.redis_host}]" if ":" in self._settings.redis_host else self._settings.redis_host
            return self._open_server(f"{scheme}://{host}:{self._settings.redis_port}", own_user=True)
        try:
            scheme = urlsplit(url).scheme.replace("rediss", "redis")
            tls = self._settings.redis_tls or url.startswith("rediss")
            if scheme == "redis+sentinel":
                return self._open_sentinel(url, tls=tls)
            if scheme == "redis+cluster":
                return self._open_cluster(url, tls=tls)
            if tls and scheme == "redis":
                url = "rediss" + url[url.index(":") :]
            return self._open_server(url, own_user=False)
        except (ValueError, TypeError, RedisError) as error:
            if isinstance(error, SettingsError):
                raise
            raise SettingsError("CHAT_SESSION_URL", f"is not a URL that can be connected to: {error}") from None

    def adopt(self, client: object) -> Topology:
        """The servers of a client, whatever its decoding, protocol and retries; it stays its owner's to close."""
        if isinstance(client, Redis):
            return OneServer(client.connection_pool, partial(self._lane, PoolConnections))
        if isinstance(client, RedisCluster):
            nodes = tuple(client.nodes_manager.startup_nodes.values())
            kwargs = {k: v for k, v in nodes[0].connection_kwargs.items() if k not in ("host", "port")}
            kwargs["retry"] = Retry(NoBackoff(), 0)
            kind = nodes[0].connection_class

            def make_pool(address: Address) -> ConnectionPool:
                return ConnectionPool(kind, host=address[0], port=address[1], **kwargs)

            return self._cluster([(node.host, int(node.port)) for node in nodes], make_pool)
        allowed = "a redis.asyncio client (Redis or RedisCluster), a SessionStore or None (for a URL: from_url)"
        raise InvalidInput("client_or_store", allowed, f"a {type(client).__module__}.{type(client).__name__}")

    def _open_server(self, url: str, *, own_user: bool) -> Topology:
        options = self._connecting(tls=url.startswith("rediss:"))
        if own_user:
            options |= {"username": self._settings.redis_username, "password": self._settings.redis_password}
            options["db"] = self._settings.redis_db
        elif not url.startswith("unix:"):
            _check_database(urlsplit(url).path)
        pool = ConnectionPool.from_url(url, **options)
        pool.make_connection()  # type: ignore[no-untyped-call]  # unknown options in the URL show only here
        return OneServer(pool, self._own_lane, pool)

    def _open_sentinel(self, url: str, *, tls: bool) -> Topology:
        """``redis+sentinel://user:password@host1:26379,host2/service/db``; the user is the data servers'."""
        user, password, addresses = _split_hosts(url, SENTINEL_PORT)
        service, _, database = urlsplit(url).path.lstrip("/").partition("/")
        if not service:
            raise SettingsError("CHAT_SESSION_URL", "of Sentinel ends in /SERVICE or /SERVICE/DATABASE")
        options = self._connecting(tls=tls) | {"db": int(_check_database(database) or 0)}
        if tls:
            options["ssl"] = True
        asking = {k: v for k, v in options.items() if k.startswith("ssl")}
        asking |= {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": Retry(NoBackoff(), 0)}
        sentinel = Sentinel(addresses, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        client = sentinel.master_for(unquote(service), username=user, password=password, **options)
        return OneServer(client.connection_pool, self._own_lane, client.connection_pool, *sentinel.sentinels)

    def _open_cluster(self, url: str, *, tls: bool) -> Topology:
        """``redis+cluster://user:password@host1:7000,host2:7000``; it has no numbered databases."""
        user, password, addresses = _split_hosts(url, CLUSTER_PORT)
        if urlsplit(url).path not in ("", "/", "/0"):
            raise SettingsError("CHAT_SESSION_URL", "of a cluster names no database")
        options = self._connecting(tls=tls) | {"username": user, "password": password}
        kind = SSLConnection if tls else Connection

        def make_pool(address: Address) -> ConnectionPool:
            return ConnectionPool(kind, host=address[0], port=address[1], **options)

        return self._cluster(addresses, make_pool)

    def _cluster(self, addresses: Sequence[Address], make_pool: Any) -> Cluster:
        return Cluster(addresses, make_pool, self._own_lane, timeout=min(1.0, self.patience.round_trip_timeout))

    def _connecting(self, *, tls: bool) -> dict[str, Any]:
        """What every connection of ours is made with."""
        settings = self._settings
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": None,  # the lane times whole round trips
            "socket_connect_timeout": settings.store_timeout,
        }
        if tls:
            files = {
                "ssl_ca_certs": settings.redis_tls_ca_file,
                "ssl_certfile": settings.redis_tls_cert_file,
                "ssl_keyfile": settings.redis_tls_key_file,
            }
            options |= {name: path for name, path in files.items() if path}
        return options

    def _own_lane(self, pool: ConnectionPool) -> Lane:
        return self._lane(HeldConnection, pool)

    def _lane(self, borrow: type[PoolConnections], pool: ConnectionPool) -> Lane:
        confirmation = Confirmation(self._settings.redis_wait_replicas, self._settings.redis_wait_timeout)
        return Lane(address_of(pool), borrow(pool), self.patience.round_trip_timeout, confirmation, self._hooks)


def _split_hosts(url: str, default_port: int) -> tuple[str | None, str | None, list[Address]]:
    """User, password and addresses of a URL that names several hosts."""
    credentials, _, hosts = urlsplit(url).netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    addresses = []
    for host in hosts.split(","):
        parts = urlsplit(f"//{host}")
        if not parts.hostname:
            raise SettingsError("CHAT_SESSION_URL", "names no host")
        addresses.append((parts.hostname, parts.port or default_port))
    return unquote(user) or None, unquote(password) or None, addresses


def _check_database(text: str) -> str:
    number = text.strip("/")
    if not re.fullmatch(r"\d*", number):
        raise SettingsError("CHAT_SESSION_URL", "ends in /NUMBER of the database, or in nothing")
    return number
