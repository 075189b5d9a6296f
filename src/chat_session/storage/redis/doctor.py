"""Looks through all keys for what is torn, and mends it. For operators: it reads every key."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from chat_session.clock import now_ms
from chat_session.storage.contract import Finding
from chat_session.storage.redis import scripts
from chat_session.storage.redis.codec import NEVER
from chat_session.storage.redis.connection import Command, Link
from chat_session.storage.redis.keys import Keys, due_member, parse_due_member

BATCH = 500


class _Problem(NamedTuple):
    subject: str
    text: str
    repair: str


_ORPHANS = _Problem("orphans", "sessions of which only some keys are left", "removes them")
_UNINDEXED = _Problem("index", "living sessions missing from lists and counts", "indexes them")
_ENDLESS = _Problem("deadlines", "sessions with a ttl and a key without a deadline", "sets it")
_STALE = _Problem("hints", "hints of sessions that vanished before their time", "removes them")


Mends = dict[_Problem, dict[str, scripts.Call]]  # by session id


class Doctor:
    """Walks through one server's keys in batches; every mend is one script that looks again first."""

    def __init__(self, link: Link, keys: Keys, default_ttl: int) -> None:
        self._link = link
        self._keys = keys
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
        for problem, calls_by_session in mends.items():
            if repair:
                calls = list(calls_by_session.values())
                for start in range(0, len(calls), BATCH):
                    await self._link.run_all("diagnose", calls[start : start + BATCH])
            findings.append(_report(problem, list(calls_by_session), repaired=repair))
        return findings

    async def _scan_session_ids(self) -> AsyncIterator[list[str]]:
        cursor = b"0"
        while True:
            command = (b"SCAN", cursor, b"MATCH", self._keys.any_session(), b"COUNT", BATCH)
            cursor, found = await self._link.run("diagnose", command)
            parsed = (self._keys.parse_session_id(key) for key in found)
            yield [session_id for session_id in parsed if session_id is not None]
            if cursor == b"0":
                return

    async def _scan_hints(self) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        for due in self._keys.due_buckets():
            cursor = b"0"
            while True:
                cursor, found = await self._link.run("diagnose", (b"ZSCAN", due, cursor, b"COUNT", BATCH))
                yield list(zip(found[::2], found[1::2], strict=True))
                if cursor == b"0":
                    break

    async def _check_sessions(self, ids: Sequence[str], mends: Mends) -> None:
        commands: list[Command] = [(b"HMGET", self._keys.meta(session_id), b"userId", b"ttl") for session_id in ids]
        owners = await self._link.run_all("diagnose", commands)
        for session_id, (user, ttl) in zip(ids, owners, strict=True):
            keys = self._keys.session(session_id)
            if user is None:
                mends[_ORPHANS][session_id] = scripts.remove_orphan(keys)
                continue
            user_id = user.decode(errors="replace")
            index = self._keys.index(session_id, user_id)
            asked: list[Command] = [(b"PTTL", key) for key in keys]
            asked += [(b"ZSCORE", index.due, due_member(session_id, user_id)), (b"ZSCORE", index.user, session_id)]
            *left, due_score, user_score = await self._link.run_all("diagnose", asked)
            if due_score is None or user_score is None or float(due_score) <= 0:
                mends[_UNINDEXED][session_id] = self._settle(session_id, user_id)
            if ttl != b"%d" % NEVER and NEVER in left:
                seconds = int(ttl) if ttl and ttl.isdigit() else self._default_ttl
                mends[_ENDLESS][session_id] = scripts.set_ttl(keys, index.due, session_id=session_id, ttl=seconds)

    async def _check_hints(self, hints: Sequence[tuple[bytes, bytes]], mends: Mends) -> None:
        """A hint that is due waits for a sweep; one that is ahead must have a living session."""
        ahead = [parse_due_member(member) for member, score in hints if float(score) > now_ms()]
        commands: list[Command] = [(b"HGET", self._keys.meta(session_id), b"userId") for session_id, _ in ahead]
        owners = await self._link.run_all("diagnose", commands)
        for (session_id, user_id), owner in zip(ahead, owners, strict=True):
            if owner is None or owner.decode(errors="replace") != user_id:
                mends[_STALE][session_id] = self._settle(session_id, user_id)

    def _settle(self, session_id: str, user_id: str) -> scripts.Call:
        return scripts.settle_hint(
            self._keys.meta(session_id),
            *self._keys.index(session_id, user_id),
            member=due_member(session_id, user_id),
            session_id=session_id,
            user_id=user_id,
            dead="remove",
        )


def _report(problem: _Problem, session_ids: Sequence[str], *, repaired: bool) -> Finding:
    if not session_ids:
        return Finding("ok", problem.subject, f"no {problem.text}")
    shown = ", ".join(session_ids[:5]) + (", …" if len(session_ids) > 5 else "")  # noqa: PLR2004
    text = f"{len(session_ids):,} {problem.text}: {shown}"
    if repaired:
        return Finding("ok", problem.subject, f"{text} (mended)")
    return Finding("error", problem.subject, text, repair=problem.repair)
