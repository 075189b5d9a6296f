"""How a call survives the faults of the servers it is sent to.

redis-py's own retries are off where the client is ours: they repeat blindly. Here every command is
safe to repeat, so a lost answer is asked for again, within one deadline for the whole call.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from redis.exceptions import AskError, NoScriptError, RedisError, SlotNotCoveredError

from chat_session.errors import StoreCorrupt, StoreIncompatible
from chat_session.storage.redis.batching import Lane, end_tasks
from chat_session.storage.redis.faults import Lost, classify, explain, is_wrong_type
from chat_session.storage.redis.keys import expected_type
from chat_session.storage.redis.packed import Packed, pack_words
from chat_session.storage.redis.scripts import Arg, Call
from chat_session.storage.redis.shapes import is_command_reply, is_script_reply, is_transaction_reply
from chat_session.storage.redis.topology import Topology
from chat_session.telemetry.hooks import Hooks


class Reading(NamedTuple):
    """Reading commands in one transaction, at a third of what a script costs the server. Its reply is theirs.

    ``script`` asks the same where a transaction is refused: by a server that is full, of a slot on the
    move, to a user who may not.
    """

    commands: tuple[tuple[Arg, ...], ...]
    script: Call


Command = Call | Reading | tuple[Arg, ...]

_MULTI, _EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
_ASKING = b"*1\r\n$6\r\nASKING\r\n"

_FAILED = (RedisError, Lost)

MAX_PAUSE = 1.0  # seconds
MAX_REDIRECTS = 16  # of one call; a slot that is on the move sends us to and fro a few times


class Patience(NamedTuple):
    """How often, how soon and how long a call is tried. Seconds."""

    retries: int
    delay: float
    call_timeout: float

    def pause(self, attempt: int) -> float:
        """After ``attempt``: anything from 0 to the delay, doubled for each attempt before.

        Never above a second, or above twice the delay if that is longer: whoever sleeps on misses the end of a
        failover.
        """
        longest = max(MAX_PAUSE, 2 * self.delay)
        return random.uniform(0, min(longest, self.delay * 2.0 ** (attempt - 1)))  # noqa: S311 - jitter

    @property
    def round_trip_timeout(self) -> float:
        """Two of them and a wait fit into a call: one lost on a dead connection, one on a new one."""
        return self.call_timeout * 0.4


Greet = Callable[["Link"], Coroutine[Any, Any, None]]


class Link:
    """Runs commands wherever their keys live. ``greet`` runs beside the calls after the first answer."""

    def __init__(self, topology: Topology, patience: Patience, hooks: Hooks, greet: Greet) -> None:
        self.hooks = hooks
        self._topology = topology
        self._patience = patience
        self._greet = greet
        self._greeting: asyncio.Task[None] | None = None
        self._closed = False

    async def run(self, name: str, command: Command, *, on: Lane | None = None) -> Any:
        """Send, and send again after a fault that may pass; give the reply. ``on``: to that server.

        Raises the StoreError that the fault is, with what was tried; StoreCorrupt names the key.
        """
        started = asyncio.get_running_loop().time()
        lane = on or self._topology.lane(_key_of(command))
        if lane is None:
            return await self._run(name, command, on, None, started)
        try:
            reply = await lane.send(_pack(command, lane), started + self._patience.call_timeout)
        except Lost as lost:
            reply = lost
        if self._greeting is not None and not isinstance(reply, _FAILED):
            return self._checked(command, reply)  # nearly always
        return await self._run(name, command, on, (lane, reply), started)

    async def run_all(self, name: str, commands: Sequence[Command], *, keep_corrupt: bool = False) -> list[Any]:
        """Several in one round trip, as far as they fit; the replies in their order. Raises as ``run``.

        ``keep_corrupt``: a StoreCorrupt stands in the place of the reply instead of being raised. After a fault the
        first that met it is sent until it is answered, and then the others together again.
        """
        started = asyncio.get_running_loop().time()
        replies: dict[int, Any] = {}
        left: Sequence[int] = range(len(commands))
        while left:
            tries = await self._try_all([commands[i] for i in left], started + self._patience.call_timeout)
            failed = {i: done for i, done in zip(left, tries, strict=True) if not done or isinstance(done[1], _FAILED)}
            replies.update((i, done[1]) for i, done in zip(left, tries, strict=True) if done)
            first = next(iter(failed), None)
            again = [i for i in failed if i == first or isinstance(replies.get(i), AskError)]  # those know their way
            runs = [self._run(name, commands[i], None, failed.pop(i), started) for i in again]
            replies.update(zip(again, await _together(runs, keep=StoreCorrupt if keep_corrupt else ()), strict=True))
            left = list(failed)
        self._begin_greeting()
        return [self._checked(command, replies[i]) for i, command in enumerate(commands)]

    async def _try_all(self, commands: Sequence[Command], expires: float) -> Sequence[tuple[Lane, Any] | None]:
        """One try of each: where, and the reply, or Lost. None, and nothing is sent, if it is not known where."""
        lanes = [lane for command in commands if (lane := self._topology.lane(_key_of(command)))]
        if len(lanes) < len(commands):  # the first of all calls to a cluster, or the first after a fault
            return [None] * len(commands)
        answers = [lane.submit(_pack(command, lane), expires) for lane, command in zip(lanes, commands, strict=True)]
        await _all_seen(answers)
        return list(zip(lanes, map(_outcome, answers), strict=True))

    async def servers(self) -> Sequence[Lane]:
        """Every server that takes writes, for operators' scans. Raises as ``run``."""
        if not self._topology.lanes():
            await self.run("discover", (b"EXISTS", b"discover"))
        return self._topology.lanes()

    async def scan(
        self, name: str, before: tuple[Arg, ...], *after: Arg, on: Lane | None = None
    ) -> AsyncIterator[list[Any]]:
        """The batches of SCAN, or of one of its kind; the cursor stands between ``before`` and ``after``.

        Raises as ``run``, and StoreIncompatible when a cursor comes again: such a scan would never end.
        """
        cursor = seen = b"0"
        steps = 0
        while True:
            cursor, found = await self.run(name, (*before, cursor, *after), on=on)
            yield found
            if cursor == b"0":
                return
            if cursor == seen:
                raise self._strange_reply(_name_of(before))
            steps += 1
            if steps & (steps - 1) == 0:  # kept at every power of two: a loop of any length is met
                seen = cursor

    async def close(self) -> None:
        """Leave all connections, and close what is ours. Calls under way fail, and are not sent again."""
        self._closed = True
        await self._topology.close()
        if self._greeting is not None:  # not cancelled at once: while it connects its socket would stay open
            await end_tasks(self._greeting)

    async def _run(
        self, name: str, command: Command, on: Lane | None, first: tuple[Lane, Any] | None, started: float
    ) -> Any:
        """``first``: where the first try was made, if it was, and what came of it: a reply, or Lost."""
        loop = asyncio.get_running_loop()
        expires = started + self._patience.call_timeout
        attempt, unknown, connecting = 0, False, False
        while True:
            attempt += 1
            try:
                reply = await self._reach(command, on, first, expires)
            except Lost as lost:
                cause: Exception = lost.cause
                unknown, connecting = unknown or lost.sent, not lost.sent
                self._topology.suspect()
            else:
                if not isinstance(reply, RedisError):
                    self._begin_greeting()
                    return self._checked(command, reply)
                if is_wrong_type(reply) and _may_be_wrong_type(command):
                    raise await self._name_wrong_key(command) from reply
                cause = reply
            first = None
            fault = classify(cause, connecting=connecting)
            pause = self._patience.pause(attempt)
            if not fault.retry or self._closed or attempt > self._patience.retries or loop.time() + pause >= expires:
                where = f"{name} failed on {self._topology.address}"
                raise explain(fault, cause, where, attempt, loop.time() - started, outcome_unknown=unknown) from cause
            self.hooks.retried(name, attempt + 1, fault.reason)
            await asyncio.sleep(pause)

    def _checked(self, command: Command, reply: Any) -> Any:
        """The reply, if it is one to this command. Raises StoreIncompatible."""
        if type(command) is Call:
            known = is_script_reply(command, reply)
        elif type(command) is Reading:  # it may have been answered by its script
            known = is_transaction_reply(reply) or is_script_reply(command.script, reply)
        else:
            known = is_command_reply(command, reply)
        if known or isinstance(reply, StoreCorrupt):
            return reply
        raise self._strange_reply(_name_of(command))

    def _strange_reply(self, name: str) -> StoreIncompatible:
        return StoreIncompatible(
            f"{self._topology.address} gave a reply to {name} that Redis would not give. "
            "Check what answers there, and what stands before it."
        )

    def _begin_greeting(self) -> None:
        if self._greeting is None:
            self._greeting = asyncio.create_task(self._greet(self))

    async def _reach(self, command: Command, on: Lane | None, first: tuple[Lane, Any] | None, expires: float) -> Any:
        """One try: the reply of the server that has the key and knows the script. Raises Lost."""
        if first is not None:
            lane, reply = first
        else:
            lane = on or self._topology.lane(_key_of(command)) or await self._discover(_key_of(command), expires)
            reply = await lane.send(_pack(command, lane), expires)
        if isinstance(reply, Lost):
            raise reply
        asking = False
        for _ in range(MAX_REDIRECTS):
            if not isinstance(reply, RedisError):
                break
            if isinstance(reply, NoScriptError):
                lane.forget_scripts()
            elif isinstance(reply, AskError) and (target := self._topology.redirect(reply, lane)):
                lane, asking = target, type(reply) is AskError
            elif not isinstance(command, Reading):
                break
            command = command.script if isinstance(command, Reading) else command
            reply = await lane.send(_pack(command, lane, asking=asking), expires)
        return reply

    async def _discover(self, key: bytes, expires: float) -> Lane:
        try:
            async with asyncio.timeout_at(expires):
                await self._topology.discover()
        except TimeoutError as error:
            raise Lost(error, sent=False) from error
        lane = self._topology.lane(key)
        if lane is None:
            raise Lost(SlotNotCoveredError("the slot of the key has no primary"), sent=False)
        return lane

    async def _name_wrong_key(self, command: Command) -> StoreCorrupt:
        """Find the key whose type made the server refuse."""
        call = command.script if isinstance(command, Reading) else command
        keys = call.keys if isinstance(call, Call) else (_key_of(call),)
        types = await self.run_all("name_wrong_key", [(b"TYPE", key) for key in keys])
        for key, found in zip(keys, types, strict=True):
            wanted = expected_type(key)
            if found not in (wanted, b"none"):
                return StoreCorrupt(
                    key.decode(errors="replace"), f"is a {found.decode(errors='replace')}, not a {wanted.decode()}"
                )
        return StoreCorrupt(keys[0].decode(errors="replace"), "had the wrong type a moment ago")


