"""Looks through all keys for what is damaged or inconsistent, and repairs what is ours. It reads every key."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

from chat_session.checks import brief
from chat_session.clock import now_ms
from chat_session.errors import StoreCorrupt, StoreDenied
from chat_session.message import UNREADABLE
from chat_session.session import Session
from chat_session.storage.codec import decode_message
from chat_session.storage.contract import Finding
from chat_session.storage.redis.codec import NEVER, decode_meta, encode_ttl
from chat_session.storage.redis.desk.unchecked import UncheckedSessions
from chat_session.storage.redis.index.entries import DueEntry, Index, Verdict
from chat_session.storage.redis.keys import Keys, SessionKeys, expected_type, parse_due_member
from chat_session.storage.redis.net.commands import Command, PlainCommand
from chat_session.storage.redis.net.decoders import (
    fields,
    integer,
    optional_text,
    scan_of,
    score,
    scores,
    stored_hash,
    text,
    texts,
)
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts.sessions import remove_orphan
from chat_session.storage.redis.unfound_turns import UnfoundTurns

BATCH = 500
HISTORIES = 20  # histories read together: at most 20 of 100 messages of 256 KiB are held
SHOWN = 100  # damaged sessions that are named one by one


class _Problem(NamedTuple):
    subject: str
    text: str
    repair: str | None


_ORPHANS = _Problem("orphans", "sessions with only some of their keys", "Removes the keys that are left.")
_FOREIGN = _Problem("foreign keys", "session ids whose keys another program may have written", None)
_UNINDEXED = _Problem("index", "living sessions that are missing from lists and counts", "Adds them to the indexes.")
_ENDLESS = _Problem("deadlines", "sessions with a ttl and with a key that never expires", "Sets the deadline.")
_STALE = _Problem("index entries", "index entries of sessions that vanished before their deadline", "Removes them.")
_UNCHECKED = _Problem("desk", "sessions of the desk that no sweep would look after", "Plans a check.")
_UNFOUND = _Problem("turns", "sessions with unanswered messages that no worker would find", "Adds them to the index.")
_STRAYS = _Problem("stray entries", "index entries that name no session or are in the wrong bucket", "Corrects them.")

Repair = Callable[[], Awaitable[object]]


async def _leave() -> None:
    """What is not ours stays as it is."""


class Doctor:
    """Walks through all keys in batches; every repair looks again before it acts."""

    def __init__(
        self,
        executor: CommandExecutor,
        keys: Keys,
        index: Index,
        unchecked: UncheckedSessions,
        unfound: UnfoundTurns,
        default_ttl: int,
    ) -> None:
        self._executor = executor
        self._keys = keys
        self._index = index
        self._unchecked = unchecked
        self._unfound = unfound
        self._is_without_turns = False  # the user has no right to their index
        self._default_ttl = default_ttl
        self._problems: dict[_Problem, dict[str, Repair]] = {
            problem: {} for problem in (_ORPHANS, _FOREIGN, _UNINDEXED, _ENDLESS, _STALE, _STRAYS, _UNCHECKED, _UNFOUND)
        }
        self._damaged: dict[str, str] = {}  # what is wrong, by key

    async def check_keys(self, *, repair: bool) -> list[Finding]:
        self._is_without_turns = await self._unfound.is_denied()
        seen: set[str] = set()
        async for batch in self._scan_session_ids():
            ids = [session_id for session_id in batch if session_id not in seen]
            seen.update(ids)
            await self._check_sessions(ids)
        for bucket in self._keys.due_buckets():
            async for entries in self._scan_entries(bucket):
                await self._check_entries(bucket, entries)
        findings = await self._check_desk()
        if self._is_without_turns:
            text = "The user has no right to the index of turns. To use turns=True, grant ~sessions:turns:*."
            findings.append(Finding("warning", "turns", text))
        for problem, by_name in self._problems.items():
            if repair and problem.repair:
                for act in by_name.values():
                    await act()
            findings.append(_report(problem, list(by_name), repaired=repair))
        return [*findings, *_report_damaged(self._damaged)]

    async def _scan_session_ids(self) -> AsyncIterator[list[str]]:
        for server in await self._executor.servers():
            match = (b"MATCH", self._keys.any_session(), b"COUNT", BATCH)
            async for found in self._executor.scan("diagnose", (b"SCAN",), *match, items=texts, on=server):
                parsed = (self._keys.parse_session_id(key) for key in found)
                yield list(dict.fromkeys(session_id for session_id in parsed if session_id is not None))

    async def _scan_entries(self, bucket: bytes) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        try:
            async for found in self._executor.scan("diagnose", (b"ZSCAN", bucket), b"COUNT", BATCH, items=scores):
                yield found
        except StoreCorrupt as error:
            self._damaged[error.key] = error.problem

    async def _check_sessions(self, ids: Sequence[str]) -> None:
        metas = [self._keys.meta(session_id) for session_id in ids]
        replies = await self._executor.run_all(
            "diagnose", [PlainCommand((b"HGETALL", key), stored_hash) for key in metas], keep_corrupt=True
        )
        living = []
        in_desk = []
        in_turns = []
        for session_id, key, reply in zip(ids, metas, replies, strict=True):
            session = self._read(key, reply)
            if isinstance(session, StoreCorrupt):
                self._damaged[session.key] = session.problem
            elif session is not None and session.session_id != session_id:
                self._damaged[key.decode()] = f"says that it is session {brief(session.session_id)}"
            elif session is None:
                await self._check_orphan(session_id)
            else:
                living.append((session_id, session.user_id, encode_ttl(session.ttl)))
                if session.desk.state == "waiting" or session.desk.operator_id is not None:
                    in_desk.append(session_id)
                if session.turns and not self._is_without_turns:
                    in_turns.append(session_id)
        for session_id in await self._unfound.find(in_turns):
            self._problems[_UNFOUND][session_id] = partial(self._unfound.write, session_id)
        self._plan_checks(await self._unchecked.find(in_desk))
        await self._check_keys_of(living)
        for start in range(0, len(living), HISTORIES):
            await self._check_histories([session_id for session_id, _, _ in living[start : start + HISTORIES]])

    async def _check_desk(self) -> list[Finding]:
        try:
            async for found in self._unchecked.find_entries():
                self._plan_checks(found)
        except StoreCorrupt as error:
            self._damaged[error.key] = error.problem
        except StoreDenied:
            text = (
                "The user has no right to the keys of the desk. To use the desk, grant ~{desk}:* and ~sessions:desk:*."
            )
            return [Finding("warning", "desk", text)]
        return []

    def _plan_checks(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            self._problems[_UNCHECKED][session_id] = partial(self._unchecked.plan, session_id)

    def _read(self, key: bytes, reply: Any) -> Session | StoreCorrupt | None:
        if isinstance(reply, StoreCorrupt):
            return reply
        try:
            return decode_meta(key, reply, self._default_ttl)
        except StoreCorrupt as error:
            return error

    async def _check_orphan(self, session_id: str) -> None:
        """Only this package writes ids: a session id whose keys lack them may be another program's."""
        keys = self._keys.session(session_id)
        types = await self._executor.run_all("diagnose", [PlainCommand((b"TYPE", key), text) for key in keys])
        if all(found == b"none" for found in types):  # what was left of a reply, which ends by itself
            return
        ours = all(found in (expected_type(key), b"none") for key, found in zip(keys, types, strict=True))
        if not ours or types[-1] == b"none":
            self._problems[_FOREIGN][session_id] = _leave
            return
        command = PlainCommand((b"HSCAN", keys.ids, b"0", b"COUNT", 1), scan_of(fields))
        _, sample = await self._executor.run("diagnose", command)
        if sample and next(iter(sample.values())).partition(b":")[0].isdigit():
            self._problems[_ORPHANS][session_id] = partial(self._executor.run, "diagnose", remove_orphan(keys))
        else:
            self._problems[_FOREIGN][session_id] = _leave

    async def _check_keys_of(self, living: Sequence[tuple[str, str, int]]) -> None:
        asked: list[list[Command[Any]]] = []
        for session_id, user_id, _ in living:
            lefts = [PlainCommand((b"PTTL", key), integer) for key in self._keys.session(session_id)]
            entries = self._keys.entries(session_id, user_id)
            asked.append([*lefts, *[PlainCommand((b"ZSCORE", each.key, each.member), score) for each in entries]])
        told = iter(await self._executor.run_all("diagnose", list(chain.from_iterable(asked)), keep_corrupt=True))
        for (session_id, user_id, ttl), commands in zip(living, asked, strict=True):
            left: list[Any] = list(islice(told, len(SessionKeys._fields)))
            scores: list[Any] = list(islice(told, len(commands) - len(left)))
            if corrupt := [error for error in scores if isinstance(error, StoreCorrupt)]:
                self._damaged.update((error.key, error.problem) for error in corrupt)
            elif None in scores or float(scores[0]) <= 0:
                self._problems[_UNINDEXED][session_id] = partial(self._index.restore, session_id, user_id)
            if ttl != NEVER and NEVER in left:
                self._problems[_ENDLESS][session_id] = partial(self._index.set_ttl, session_id, ttl)

    async def _check_histories(self, ids: Sequence[str]) -> None:
        keys = [self._keys.session(session_id) for session_id in ids]
        named = [key for each in keys for key in each[1:]]
        types = await self._executor.run_all("diagnose", [PlainCommand((b"TYPE", key), text) for key in named])
        for key, found in zip(named, types, strict=True):
            if found not in (expected_type(key), b"none"):
                self._damaged[key.decode()] = (
                    f"is a {found.decode(errors='replace')}, not a {expected_type(key).decode()}"
                )
        lists = [each.history for each in keys if each.history.decode() not in self._damaged]
        reads = [PlainCommand((b"LRANGE", key, 0, -1), texts) for key in lists]
        for key, elements in zip(lists, await self._executor.run_all("diagnose", reads), strict=True):
            unreadable = sum(decode_message(element, 1).type == UNREADABLE for element in elements)
            if unreadable:
                self._damaged[key.decode()] = f"has {unreadable:,} messages that cannot be read"

    async def _check_entries(self, bucket: bytes, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """An entry that is due waits for a sweep; one that is ahead must have a living session."""
        ahead = []
        for member, at in entries:
            names = parse_due_member(member)
            if names is None or self._keys.due(names[0]) != bucket:
                self._problems[_STRAYS][f"{brief(member)} in {bucket.decode()}"] = partial(
                    self._correct, bucket, member, at
                )
            elif float(at) > now_ms():
                ahead.append(DueEntry(*names, at, now_ms()))
        reads = [
            PlainCommand((b"HGET", self._keys.meta(entry.session_id), b"userId"), optional_text) for entry in ahead
        ]
        owners = await self._executor.run_all("diagnose", reads, keep_corrupt=True)
        for entry, owner in zip(ahead, owners, strict=True):
            if not isinstance(owner, StoreCorrupt) and owner != entry.user_id.encode():
                act = partial(self._index.reconcile, "diagnose", [entry], Verdict.REAP)
                self._problems[_STALE][entry.session_id] = act

    async def _correct(self, bucket: bytes, member: bytes, at: bytes) -> None:
        """To the bucket where it belongs, unless it names no session; then out of this one."""
        names = parse_due_member(member)
        if names is not None:
            words = (b"ZADD", self._keys.due(names[0]), b"NX", at, member)
            await self._executor.run("diagnose", PlainCommand(words, integer))
        await self._executor.run("diagnose", PlainCommand((b"ZREM", bucket, member), integer))


def _report(problem: _Problem, names: Sequence[str], *, repaired: bool) -> Finding:
    if not names:
        return Finding("ok", problem.subject, f"There are no {problem.text}.")
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")  # noqa: PLR2004
    text = f"Found {len(names):,} {problem.text}: {shown}."
    if problem.repair is None:
        return Finding("warning", problem.subject, f"{text} They are not changed.")
    if repaired:
        return Finding("ok", problem.subject, f"{text} They were repaired.")
    return Finding("error", problem.subject, text, repair=problem.repair)


def _report_damaged(damaged: dict[str, str]) -> list[Finding]:
    """Each is named: nobody but an operator can decide what is to become of it."""
    if not damaged:
        return [Finding("ok", "damage", "There are no sessions that cannot be read.")]
    findings = [Finding("error", "damage", f"{key} {problem}.") for key, problem in list(damaged.items())[:SHOWN]]
    if len(damaged) > SHOWN:
        findings.append(Finding("error", "damage", f"{len(damaged) - SHOWN:,} more keys cannot be read."))
    return findings
