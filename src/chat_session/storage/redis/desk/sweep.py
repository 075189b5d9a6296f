"""The sweep of the desk: it returns the sessions of operators who went away, and puts right what others have left."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from chat_session import handoff
from chat_session.clock import to_us
from chat_session.desk_figures import oldest_bucket
from chat_session.desk_options import DeskOptions
from chat_session.errors import SessionNotFound, StoreCorrupt, StoreDenied
from chat_session.handoff import Step
from chat_session.storage.contract import DeskSweep
from chat_session.storage.redis.desk.entries import DeskEntries, to_ms
from chat_session.storage.redis.desk.lists import DeskLists
from chat_session.storage.redis.desk.steps import SessionSteps
from chat_session.storage.redis.history import HistoryReader
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import Command, PlainCommand
from chat_session.storage.redis.net.decoders import integer, whole_score
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import desk as scripts
from chat_session.storage.redis.scripts.index import change_entry, read_entries

T = TypeVar("T")

_log = logging.getLogger("chat_session")

NAME = "sweep_desk"
BATCH = 500  # entries of a bucket, operators, or silent sessions that are looked after at once
AT_ONCE = 50  # sessions that share round trips
CHECK_EVERY = 600_000  # milliseconds between two checks of a session in the desk
REMEMBERED = 30 * 86_400_000  # milliseconds that an operator's capacity is kept without a sign
NEWEST = 50  # messages in which an operator's last one is looked for


class Sweep:
    """One run after another; any number of processes may run one at the same time."""

    def __init__(
        self,
        executor: CommandExecutor,
        keys: Keys,
        entries: DeskEntries,
        steps: SessionSteps,
        lists: DeskLists,
        options: DeskOptions,
    ) -> None:
        self._executor = executor
        self._keys = keys
        self._entries = entries
        self._steps = steps
        self._lists = lists
        self._hand_back_after = options.hand_back_after
        self._is_denied = False

    async def run_once(self) -> DeskSweep:
        try:
            return await self._run()
        except StoreDenied as error:
            if not self._is_denied:
                text = "The user of the store has no right to the keys of the desk, so nothing there is swept: %s"
                _log.warning(text, error, extra={"action": "sweep_denied", "outcome": error.code})
            self._is_denied = True
            return DeskSweep([], [])

    async def _run(self) -> DeskSweep:
        await self._check_due()
        await self._check_leases()
        lapsed_operators, silent = await self._executor.run(NAME, scripts.mark_lapsed(self._entries.keys, limit=BATCH))
        lapsed: list[str] = []
        for operator, generation in lapsed_operators:
            lapsed += await self._return_sessions(operator.decode(errors="replace"), whole_score(generation))
        handed_back: list[str] = []
        if self._hand_back_after is not None:
            names = [session_id.decode(errors="replace") for session_id in silent]
            handed_back = _those(names, await self._for_each(names, self._hand_back))
        await self._forget_old()
        return DeskSweep(lapsed, handed_back)

    # Sessions of the desk, which are checked after a minute and then every ten

    async def _check_due(self) -> None:
        pending = self._keys.check_buckets()
        while pending:
            calls = [read_entries(bucket, lowest="-inf", skip=0, limit=BATCH) for bucket in pending]
            found = zip(pending, await self._executor.run_all(NAME, calls), strict=True)
            due = [(bucket, member, score, read.read_at) for bucket, read in found for member, score in read.due]
            pending = list({bucket for bucket, *_ in due})
            stays = await self._for_each([member.decode(errors="replace") for _, member, *_ in due], self._check)
            changes: list[Command[bool]] = [
                change_entry(
                    bucket, member=member, seen=score, verdict="discard" if done is False else str(at + CHECK_EVERY)
                )
                for (bucket, member, score, at), done in zip(due, stays, strict=True)
            ]
            await self._executor.run_all(NAME, changes)

    async def _check_leases(self) -> None:
        """Claims that have crashed: the session may be assigned, though its entry waits."""
        call = read_entries(self._entries.keys.leases, lowest="-inf", skip=0, limit=BATCH)
        read = await self._executor.run(NAME, call)
        await self._for_each([member.decode(errors="replace") for member, _ in read.due], self._check)

    async def _check(self, session_id: str) -> bool:
        """Make the entry what the session says; whether the session stays in the desk."""
        stamp = await self._entries.find_stamp(NAME, session_id)
        try:
            found = await self._steps.put_right(NAME, session_id)
        except SessionNotFound:
            await self._entries.forget(NAME, session_id, stamp)
            return False
        if found.facts.state != "open":
            return True
        await self._entries.forget(NAME, session_id, found.facts.stamp)
        return False

    # Operators who went away

    async def _return_sessions(self, operator: str, generation: int) -> list[str]:
        seats = await self._lists.read_seats(NAME, operator)
        names = [session_id for _, session_id, _ in seats]
        step = Step("lapse", handoff.lapse(operator, generation))

        async def put_back(session_id: str) -> bool:
            try:
                stepped = await self._steps.take_step(session_id, step)
            except SessionNotFound:
                await self._entries.forget(NAME, session_id, await self._entries.find_stamp(NAME, session_id))
                return False
            return stepped.change is not None

        returned = await self._for_each(names, put_back)
        if None not in returned:
            await self._executor.run(
                NAME, scripts.end_lapse(self._entries.keys, operator=operator, generation=generation)
            )
        return _those(names, returned)

    # Operators who are silent

    async def _hand_back(self, session_id: str) -> bool:
        after = self._hand_back_after or 0
        try:
            found, _ = await self._steps.read(session_id, Step(NAME, handoff.keep))
            last = max(handoff.last_sign(found.facts), await self._find_last_message(session_id))
            if found.facts.state == "assigned" and found.now < last + after * 1_000_000:
                at = to_ms(min(last, found.now)) + round(after * 1000)
                await self._executor.run(NAME, self._idle_command(b"ZADD", b"XX", at, session_id))
                return False
            stepped = await self._steps.take_step(session_id, Step("hand_back", handoff.hand_back_if_silent(after)))
            if stepped.session.desk.state == "assigned":  # the operator has answered meanwhile
                return False
            is_done = stepped.change is not None
        except SessionNotFound:
            is_done = False
        await self._executor.run(NAME, self._idle_command(b"ZREM", session_id))
        return is_done

    def _idle_command(self, command: bytes, *words: bytes | int | str) -> PlainCommand[int]:
        return PlainCommand((command, self._entries.keys.idle, *words), integer)

    async def _find_last_message(self, session_id: str) -> int:
        """When an operator wrote to the customer last, by any call; 0 if that is not among the newest messages."""
        page = await HistoryReader(self._executor, session_id, self._keys.session(session_id)).newest(NAME, NEWEST)
        for message in reversed(page.decode()):
            if message.sender == "operator" and not message.internal and message.timestamp is not None:
                return to_us(message.timestamp)
        return 0

    async def _forget_old(self) -> None:
        """Counts of more than a day ago; then operators who were not here for a month."""
        keys = self._entries.keys
        read = await self._executor.run(NAME, scripts.read_counts(keys, step=handoff.PRIORITY_STEP))
        first = b"%d" % oldest_bucket(read.now)
        old = [field for field in read.counted if _is_below(field.partition(b":")[0], first)]
        if old:
            await self._executor.run(NAME, PlainCommand((b"HDEL", keys.counts, *old), integer))
            await self._executor.run(NAME, scripts.forget_operators(keys, oldest=to_ms(read.now) - REMEMBERED))

    async def _for_each(self, names: Sequence[str], look: Callable[[str], Awaitable[T]]) -> list[T | None]:
        """What each gave; None for a session that cannot be read: it keeps the others from nothing."""

        async def look_at(session_id: str) -> T | None:
            try:
                return await look(session_id)
            except StoreCorrupt as error:
                facts = {"action": "sweep_failed", "session_id": session_id, "outcome": error.code}
                _log.error("The desk cannot look after a session: %s", error, extra=facts)
                return None

        found: list[T | None] = []
        for i in range(0, len(names), AT_ONCE):
            found += await asyncio.gather(*map(look_at, names[i : i + AT_ONCE]))
        return found


def _is_below(digits: bytes, other: bytes) -> bool:
    return (len(digits), digits) < (len(other), other)


def _those(names: Sequence[str], chosen: Sequence[bool | None]) -> list[str]:
    return [name for name, is_chosen in zip(names, chosen, strict=True) if is_chosen]