async def _together(runs: Sequence[Coroutine[Any, Any, Any]], keep: type[BaseException] | tuple[()] = ()) -> list[Any]:
    """Side by side; when all have ended, raise what the first to fail raised, unless it is to be kept."""
    outcomes = await asyncio.gather(*runs, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, keep):
            raise outcome
    return outcomes


async def _all_seen(answers: Sequence[asyncio.Future[Any]]) -> None:
    """Wait for all; an exception in one is noticed, though another may be raised first."""
    try:
        if answers:
            await asyncio.wait(answers)
    except asyncio.CancelledError:
        for answer in answers:
            answer.cancel()
        raise
    for answer in answers:
        answer.exception()


def _outcome(answer: asyncio.Future[Any]) -> Any:
    return answer.exception() or answer.result()


def _pack(command: Command, lane: Lane, *, asking: bool = False) -> Packed:
    """A script's text goes along when the lane meets it first: whatever leaves behind it finds it known."""
    if isinstance(command, Reading):
        queued = b"".join(map(pack_words, command.commands))
        return Packed(_MULTI + queued + _EXEC, writes=False, replies=len(command.commands) + 2)
    if isinstance(command, Call):
        script = command.script
        words, writes = command.by_text() if lane.meets(script.sha) else command.by_name(), script.writes
    else:
        words, writes = command, False
    data = pack_words(words)
    return Packed(_ASKING + data, writes, replies=2) if asking else Packed(data, writes)


def _may_be_wrong_type(command: Command) -> bool:
    """Whether it reads a key as one type. Who says of TYPE or INFO that it met a wrong type is no Redis."""
    return isinstance(command, (Call, Reading)) or (len(command) > 1 and command[0] != b"TYPE")


def _name_of(command: Command) -> str:
    if isinstance(command, Call):
        return command.script.name
    word = command.script.script.name if isinstance(command, Reading) else command[0]
    return word.decode() if isinstance(word, bytes) else str(word)


def _key_of(command: Command) -> bytes:
    if isinstance(command, Call):
        return command.keys[0]
    if isinstance(command, Reading):
        return command.script.keys[0]
    key = command[1]
    return key if isinstance(key, bytes) else str(key).encode()
