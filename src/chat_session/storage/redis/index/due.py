"""Looks after the index entries that are due: which sessions live, which have died."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from chat_session.errors import StoreCorrupt
from chat_session.storage.redis.index.entries import DueEntry, Index, Outcome, Verdict
from chat_session.storage.redis.keys import Keys, due_member, parse_due_member
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import integer
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import index as scripts

BATCH = 500  # entries of a bucket per round trip: each costs the server a few microseconds
MAX_REPEATS = 100  # looks at one entry; one that is due in the very millisecond of its deadline takes a few


class DueEntries:
    """The entries of all buckets that are due."""

    def __init__(self, executor: CommandExecutor, keys: Keys, index: Index) -> None:
        self._executor = executor
        self._keys = keys
        self._index = index

    async def check(self, name: str, dead: Verdict) -> tuple[int, int]:
        """Look after the entries that are due, of all buckets at once; how many were reaped, how many sessions live.

        A bucket is done when nothing is due in it but what writers are changing at this moment. Those marked as
        dead before are looked at only when they are to be reaped.
        """
        lowest = "(0" if dead == Verdict.MARK_DEAD else "-inf"
        pending = {bucket: _Progress() for bucket in self._keys.due_buckets()}
        living: dict[bytes, int] = {}
        reaped = 0
        while pending:
            calls = [
                scripts.read_entries(bucket, lowest=lowest, skip=progress.skip, limit=BATCH)
                for bucket, progress in pending.items()
            ]
            due: dict[bytes, list[DueEntry]] = {}
            moved: set[bytes] = set()
            replies = zip(list(pending), await self._executor.run_all(name, calls), strict=True)
            for bucket, read in replies:
                living[bucket] = read.ahead + pending[bucket].living
                if not read.due:
                    del pending[bucket]
                    continue
                due[bucket], strays = _sort_out(self._keys, bucket, read)
                if strays:
                    moved |= {bucket, *await self._correct(name, bucket, strays)}
            outcomes = iter(await self._index.reconcile(name, list(chain.from_iterable(due.values())), dead))
            for bucket, entries in due.items():
                found = [next(outcomes) for _ in entries]
                reaped += found.count(Outcome.REAPED)
                progress = pending.pop(bucket)
                living[bucket] += found.count(Outcome.LIVES)
                again = progress.proceed(bucket, entries, found)
                if again is not None:
                    pending[bucket] = again
            for bucket in moved:
                pending.setdefault(bucket, _Progress())
        return reaped, sum(living.values())

    async def _correct(self, name: str, bucket: bytes, strays: Sequence[tuple[bytes, bytes]]) -> set[bytes]:
        """Move entries that are due in a wrong bucket to their own, and remove those that name no session.

        The buckets they were moved to.
        """
        own: list[tuple[bytes, bytes, bytes]] = []
        for member, score in strays:
            names = parse_due_member(member)
            if names is not None:
                own.append((self._keys.due(names[0]), score, member))
        adds = [PlainCommand((b"ZADD", due, b"NX", score, member), integer) for due, score, member in own]
        await self._executor.run_all(name, adds)
        await self._executor.run_all(name, [PlainCommand((b"ZREM", bucket, member), integer) for member, _ in strays])
        return {due for due, _, _ in own}


class _Progress(NamedTuple):
    """How far a bucket has been checked: ``skip`` entries that writers are changing, ``living`` of their sessions."""

    skip: int = 0
    living: int = 0
    first: DueEntry | None = None  # of those that were changed last
    repeats: int = 0  # how often it has come again, although it was changed

    def proceed(self, bucket: bytes, entries: Sequence[DueEntry], outcomes: Sequence[Outcome]) -> "_Progress | None":
        """Where to read on, None if the bucket is done. Raises StoreCorrupt if looking changes nothing."""
        changed = [
            e for e, outcome in zip(entries, outcomes, strict=True) if outcome in (Outcome.CHANGED, Outcome.REAPED)
        ]
        if changed:
            first = changed[0]
            same = self.first is not None and first[:3] == self.first[:3]
            if same and self.repeats >= MAX_REPEATS:
                member = due_member(first.session_id, first.user_id)
                problem = f"has the entry {member!r}, which stays due although it was checked {MAX_REPEATS} times"
                raise StoreCorrupt(bucket.decode(), problem)
            return _Progress(first=first, repeats=self.repeats + 1 if same else 0)
        if len(entries) < BATCH:
            return None
        return _Progress(self.skip + len(entries), self.living + outcomes.count(Outcome.LIVES))


def _sort_out(keys: Keys, bucket: bytes, read: scripts.Entries) -> tuple[list[DueEntry], scripts.Scores]:
    """The entries of a bucket, and as they are those that do not belong there."""
    entries: list[DueEntry] = []
    strays: scripts.Scores = []
    for member, score in read.due:
        names = parse_due_member(member)
        if names is None or keys.due(names[0]) != bucket:
            strays.append((member, score))
        else:
            entries.append(DueEntry(*names, score, read.read_at))
    return entries, strays
