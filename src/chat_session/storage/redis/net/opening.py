"""From settings, or from a client that was handed in, to the servers behind them. Nothing connects yet."""

from collections.abc import Sequence
from functools import partial
from inspect import signature
from typing import Any
from urllib.parse import unquote, urlencode

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat_session.addresses import StoreUrl, parse_url
from chat_session.errors import InvalidInput, SettingsError
from chat_session.storage.redis.net.cluster import Address, Cluster
from chat_session.storage.redis.net.executor import RetryPolicy
from chat_session.storage.redis.net.options import ConnectionOptions
from chat_session.storage.redis.net.pipeline import Confirmation, PipelinedConnection
from chat_session.storage.redis.net.topology import (
    DedicatedConnection,
    OneServer,
    PooledConnections,
    Topology,
    address_of,
)
from chat_session.telemetry.hooks import Hooks

SENTINEL_PORT, CLUSTER_PORT = 26379, 6379


class Opener:
    """Makes pools and connections as the options say."""

    def __init__(self, options: ConnectionOptions, hooks: Hooks) -> None:
        self._options = options
        self._hooks = hooks
        self.retry_policy = RetryPolicy(options.retries, options.retry_delay, options.call_timeout)

    def open(self) -> Topology:
        """The servers that the URL names. Raises SettingsError."""
        url = parse_url(self._options.url)
        tls = self._options.tls or url.scheme.startswith("rediss")
        openers = {"redis+sentinel": self._open_sentinel, "redis+cluster": self._open_cluster}
        try:
            return openers.get(url.topology, self._open_server)(url, tls=tls)
        except (ValueError, TypeError, RedisError):
            problem = _explain_options(url)
        raise problem  # not while the error is handled: it may hold a value of the URL

    def adopt(self, client: object) -> Topology:
        """The servers of a client, whatever its decoding, protocol and retries; it stays its owner's to close."""
        if isinstance(client, Redis):
            return OneServer(client.connection_pool, partial(self._connect, PooledConnections))
        if isinstance(client, RedisCluster):
            nodes = tuple(client.nodes_manager.startup_nodes.values())
            kwargs = {k: v for k, v in nodes[0].connection_kwargs.items() if k not in ("host", "port")}
            kwargs["retry"] = Retry(NoBackoff(), 0)
            kind = nodes[0].connection_class

            def make_pool(address: Address) -> ConnectionPool:
                return ConnectionPool(kind, host=address[0], port=address[1], **kwargs)

            return self._cluster([(node.host, int(node.port)) for node in nodes], make_pool)
        allowed = "a redis.asyncio client (Redis or RedisCluster), a store or None"
        raise InvalidInput(
            "client_or_store",
            allowed,
            f"a {type(client).__module__}.{type(client).__name__}",
            "For a URL, use from_url.",
        )

    def _open_server(self, url: StoreUrl, *, tls: bool) -> Topology:
        scheme = "rediss" if tls and url.scheme == "redis" else url.scheme
        address = f"{scheme}://{url.hosts if scheme != 'unix' else ''}{url.path}?{urlencode(url.options)}"
        pool = ConnectionPool.from_url(address, **self._connecting(tls=scheme == "rediss"), **self._login(url))
        pool.make_connection()  # type: ignore[no-untyped-call]  # unknown options in the URL show only here
        return OneServer(pool, self._connect_own, pool)

    def _open_sentinel(self, url: StoreUrl, *, tls: bool) -> Topology:
        """``redis+sentinel://user:password@host1:26379,host2/service/db``; the user is the data servers'."""
        _refuse_options(url)
        service, _, database = url.path.lstrip("/").partition("/")
        options = self._connecting(tls=tls) | {"db": int(database or 0)}
        if tls:
            options["ssl"] = True
        asking = {k: v for k, v in options.items() if k.startswith("ssl")}
        asking |= {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "retry": Retry(NoBackoff(), 0)}
        sentinel = Sentinel(url.addresses(SENTINEL_PORT), sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        client = sentinel.master_for(unquote(service), **self._login(url), **options)
        return OneServer(client.connection_pool, self._connect_own, client.connection_pool, *sentinel.sentinels)

    def _open_cluster(self, url: StoreUrl, *, tls: bool) -> Topology:
        """``redis+cluster://user:password@host1:7000,host2:7000``; it has no numbered databases."""
        _refuse_options(url)
        options = self._connecting(tls=tls) | self._login(url)
        kind = SSLConnection if tls else Connection

        def make_pool(address: Address) -> ConnectionPool:
            return ConnectionPool(kind, host=address[0], port=address[1], **options)

        return self._cluster(url.addresses(CLUSTER_PORT), make_pool)

    def _login(self, url: StoreUrl) -> dict[str, Any]:
        """The URL's; that of the options where it has no password."""
        if url.password is not None:
            return {"username": url.user, "password": url.password}
        return {"username": url.user or self._options.username, "password": self._options.password}

    def _cluster(self, addresses: Sequence[Address], make_pool: Any) -> Cluster:
        return Cluster(addresses, make_pool, self._connect_own, timeout=min(1.0, self.retry_policy.round_trip_timeout))

    def _connecting(self, *, tls: bool) -> dict[str, Any]:
        """What every connection of ours is made with."""
        return {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": None,  # the pipeline times whole round trips
            "socket_connect_timeout": self._options.call_timeout,
            **(self._options.tls_files if tls else {}),
        }

    def _connect_own(self, pool: ConnectionPool) -> PipelinedConnection:
        return self._connect(DedicatedConnection, pool)

    def _connect(self, borrow: type[PooledConnections], pool: ConnectionPool) -> PipelinedConnection:
        confirmation = Confirmation(self._options.wait_replicas, self._options.wait_timeout_ms)
        timeout = self.retry_policy.round_trip_timeout
        return PipelinedConnection(address_of(pool), borrow(pool), timeout, confirmation, self._hooks)


def _explain_options(url: StoreUrl) -> SettingsError:
    """Names only options that exist: what looks like another one may be a part of a password."""
    kinds = (AbstractConnection, Connection, SSLConnection, ConnectionPool)
    known = {name for kind in kinds for name in signature(kind).parameters}
    if url.options.keys() <= known:
        given = ", ".join(sorted(url.options))
        return SettingsError(
            "CHAT_SESSION_URL", f"One of these options of the URL has a value it cannot have: {given}."
        )
    text = "The URL has an option after the question mark that redis-py does not know. Remove or correct it."
    return SettingsError("CHAT_SESSION_URL", text)


def _refuse_options(url: StoreUrl) -> None:
    if url.options:
        text = "A URL for Sentinel or a cluster takes no options after the question mark, except username and password."
        raise SettingsError("CHAT_SESSION_URL", text)
