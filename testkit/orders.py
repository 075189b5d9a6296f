"""All orders in which the commands of several calls can reach a server.

The calls run as they are. Their executor holds each command until the search releases it. Two orders that differ only
in commands which share no key, or only read, have the same effect, so one of them is tried ("sleep sets").
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextvars import ContextVar
from random import Random
from typing import Any, NamedTuple

from chat_session.storage.redis.net.commands import Call, Command, ReadTransaction
from testkit.raw_server import RawServer

Name = tuple[int, int]  # of a command: its call, and which of that call's commands it is

_READS = frozenset((b"HGET", b"HMGET", b"HGETALL", b"ZSCORE", b"LRANGE", b"LLEN", b"TIME"))
_READING_SCRIPTS = frozenset(("read_desk", "list_seats", "read_entries", "get_history"))
_OTHER_MODEL = re.compile(rb"sessions:due:")  # tests/test_index_model.py tries the orders of these
_UNRELATED = frozenset(("read_counts",))  # what it finds has an effect on counts of days ago only

_call: ContextVar[int] = ContextVar("call")


class Held(NamedTuple):
    """A command that a call has sent and that has not reached the server. ``after``: those that come before it."""

    command: Command[Any]
    reply: asyncio.Future[Any]
    after: tuple[Name, ...]


class HoldingExecutor:
    """In place of the connections. Outside of calls of a search a command reaches the server at once.

    On a cluster the commands of one round trip are on their way at the same time, and only those with a common key
    stay in order. On one server all stay in order. In neither case they are one step.
    """

    call_timeout = 60.0  # seconds

    def __init__(self, server: RawServer, *, on_cluster: bool) -> None:
        self._server = server
        self._on_cluster = on_cluster
        self.held: dict[Name, Held] = {}
        self._sent: dict[int, int] = {}

    async def run(self, name: str, command: Command[Any], **_: Any) -> Any:
        return (await self.run_all(name, [command]))[0]

    async def run_all(self, _name: str, commands: Sequence[Command[Any]], **_: Any) -> list[Any]:
        call = _call.get(None)
        if call is None:
            return [command.decode(self._server.run(command)) for command in commands]
        sent: list[tuple[Name, Command[Any]]] = []
        replies = []
        for command in commands:
            number = self._sent[call] = self._sent.get(call, 0) + 1
            before = tuple(name for name, each in sent if not self._on_cluster or _share_key(each, command))
            reply = asyncio.get_running_loop().create_future()
            self.held[call, number] = Held(command, reply, before)
            sent.append(((call, number), command))
            replies.append(reply)
        answers = [await reply for reply in replies]
        return [command.decode(answer) for command, answer in zip(commands, answers, strict=True)]

    def release(self, name: Name) -> None:
        """The command reaches the server, and its reply the call."""
        held = self.held.pop(name)
        if not held.reply.done():
            held.reply.set_result(self._server.run(held.command))


class Calls:
    """Calls that run at the same time. ``crash_after``: the first one ends for ever after so many commands."""

    def __init__(
        self,
        executor: HoldingExecutor,
        calls: Sequence[Callable[[], Coroutine[Any, Any, Any]]],
        crash_after: int | None = None,
    ) -> None:
        self._executor = executor
        self.crash_after = crash_after
        self.order: list[tuple[int, str]] = []  # for the message of a failure
        self.tasks: list[asyncio.Task[Any]] = []
        for i, call in enumerate(calls):
            token = _call.set(i)
            self.tasks.append(asyncio.ensure_future(call()))
            _call.reset(token)

    @property
    def released_of_first(self) -> int:
        return sum(call == 0 for call, _ in self.order)

    def ready(self) -> dict[Name, Command[Any]]:
        """The commands of which any one may be the next to reach the server."""
        held = self._executor.held
        is_crashed = self.crash_after is not None and self.released_of_first >= self.crash_after
        return {
            name: each.command
            for name, each in sorted(held.items())
            if not (is_crashed and name[0] == 0) and not any(before in held for before in each.after)
        }

    async def release(self, name: Name) -> None:
        self.order.append((name[0], self._executor.held[name].command.name))
        self._executor.release(name)
        await until_quiet()

    def are_independent(self, one: Name, other: Name, ready: dict[Name, Command[Any]]) -> bool:
        if one[0] == other[0] and self.crash_after is not None:
            return False  # one of them may be the last
        return not _conflict(ready[one], ready[other])

    def results(self) -> list[Any]:
        """What each call returned, or its error; None for one that does not end."""
        return [(task.exception() or task.result()) if task.done() else None for task in self.tasks]

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self._executor.held.clear()


async def all_orders(start: Callable[[], Coroutine[Any, Any, Calls]], limit: int) -> AsyncIterator[Calls]:
    """The calls after each order. ``start`` begins them from the same state each time.

    Of more than ``limit`` orders so many are tried, chosen at random, the same each time.
    """
    waiting: list[tuple[list[Name], frozenset[Name]]] = [([], frozenset())]
    choice = Random(limit)
    for _ in range(limit):
        if not waiting:
            return
        order, asleep = waiting.pop(choice.randrange(len(waiting)))
        calls = await start()
        await until_quiet()
        for name in order:
            await calls.release(name)
        while ready := calls.ready():
            awake = [name for name in ready if name not in asleep]
            if not awake:
                break  # this order was tried before
            tried = {name for name in asleep if name in ready}
            for name in awake:
                rest = frozenset(each for each in tried if calls.are_independent(each, name, ready))
                if name == awake[0]:
                    first = rest
                else:
                    waiting.append(([*order, name], rest))
                tried.add(name)
            order, asleep = [*order, awake[0]], first
            await calls.release(awake[0])
        else:
            yield calls
        await calls.end()


async def until_quiet() -> None:
    """Until every call waits for the server or has ended."""
    loop: Any = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:  # noqa: ASYNC110 - a loop has no event for that
        await asyncio.sleep(0)


def _share_key(one: Command[Any], other: Command[Any]) -> bool:
    return not set(one.keys).isdisjoint(other.keys)


def _conflict(one: Command[Any], other: Command[Any]) -> bool:
    if one.name in _UNRELATED or other.name in _UNRELATED:
        return False
    shared = [key for key in {*one.keys} & {*other.keys} if not _OTHER_MODEL.search(key)]
    return bool(shared) and not (_only_reads(one) and _only_reads(other))


def _only_reads(command: Command[Any]) -> bool:
    if isinstance(command, Call):
        return command.script.name in _READING_SCRIPTS
    return isinstance(command, ReadTransaction) or command.words[0] in _READS
