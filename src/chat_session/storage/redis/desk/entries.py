"""The entries of the desk in its own slot: they follow what the steps have made of the sessions."""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from chat_session.clock import DESK_EPOCH, EPOCH
from chat_session.desk_options import DeskOptions
from chat_session.desk_status import DeskFacts, decode_facts, encode_facts
from chat_session.errors import StoreError
from chat_session.handoff import last_sign, queue_place
from chat_session.storage.redis.desk.creations import CreationCounter
from chat_session.storage.redis.keys import DeskKeys, Keys
from chat_session.storage.redis.net.commands import Call, PlainCommand
from chat_session.storage.redis.net.decoders import optional_text
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import desk as scripts

CHECK_AFTER = 60_000  # milliseconds
MAX_DIGITS = 16  # of a number that is whole also for scripts
_OFFSET = (DESK_EPOCH - EPOCH).total_seconds() * 1000  # milliseconds


class Reconciled(NamedTuple):
    place: int  # in the queue of its team, from 1; 0 if it does not wait
    present: bool  # whether the operator who has the session is


class DeskEntries:
    """Writes them. A step that was later at the session wins, in whatever order the writes arrive."""

    def __init__(self, executor: CommandExecutor, keys: Keys, options: DeskOptions) -> None:
        self._executor = executor
        self._all_keys = keys
        self.keys: DeskKeys = keys.desk()
        self.creations = CreationCounter(executor, self.keys.counts)
        self.waiting_ttl = options.waiting_ttl
        self._hand_back_after = options.hand_back_after

    async def reconcile(
        self, name: str, session_id: str, facts: DeskFacts, counted: Iterable[tuple[int, str]] = ()
    ) -> Reconciled:
        """Make the entry what the facts say, and count what they count, if no later step has been there."""
        place, present = await self._executor.run(name, self._reconcile_call(session_id, facts, counted))
        return Reconciled(place, present)

    def _reconcile_call(
        self, session_id: str, facts: DeskFacts, counted: Iterable[tuple[int, str]]
    ) -> Call[tuple[int, bool]]:
        after = self._hand_back_after
        return scripts.reconcile_desk(
            self.keys,
            session_id=session_id,
            stamp=facts.stamp,
            state=facts.state,
            place=f"{queue_place(facts):016d}",
            team=facts.team or "",
            operator=facts.operator or "",
            generation=facts.presence,
            facts=encode_facts(facts),
            idle_at="" if after is None else to_ms(last_sign(facts)) + round(after * 1000),
            counted=[f"{bucket}:{name}" for bucket, name in counted],
        )

    async def find_stamp(self, name: str, session_id: str) -> int:
        """Of the entry, 0 if there is none."""
        command = PlainCommand((b"HGET", self.keys.entries, session_id), optional_text)
        entry = await self._executor.run(name, command)
        return 0 if entry is None else decode_entry(entry).stamp

    def check_call(self, session_id: str) -> Call[None]:
        """Plans a check of the session, longer from now than a call may take."""
        return scripts.plan_check(self._all_keys.check(session_id), member=session_id, after_ms=CHECK_AFTER)

    async def plan_check(self, name: str, session_id: str) -> None:
        await self._executor.run(name, self.check_call(session_id))

    async def leave(self, name: str, session_id: str, stored: bytes) -> None:
        """A session that had these facts was deleted. If that is denied, a sweep of another process does it."""
        try:
            stamp = decode_facts(stored).stamp
        except ValueError:
            return
        with suppress(StoreError):
            await self.forget(name, session_id, stamp)

    async def forget(self, name: str, session_id: str | bytes, stamp: int) -> None:
        """Remove the entry of a session that is open or gone, unless a later step has been there."""
        await self._executor.run(name, scripts.forget_entry(self.keys, session_id=session_id, stamp=stamp))


def decode_entry(entry: bytes) -> DeskFacts:
    """The facts of an entry; those of a session that is open, if it is damaged: then the session is asked."""
    try:
        return decode_facts(entry.rpartition(b"\n")[2])
    except ValueError:
        stamp = entry.partition(b" ")[0]
        return DeskFacts(stamp=int(stamp) if stamp.isdigit() and len(stamp) <= MAX_DIGITS else 0)


def to_ms(us: int) -> int:
    """Milliseconds since 1970."""
    return us // 1000 + int(_OFFSET)
