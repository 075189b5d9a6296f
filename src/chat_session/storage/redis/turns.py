"""Turns on Redis: a lease in the session's own keys, and an index of the sessions that wait for a worker."""

from collections.abc import Sequence
from contextlib import suppress

from chat_session.clock import now, to_iso
from chat_session.errors import StoreError
from chat_session.message import Draft
from chat_session.storage.codec import encode_message
from chat_session.storage.contract import Appended, TurnState
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.messages import read_appended
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import turns as scripts
from chat_session.storage.redis.scripts.index import change_entry, read_entries
from chat_session.storage.redis.turn_entries import TurnEntries

# An entry without work is looked at again, since the append that wrote it may still be under way: after so many
# milliseconds, with a fraction in its score that says how often it was. In all longer than an append may take.
LOOKS = ((1_000, 0.5), (9_000, 0.625), (60_000, 0.75))
BUSY_EVERY = 5_000  # milliseconds at most between two looks at a session that a worker has: it may release it before
CHECK_EVERY = 600_000  # milliseconds between two looks at a session that a person has
BATCH = 100  # entries of a bucket that are looked at together


class RedisTurns:
    """Keeps TurnStore's promises on one Redis server or a cluster."""

    def __init__(
        self, executor: CommandExecutor, keys: Keys, entries: TurnEntries, *, default_ttl: int, max_history: int
    ) -> None:
        self._executor = executor
        self._keys = keys
        self._entries = entries
        self._default_ttl = default_ttl
        self._max_history = max_history

    async def take_turn(self, session_id: str, token: str, lease: float) -> TurnState:
        keys, draft = self._keys.session(session_id), self._keys.draft(session_id)
        call = scripts.take_turn(session_id, keys, draft, token=token, lease_ms=_to_ms(lease))
        return await self._executor.run("take_turn", call)

    async def renew_turn(self, session_id: str, token: str, lease: float) -> TurnState:
        keys, draft = self._keys.session(session_id), self._keys.draft(session_id)
        call = scripts.renew_turn(session_id, keys, draft, token=token, lease_ms=_to_ms(lease))
        return await self._executor.run("renew_turn", call)

    async def append_in_turn(
        self, session_id: str, token: str, drafts: Sequence[Draft], read_to: int
    ) -> list[Appended]:
        return await self.append("append_in_turn", session_id, token, drafts, read_to)

    async def append(
        self, name: str, session_id: str, token: str, drafts: Sequence[Draft], read_to: int, reply_id: str = ""
    ) -> list[Appended]:
        """As ``append_in_turn``. ``reply_id``: of the streaming reply that ends with its message."""
        call = scripts.append_in_turn(
            session_id,
            self._keys.session(session_id),
            self._keys.draft(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            token=token,
            read_to=read_to,
            reply_id=reply_id,
            elements=[encode_message(draft) for draft in drafts],
        )
        stored = await self._executor.run(name, call)
        return read_appended(drafts, stored)

    async def release_turn(self, session_id: str, token: str, read_to: int | None, *, unless_newer: bool) -> bool:
        call = scripts.release_turn(
            session_id,
            self._keys.session(session_id),
            self._keys.draft(session_id),
            token=token,
            read_to="" if read_to is None else read_to,
            unless_newer=int(unless_newer),
        )
        return await self._end("release_turn", session_id, call)

    async def stop_turn(self, session_id: str) -> bool:
        keys, draft = self._keys.session(session_id), self._keys.draft(session_id)
        return await self._end("stop_turn", session_id, scripts.stop_turn(session_id, keys, draft))

    async def _end(self, name: str, session_id: str, call: Call[tuple[bool, bool]]) -> bool:
        """What the call says. If the entry cannot be written, the session is found some seconds later."""
        answer, is_pending = await self._executor.run(name, call)
        if is_pending:
            with suppress(StoreError):
                await self._entries.write(name, session_id)
        return answer

    async def list_pending_turns(self, limit: int) -> list[str]:
        """Entries that are due, the earliest first. Those without work get another score, or go."""
        found: list[tuple[float, str]] = []
        pending = dict.fromkeys(self._keys.turn_buckets(), 0)  # how many entries are passed over in each
        while pending:
            calls = [read_entries(bucket, lowest="-inf", skip=skip, limit=BATCH) for bucket, skip in pending.items()]
            replies = zip(list(pending), await self._executor.run_all("list_pending_turns", calls), strict=True)
            due = [(bucket, member, score, read.read_at) for bucket, read in replies for member, score in read.due]
            waiting = await self._look_at(due)
            found += [(float(score), member.decode()) for (_, member, score, _) in waiting]
            passed = {bucket: sum(each[0] == bucket for each in waiting) for bucket in pending}
            read = {bucket: sum(each[0] == bucket for each in due) for bucket in pending}
            pending = {
                bucket: skip + passed[bucket]
                for bucket, skip in pending.items()
                if read[bucket] == BATCH and skip + passed[bucket] < limit
            }
        return [session_id for _, session_id in sorted(found)[:limit]]

    async def _look_at(self, due: Sequence[tuple[bytes, bytes, bytes, int]]) -> list[tuple[bytes, bytes, bytes, int]]:
        """Those whose sessions wait for a worker. ``due``: bucket, member, score, and when it was read."""
        ids = [member.decode(errors="replace") for _, member, _, _ in due]
        checks = [scripts.check_turn(session_id, self._keys.session(session_id)) for session_id in ids]
        states = await self._executor.run_all("list_pending_turns", checks, keep_corrupt=True)
        waiting = []
        changes: list[Call[bool]] = []
        for entry, state in zip(due, states, strict=True):
            bucket, member, score, read_at = entry
            kind, left = state if isinstance(state, tuple) else ("damaged", 0)
            if kind == "pending":
                waiting.append(entry)
            else:
                verdict = _find_verdict(kind, left, score, read_at)
                changes.append(change_entry(bucket, member=member, seen=score, verdict=verdict))
        await self._executor.run_all("list_pending_turns", changes)
        return waiting


def _find_verdict(kind: str, left: int, score: bytes, read_at: int) -> str:
    """What becomes of an entry whose session does not wait for a worker."""
    if kind == "busy":
        return str(read_at + min(left, BUSY_EVERY))
    if kind in ("human", "damaged"):
        return str(read_at + CHECK_EVERY)
    later = [(after, fraction) for after, fraction in LOOKS if fraction > float(score) % 1]
    return str(read_at + later[0][0] + later[0][1]) if later else "discard"


def _to_ms(seconds: float) -> int:
    return max(round(seconds * 1000), 1)
