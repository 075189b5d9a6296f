"""Looks through all keys for what is torn, and mends it. For operators: it reads every key."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from chat_session.clock import now_ms
from chat_session.storage.contract import Finding
from chat_session.storage.redis import scripts
from chat_session.storage.redis.codec import NEVER
from chat_session.storage.redis.connection import Command, Link
from chat_session.storage.redis.index import Hint, Index
from chat_session.storage.redis.keys import Keys, due_member

BATCH = 500


class _Problem(NamedTuple):
    subject: str
    text: str
    repair: str


_ORPHANS = _Problem("orphans", "sessions of which only some keys are left", "removes them")
_UNINDEXED = _Problem("index", "living sessions missing from lists and counts", "indexes them")
_ENDLESS = _Problem("deadlines", "sessions with a ttl and a key without a deadline", "sets it")
_STALE = _Problem("hints", "hints of sessions that vanished before their time", "removes them")


Mends = dict[_Problem, dict[str, Callable[[], Awaitable[object]]]]  # by session id


class Doctor:
    """Walks through all keys in batches; every mend looks again before it acts."""

    def __init__(self, link: Link, keys: Keys, index: Index, default_ttl: int) -> None:
        self._link = link
        self._keys = keys
        self._index = index
        self._default_ttl = default_ttl

    async def check_keys(self, *, repair: bool) -> list[Finding]:
        mends: Mends = {problem: {} for problem in (_ORPHANS, _UNINDEXED, _ENDLESS, _STALE)}
        seen: set[str] = set()
        async for batch in self._scan_session_ids():
            ids = [session_id for session_id in batch if session_id not in seen]
            seen.update(ids)
            await self._check_sessions(ids, mends)
        async for hints in self._scan_hints():
            await self._check_hints(hints, mends)
        findings = []
        for problem, by_session in mends.items():
            if repair:
                for mend in by_session.values():
                    await mend()
            findings.append(_report(problem, list(by_session), repaired=repair))
        return findings

    async def _scan_session_ids(self) -> AsyncIterator[list[str]]:
        for lane in await self._link.servers():
            cursor = b"0"
            while True:
                command = (b"SCAN", cursor, b"MATCH", self._keys.any_session(), b"COUNT", BATCH)
                cursor, found = await self._link.run("diagnose", command, on=lane)
                parsed = (self._keys.parse_session_id(key) for key in found)
                yield [session_id for session_id in parsed if session_id is not None]
                if cursor == b"0":
                    break

    async def _scan_hints(self) -> AsyncIterator[list[Hint]]:
        for due in self._keys.due_buckets():
            cursor = b"0"
            while True:
                cursor, found = await self._link.run("diagnose", (b"ZSCAN", due, cursor, b"COUNT", BATCH))
                yield [Hint(*pair) for pair in zip(found[::2], found[1::2], strict=True)]
                if cursor == b"0":
                    break

    async def _check_sessions(self, ids: Sequence[str], mends: Mends) -> None:
        commands: list[Command] = [(b"HMGET", self._keys.meta(session_id), b"userId", b"ttl") for session_id in ids]
        owners = await self._link.run_all("diagnose", commands)
        for session_id, (user, ttl) in zip(ids, owners, strict=True):
            keys = self._keys.session(session_id)
            if user is None:
                mends[_ORPHANS][session_id] = partial(self._link.run, "diagnose", scripts.remove_orphan(keys))
                continue
            user_id = user.decode(errors="replace")
            index = self._keys.index(session_id, user_id)
            asked: list[Command] = [(b"PTTL", key) for key in keys]
            asked += [(b"ZSCORE", index.due, due_member(session_id, user_id)), (b"ZSCORE", index.user, session_id)]
            *left, due_score, user_score = await self._link.run_all("diagnose", asked)
            if due_score is None or user_score is None or float(due_score) <= 0:
                mends[_UNINDEXED][session_id] = partial(self._index.restore, session_id, user_id)
            if ttl != b"%d" % NEVER and NEVER in left:
                seconds = int(ttl) if ttl and ttl.isdigit() else self._default_ttl
                mends[_ENDLESS][session_id] = partial(self._index.set_ttl, session_id, seconds)

    async def _check_hints(self, hints: Sequence[Hint], mends: Mends) -> None:
        """A hint that is due waits for a sweep; one that is ahead must have a living session."""
        ahead = [hint for hint in hints if float(hint.score) > now_ms()]
        commands: list[Command] = [(b"HGET", self._keys.meta(hint.names[0]), b"userId") for hint in ahead]
        owners = await self._link.run_all("diagnose", commands)
        for hint, owner in zip(ahead, owners, strict=True):
            session_id, user_id = hint.names
            if owner is None or owner.decode(errors="replace") != user_id:
                mends[_STALE][session_id] = partial(self._index.settle, "diagnose", [hint], "remove")


def _report(problem: _Problem, session_ids: Sequence[str], *, repaired: bool) -> Finding:
    if not session_ids:
        return Finding("ok", problem.subject, f"no {problem.text}")
    shown = ", ".join(session_ids[:5]) + (", …" if len(session_ids) > 5 else "")  # noqa: PLR2004
    text = f"{len(session_ids):,} {problem.text}: {shown}"
    if repaired:
        return Finding("ok", problem.subject, f"{text} (mended)")
    return Finding("error", problem.subject, text, repair=problem.repair)
