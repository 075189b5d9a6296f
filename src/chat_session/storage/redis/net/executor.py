"""Runs commands on the server that has their key, and repeats them after a fault that may pass.

redis-py's own retries are off where the client is ours: they repeat without knowing what. Here every command is safe
to repeat, so after a lost reply it is sent again, within one deadline for the whole call.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, overload

from redis.exceptions import AskError, NoScriptError, RedisError, SlotNotCoveredError

from chat_session.errors import StoreCorrupt, StoreIncompatible
from chat_session.storage.redis.net.commands import (
    Command,
    PlainCommand,
    ReadTransaction,
    UnexpectedReply,
    is_script_reply,
    to_wire,
)
from chat_session.storage.redis.net.decoders import integer, scan_of, text
from chat_session.storage.redis.net.faults import NoReply, classify, explain, is_wrong_type
from chat_session.storage.redis.net.pipeline import PipelinedConnection, end_tasks
from chat_session.storage.redis.net.topology import Topology
from chat_session.storage.redis.net.wire import Arg
from chat_session.telemetry.hooks import Hooks

T = TypeVar("T")

MAX_PAUSE = 1.0  # seconds
MAX_REDIRECTS = 16  # of one try; while a slot is being moved, its two nodes redirect to each other a few times

_FAILED = (RedisError, NoReply)


class RetryPolicy(NamedTuple):
    """How often, how soon and for how long a call is tried. Seconds."""

    retries: int
    delay: float
    call_timeout: float

    def pause(self, attempt: int) -> float:
        """After ``attempt``: anything from 0 to the delay, doubled for each attempt before ("full jitter").

        Never above a second, or above twice the delay if that is longer: a call that sleeps longer misses the end of
        a failover.
        """
        longest = max(MAX_PAUSE, 2 * self.delay)
        return random.uniform(0, min(longest, self.delay * 2.0 ** (attempt - 1)))  # noqa: S311 - jitter

    @property
    def round_trip_timeout(self) -> float:
        """Two of them and a pause fit into a call: one is lost on a dead connection, one is on a new one."""
        return self.call_timeout * 0.4


class CommandExecutor:
    """Runs commands wherever their keys are.

    ``startup_check`` runs beside the calls after the first reply. ``expected_type`` gives the type that a key of
    ours must have, as TYPE says it.
    """

    def __init__(
        self,
        topology: Topology,
        retry_policy: RetryPolicy,
        hooks: Hooks,
        *,
        startup_check: Callable[["CommandExecutor"], Coroutine[Any, Any, None]],
        expected_type: Callable[[bytes], bytes],
    ) -> None:
        self.hooks = hooks
        self._topology = topology
        self._retry_policy = retry_policy
        self.call_timeout = retry_policy.call_timeout  # seconds, for a call of several steps, too
        self._startup_check = startup_check
        self._expected_type = expected_type
        self._checking: asyncio.Task[None] | None = None
        self._closed = False

    def run(self, name: str, command: Command[T], *, on: PipelinedConnection | None = None) -> Awaitable[T]:
        """Run one command; its decoded reply. ``on``: on that server. ``name`` is that of the call, for errors.

        Raises the StoreError that the fault is, which says what was tried; StoreCorrupt names the key; and what the
        command's decoder raises.
        """
        return self._retry(name, command, on, None, asyncio.get_running_loop().time())

    @overload
    async def run_all(self, name: str, commands: Sequence[Command[T]]) -> list[T]: ...
    @overload
    async def run_all(
        self, name: str, commands: Sequence[Command[T]], *, keep_corrupt: Literal[True]
    ) -> list[T | StoreCorrupt]: ...
    async def run_all(
        self, name: str, commands: Sequence[Command[T]], *, keep_corrupt: bool = False
    ) -> list[T] | list[T | StoreCorrupt]:
        """Several in one round trip, as far as they fit; the decoded replies in their order. Raises as ``run``.

        ``keep_corrupt``: a StoreCorrupt is given in the place of the reply instead of being raised. After a fault the
        first command that met it is repeated until it is answered, and then the others together.
        """
        started = asyncio.get_running_loop().time()
        keep = StoreCorrupt if keep_corrupt else ()
        replies: dict[int, Any] = {}
        results: dict[int, Any] = {}  # of those that were repeated
        left: Sequence[int] = range(len(commands))
        while left:
            tries = await self._try_all([commands[i] for i in left], started + self._retry_policy.call_timeout)
            failed = {i: done for i, done in zip(left, tries, strict=True) if not done or isinstance(done[1], _FAILED)}
            replies.update((i, done[1]) for i, done in zip(left, tries, strict=True) if done)
            first = next(iter(failed), None)
            again = [i for i in failed if i == first or isinstance(replies.get(i), AskError)]  # those know their way
            runs = [self._retry(name, commands[i], None, failed.pop(i), started) for i in again]
            results.update(zip(again, await _gather(runs, keep), strict=True))
            left = list(failed)
        if self._checking is None:
            self._begin_startup_check()
        return [results[i] if i in results else self._decode(command, replies[i]) for i, command in enumerate(commands)]

    async def try_once(self, commands: Sequence[Command[Any]]) -> list[Any]:
        """Send each once, if it is known where. The raw replies or the faults; None for what was not sent."""
        expires = asyncio.get_running_loop().time() + self._retry_policy.call_timeout
        return [done and done[1] for done in await self._try_all(commands, expires)]

    async def servers(self) -> Sequence[PipelinedConnection]:
        """Every server that takes writes, for operators' scans. Raises as ``run``."""
        if not self._topology.servers():
            await self.run("discover", PlainCommand((b"EXISTS", b"discover"), integer))
        return self._topology.servers()

    async def scan(
        self,
        name: str,
        before: tuple[Arg, ...],
        *after: Arg,
        items: Callable[[Any], T],
        on: PipelinedConnection | None = None,
    ) -> AsyncIterator[T]:
        """The batches of SCAN, or of one of its kind; the cursor is put between ``before`` and ``after``.

        Raises as ``run``, and StoreIncompatible when a cursor comes again: such a scan would never end.
        """
        cursor = seen = b"0"
        steps = 0
        while True:
            command = PlainCommand((*before, cursor, *after), scan_of(items))
            cursor, found = await self.run(name, command, on=on)
            yield found
            if cursor == b"0":
                return
            if cursor == seen:
                raise self._unexpected_reply(command.name)
            steps += 1
            if steps & (steps - 1) == 0:  # kept at every power of two: a loop of any length is met
                seen = cursor

    async def close(self) -> None:
        """Leave all connections, and close what is ours. Calls under way fail, and are not repeated."""
        self._closed = True
        await self._topology.close()
        if self._checking is not None:  # not cancelled at once: while it connects its socket would stay open
            await end_tasks(self._checking)

    async def _retry(
        self,
        name: str,
        command: Command[Any],
        on: PipelinedConnection | None,
        tried: tuple[PipelinedConnection, Any] | None,
        started: float,
    ) -> Any:
        """The decoded reply of the first try that succeeds. ``tried``: who was asked already, and the outcome."""
        policy = self._retry_policy
        expires = started + policy.call_timeout
        attempt, unknown, connecting = 0, False, False
        while True:
            attempt += 1
            try:
                if tried is None:
                    server = on or self._topology.server_of(command) or await self._discover(command, expires)
                    reply = await server.send(to_wire(command, server), expires)
                else:
                    server, reply = tried
                if isinstance(reply, Exception):
                    reply = await self._follow_redirects(command, server, reply, expires)
            except NoReply as lost:
                cause: Exception = lost.cause
                unknown, connecting = unknown or lost.sent, not lost.sent
                self._topology.invalidate()
            else:
                if not isinstance(reply, RedisError):
                    if self._checking is None:
                        self._begin_startup_check()
                    return self._decode(command, reply)
                if is_wrong_type(reply) and len(command.keys) > 0:
                    await self._raise_wrong_type(command, reply)
                cause = reply
            tried = None
            fault = classify(cause, connecting=connecting)
            pause = policy.pause(attempt)
            elapsed = asyncio.get_running_loop().time() - started
            if not fault.retry or self._closed or attempt > policy.retries or elapsed + pause >= policy.call_timeout:
                where = f"{name} failed on {self._topology.address}"
                raise explain(fault, cause, where, attempt, elapsed, outcome_unknown=unknown) from cause
            self.hooks.retried(name, attempt + 1, fault.reason)
            await asyncio.sleep(pause)

    async def _follow_redirects(
        self, command: Command[Any], server: PipelinedConnection, reply: Any, expires: float
    ) -> Any:
        """From an error to the reply of the server that has the key and knows the script. Raises NoReply."""
        if isinstance(reply, NoReply):
            raise reply
        asking = False
        for _ in range(MAX_REDIRECTS):
            if not isinstance(reply, RedisError):
                break
            if isinstance(reply, NoScriptError):
                server.forget_scripts()
            elif isinstance(reply, AskError) and (target := self._topology.redirect(reply, server)):
                server, asking = target, type(reply) is AskError
            elif not isinstance(command, ReadTransaction):
                break
            command = command.fallback if isinstance(command, ReadTransaction) else command
            reply = await server.send(to_wire(command, server, asking=asking), expires)
        return reply

    async def _discover(self, command: Command[Any], expires: float) -> PipelinedConnection:
        try:
            async with asyncio.timeout_at(expires):
                await self._topology.discover()
        except TimeoutError as error:
            raise NoReply(error, sent=False) from error
        server = self._topology.server_of(command)
        if server is None:
            raise NoReply(SlotNotCoveredError("the slot of the key has no primary"), sent=False)
        return server

    async def _try_all(
        self, commands: Sequence[Command[Any]], expires: float
    ) -> Sequence[tuple[PipelinedConnection, Any] | None]:
        """One try of each: where, and its outcome. None, and nothing is sent, if it is not known where."""
        servers = [server for command in commands if (server := self._topology.server_of(command))]
        if len(servers) < len(commands):  # the first of all calls to a cluster, or the first after a fault
            return [None] * len(commands)
        pending = [
            server.submit(to_wire(command, server), expires) for server, command in zip(servers, commands, strict=True)
        ]
        await _wait_for_all(pending)
        return [(server, reply.exception() or reply.result()) for server, reply in zip(servers, pending, strict=True)]

    def _decode(self, command: Command[T], reply: Any) -> Any:
        """Raises StoreIncompatible for a reply that Redis would not give."""
        decode = command.decode
        if isinstance(command, ReadTransaction) and is_script_reply(reply):
            decode = command.fallback.decode
        try:
            return decode(reply)
        except UnexpectedReply:
            pass
        raise self._unexpected_reply(command.name)

    def _unexpected_reply(self, name: str) -> StoreIncompatible:
        return StoreIncompatible(
            f"{self._topology.address} gave a reply to {name} that Redis would not give. "
            "Check what answers there, and which proxies are in front of it."
        )

    def _begin_startup_check(self) -> None:
        self._checking = asyncio.create_task(self._startup_check(self))

    async def _raise_wrong_type(self, command: Command[Any], cause: Exception) -> None:
        """Find the key whose type made the server refuse, and name it. Returns for a command that reads any type."""
        if isinstance(command, PlainCommand) and command.words[0] == b"TYPE":
            return
        types = await self.run_all("name_wrong_key", [PlainCommand((b"TYPE", key), text) for key in command.keys])
        for key, found in zip(command.keys, types, strict=True):
            wanted = self._expected_type(key)
            if found not in (wanted, b"none"):
                problem = f"is a {found.decode(errors='replace')}, not a {wanted.decode()}"
                raise StoreCorrupt(key.decode(errors="replace"), problem) from cause
        raise StoreCorrupt(command.keys[0].decode(errors="replace"), "had the wrong type a moment ago") from cause


async def _gather(runs: Sequence[Coroutine[Any, Any, Any]], keep: type[BaseException] | tuple[()]) -> list[Any]:
    """Side by side; when all have ended, raise what the first to fail raised, unless it is to be kept."""
    outcomes = await asyncio.gather(*runs, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, keep):
            raise outcome
    return outcomes


async def _wait_for_all(pending: Sequence[asyncio.Future[Any]]) -> None:
    try:
        if pending:
            await asyncio.wait(pending)
    except asyncio.CancelledError:
        for reply in pending:
            reply.cancel()
        raise
