"""Connections to one server, and how a call survives their faults.

redis-py's own retries are off where the client is ours: they repeat blindly. Here every command is
safe to repeat, so a lost answer is asked for again, within one deadline for the whole call.
"""

import asyncio
import random
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from chat_session.errors import SettingsError, StoreCorrupt
from chat_session.settings import Settings
from chat_session.storage.redis.batching import Lane
from chat_session.storage.redis.faults import Lost, classify, explain, is_wrong_type
from chat_session.storage.redis.keys import expected_type
from chat_session.storage.redis.scripts import Arg, Call
from chat_session.telemetry.hooks import Hooks

Command = Call | tuple[Arg, ...]


Greet = Callable[["Link"], Coroutine[Any, Any, None]]


class Patience(NamedTuple):
    """How often, how soon and how long a call is tried. Seconds."""

    retries: int
    delay: float
    call_timeout: float

    @property
    def round_trip_timeout(self) -> float:
        """Two of them and a wait fit into a call: one lost on a dead connection, one on a new one."""
        return self.call_timeout * 0.4


class PoolConnections:
    """Borrows from a pool, its own or a client's."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def acquire(self) -> AbstractConnection:
        connection: AbstractConnection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        await self._pool.release(connection)


class Link:
    """One server, reached through a pool. ``owned``: the pool is closed with the link.

    ``greet`` runs beside the calls when the server has answered for the first time.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        patience: Patience,
        hooks: Hooks,
        greet: Callable[["Link"], Coroutine[Any, Any, None]],
        *,
        owned: bool,
    ) -> None:
        self.hooks = hooks
        self._greet = greet
        self._pool = pool
        self._patience = patience
        self._owned = owned
        self._lane = Lane(PoolConnections(pool), patience.round_trip_timeout)
        self._greeting: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where the server is; without a password."""
        kwargs = self._pool.connection_kwargs
        return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")

    async def run(self, name: str, command: Command) -> Any:
        """Send, and send again after a fault that may pass; give the reply.

        Raises the StoreError that the fault is, with what was tried. A key of the wrong type is
        raised as for the store to name it.
        """
        return await self._run(name, command, None)

    async def run_all(self, name: str, commands: Sequence[Command]) -> list[Any]:
        """Several in one round trip, as far as they fit; the replies in their order. Raises as ``run``."""
        if not commands:
            return []
        expires = asyncio.get_running_loop().time() + self._patience.call_timeout
        answers = [self._lane.submit(_pack(command), expires) for command in commands]
        await asyncio.wait(answers)
        if unknown := _find_unknown_scripts(commands, answers):
            for script in {commands[i].script for i in unknown}:  # type: ignore[union-attr]
                self._lane.submit(_pack((b"SCRIPT", b"LOAD", script.text)), expires).add_done_callback(_seen)
            for i in unknown:
                answers[i] = self._lane.submit(_pack(commands[i]), expires)
            await asyncio.wait(answers)
        for answer in answers:
            _seen(answer)  # each is looked at below, or not needed once another has raised
        return [await self._run(name, command, answer) for command, answer in zip(commands, answers, strict=True)]

    async def close(self) -> None:
        """Let what is under way finish, then close what is ours."""
        if self._greeting is not None:
            self._greeting.cancel()
        await self._lane.drain()
        if self._owned:
            await self._pool.aclose()

    async def _run(self, name: str, command: Command, first: asyncio.Future[Any] | None) -> Any:
        loop = asyncio.get_running_loop()
        started = loop.time()
        expires = started + self._patience.call_timeout
        packed = b"" if first else _pack(command)
        attempt, unknown, connecting = 0, False, False
        while True:
            attempt += 1
            try:
                reply = await (first or self._lane.send(packed, expires))
            except Lost as lost:
                cause: Exception = lost.cause
                unknown, connecting = unknown or lost.sent, not lost.sent
            else:
                if isinstance(reply, NoScriptError) and isinstance(command, Call):
                    packed, first = _pack_words(command.by_text()), None
                    attempt -= 1
                    continue
                if not isinstance(reply, RedisError):
                    if self._greeting is None:
                        self._greeting = asyncio.create_task(self._greet(self))
                    return reply
                if is_wrong_type(reply):
                    raise await self._name_wrong_key(command) from reply
                cause = reply
            first, packed = None, packed or _pack(command)
            fault = classify(cause, connecting=connecting)
            pause = random.uniform(0, self._patience.delay * 2 ** (attempt - 1))  # noqa: S311 - jitter
            elapsed = loop.time() - started
            if not fault.retry or attempt > self._patience.retries or loop.time() + pause >= expires:
                where = f"{self.address} failed {name}"
                raise explain(fault, cause, where, attempt, elapsed, outcome_unknown=unknown) from cause
            self.hooks.retried(name, attempt + 1, fault.reason)
            await asyncio.sleep(pause)

    async def _name_wrong_key(self, command: Command) -> StoreCorrupt:
        """Find the key whose type made the server refuse."""
        keys = command.keys if isinstance(command, Call) else (_key_of(command),)
        for key, found in zip(
            keys, await self.run_all("name_wrong_key", [(b"TYPE", key) for key in keys]), strict=True
        ):
            wanted = expected_type(key)
            if found not in (wanted, b"none"):
                return StoreCorrupt(key.decode(errors="replace"), f"is a {found.decode()}, not a {wanted.decode()}")
        return StoreCorrupt(keys[0].decode(errors="replace"), "was of the wrong type a moment ago")


def open_pool(settings: Settings) -> ConnectionPool:
    """A pool of our own, from CHAT_SESSION_URL or REDIS_*. Nothing is connected yet."""
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,  # the lane times whole round trips
        "socket_connect_timeout": settings.store_timeout,
    }
    url = settings.chat_session_url
    if url is None:
        options |= {"db": settings.redis_db, "username": settings.redis_username, "password": settings.redis_password}
        scheme = "rediss" if settings.redis_tls else "redis"
        url = f"{scheme}://{settings.redis_host}:{settings.redis_port}"
    elif not url.startswith("unix:") and not re.fullmatch(r"(/\d*)?", urlsplit(url).path):
        raise SettingsError("CHAT_SESSION_URL", "a Redis URL ends in /NUMBER of the database, or in nothing")
    if url.startswith("redis:") and settings.redis_tls:
        raise SettingsError("REDIS_TLS", "is set, but CHAT_SESSION_URL does not ask for TLS; write rediss://")
    if url.startswith("rediss:"):
        files = {
            "ssl_ca_certs": settings.redis_tls_ca_file,
            "ssl_certfile": settings.redis_tls_cert_file,
            "ssl_keyfile": settings.redis_tls_key_file,
        }
        options |= {name: path for name, path in files.items() if path}
    try:
        pool = ConnectionPool.from_url(url, **options)
        pool.make_connection()  # type: ignore[no-untyped-call]  # unknown options in the URL show only here
    except (ValueError, TypeError, RedisError) as error:
        raise SettingsError("CHAT_SESSION_URL", f"is not a URL that can be connected to: {error}") from None
    return pool


def _find_unknown_scripts(commands: Sequence[Command], answers: Sequence[asyncio.Future[Any]]) -> list[int]:
    """Which of the calls the server did not know the script of: all of them are sent again together."""
    return [
        i
        for i, answer in enumerate(answers)
        if not answer.exception() and isinstance(answer.result(), NoScriptError) and isinstance(commands[i], Call)
    ]


def _seen(answer: asyncio.Future[Any]) -> None:
    """Say that an exception in it has been noticed."""
    answer.exception()


def _pack(command: Command) -> bytes:
    return _pack_words(command.by_name() if isinstance(command, Call) else command)


def _pack_words(words: tuple[Arg, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub knows one-element tuples only
    return packed


def _key_of(command: tuple[Arg, ...]) -> bytes:
    key = command[1]
    return key if isinstance(key, bytes) else str(key).encode()
