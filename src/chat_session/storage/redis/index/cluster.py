"""The index entries of sessions on a cluster, where a session and its entries are on different nodes.

A writer begins: the entry is due from then on, and says how many writers are at work. Then the session changes.
Then the writer finishes: if it was alone, the entry becomes what it says. If several were at work at once, their
order at the session and their order at the entry may differ. So the last one to finish asks the session, and writes
what that says.

A count or a sweep meets entries that are due, and asks their sessions. An entry that a writer has begun is left to
its writers for a minute, which is longer than a call may take; its session is counted by what the session says. An
entry is changed only if it is still as it was read, and it was read before the session was asked. A writer that
crashes leaves an entry that is due: the next count or sweep after the minute repairs it.
"""

from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from math import isfinite
from typing import Any, NamedTuple, TypeVar, cast

from chat_session.clock import now_ms, to_ms
from chat_session.errors import (
    ChatSessionError,
    SequenceConflict,
    SessionNotFound,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
)
from chat_session.session import Session
from chat_session.storage.codec import EncodedMessage
from chat_session.storage.redis.codec import NEVER, decode_meta, decode_user
from chat_session.storage.redis.index.entries import DueEntry, Outcome, UserEntry, Verdict
from chat_session.storage.redis.index.server import assign_call, create_call, delete_call
from chat_session.storage.redis.keys import IndexEntry, Keys, SessionEntries
from chat_session.storage.redis.net.commands import Call, Command, PlainCommand
from chat_session.storage.redis.net.decoders import integer, optional_text, optional_texts, score
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import index as scripts
from chat_session.storage.redis.scripts.sessions import set_ttl

T = TypeVar("T")

GONE = -2  # what PTTL says of a key that is not there
WRITERS_TIME = 60_000  # milliseconds that an entry is left to the writer who began it
MAX_TRIES = 8  # of the last writer to finish: by then 8 others came and went, and a count or sweep repairs it


class _Answer(NamedTuple):
    """What was found when a session was asked; ``scores`` were read before."""

    left: int | None  # milliseconds, as PTTL gives them; None if it does not live
    scores: Sequence[bytes | None]  # of its other entries
    moved_to: str | None = None  # the user who has the session now, if the entry is that of a user before


def _score(base_ms: int, left: int) -> str:
    """The score of a session that had ``left`` milliseconds when, or after, the entry's server said ``base_ms``.

    So an entry is never later than the deadline of its session, however long the way to it takes.
    """
    return "+inf" if left == NEVER else str(base_ms + left - 1)


def _is_begun(score: bytes) -> bool:
    """Whether writers are changing the session, or did when they crashed."""
    return isfinite(float(score)) and float(score) % 1 != 0


def _is_left_to_writers(entry: DueEntry) -> bool:
    """Whether writers have begun less than a minute ago."""
    return _is_begun(entry.score) and entry.read_at - float(entry.score) < WRITERS_TIME


class ClusterIndex:
    """Begin, change, finish: three round trips where one server needs one."""

    def __init__(self, executor: CommandExecutor, keys: Keys, waiting_ttl: int) -> None:
        self._executor = executor
        self._keys = keys
        self._waiting_ttl = waiting_ttl

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[EncodedMessage]) -> Any:
        name, entries = "create_session", self._keys.entries(session.session_id, session.user_id)
        begun = await self._begin(name, entries)
        call = create_call(self._keys, (), session, token=token, ttl=ttl, elements=elements)
        adds = [_add_call(entry, session) for entry in entries.others]
        beside: list[Command[Any]] = [call, *adds]
        answers = await self._executor.run_all(name, beside, keep_corrupt=True)
        for answer in answers:
            if isinstance(answer, StoreCorrupt):
                if answers[0] is None:  # the damage is in the user's list alone, and the session is there
                    answer.mark_changed()
                raise answer
        taken, *added = cast(list[Any], answers)
        if taken is None:
            await self._finish(name, session.session_id, session.user_id, begun, _lifetime(begun, ttl))
            return None
        back = [  # all entries become what they were
            _change_call(entry, score, before or Verdict.DISCARD)
            for entry, (score, before) in zip(entries.others, added, strict=True)
        ]
        await self._finish(name, session.session_id, session.user_id, begun, beside=back)
        return taken

    async def assign(self, session_id: str, user_id: str, new_user: str) -> Any:
        """The session's entry says that it is about to change; then it changes, and the entry moves to the new user."""
        name, entries = "assign_session", self._keys.entries(session_id, user_id)
        begun = await self._begin(name, entries)
        try:
            fields = await self._executor.run(name, assign_call(self._keys, (), session_id, user_id, new_user))
        except SessionNotFound:
            await self._finish(name, session_id, user_id, begun)
            raise
        adds = [] if fields is None else self._adds(session_id, new_user, fields)
        await self._finish(name, session_id, user_id, begun, beside=adds)
        return fields

    async def delete(self, session_id: str, user_id: str, expect_revision: int | None) -> int | None:
        name, entries = "delete_session", self._keys.entries(session_id, user_id)
        first: list[Command[Any]] = [_begin_call(entries.due), *map(_score_read, entries.others)]
        begun, *scores = await self._executor.run_all(name, first)
        call = delete_call(self._keys, (), session_id, user_id, expect_revision)
        try:
            deleted = await self._executor.run(name, call)
        except SequenceConflict:
            await self._finish(name, session_id, user_id, begun)
            raise
        forget = _forget_calls(entries.others, scores)
        await self._finish(name, session_id, user_id, begun, Verdict.DISCARD, beside=forget)
        return deleted

    async def set_ttl(self, session_id: str, ttl: int) -> None:
        name, keys = "set_ttl", self._keys.session(session_id)
        owner = await self._executor.run(name, PlainCommand((b"HGET", keys.meta, b"userId"), optional_text))
        if owner is None:
            raise SessionNotFound(session_id)
        user_id = decode_user(keys.meta, owner)
        begun = await self._begin(name, self._keys.entries(session_id, user_id))
        try:
            call = set_ttl(keys, (), session_id=session_id, ttl=ttl, waiting_ttl=self._waiting_ttl)
            stored, now_owner = await self._executor.run(name, call)
        except SessionNotFound:
            await self._finish(name, session_id, user_id, begun)
            raise
        await self._finish(name, session_id, user_id, begun, _lifetime(begun, stored) if now_owner == owner else "")

    async def shorten(
        self, name: str, session_id: str, user_id: str, change: Callable[[Sequence[bytes]], Awaitable[T]]
    ) -> T:
        begun = await self._begin(name, self._keys.entries(session_id, user_id))
        try:
            done = await change(())
        except ChatSessionError as error:
            if not isinstance(error, StoreUnavailable):  # then the entry stays due
                await self._finish(name, session_id, user_id, begun)
            raise
        await self._finish(name, session_id, user_id, begun)
        return done

    async def restore(self, session_id: str, user_id: str) -> None:
        begun = await self._begin("diagnose", self._keys.entries(session_id, user_id))
        await self._finish("diagnose", session_id, user_id, begun)

    async def reconcile(self, name: str, entries: Sequence[DueEntry], dead: Verdict) -> list[Outcome]:
        """Entries were read before the sessions are asked; what is changed is still as it was read."""
        answers = await self._ask(name, entries)
        free = [i for i, entry in enumerate(entries) if answers[i].moved_to or not _is_left_to_writers(entry)]
        outcomes = [Outcome.DEAD if answer.left is None else Outcome.LIVES for answer in answers]
        changed = await self._change(name, [(entries[i], answers[i]) for i in free], dead)
        for i, done in zip(free, changed, strict=True):
            reaped = done and answers[i].left is None and dead == Verdict.REAP
            outcomes[i] = Outcome.REAPED if reaped else Outcome.CHANGED
        return outcomes

    async def mark_dead(self, name: str, entries: Sequence[UserEntry]) -> None:
        """The users' entries were read first, then the entries of deadlines are, then the sessions are asked."""
        if not entries:
            return
        indexed = [self._keys.entries(entry.session_id, entry.user_id) for entry in entries]
        due_scores = await self._executor.run_all(name, [_score_read(each.due) for each in indexed])
        lives = await self._lives(name, entries)
        mark: list[Call[bool]] = []
        forget: list[Call[bool]] = []
        for entry, each, due_score, (left, moved_to) in zip(entries, indexed, due_scores, lives, strict=True):
            if (left is not None and moved_to is None) or (due_score and _is_begun(due_score)):
                continue
            forget.append(_change_call(each.user, entry.score, Verdict.DISCARD))
            if due_score and moved_to is None:
                mark.append(_change_call(each.due, due_score, Verdict.MARK_DEAD))
        await self._executor.run_all(name, mark)
        await self._executor.run_all(name, forget)

    async def _ask(self, name: str, entries: Sequence[DueEntry]) -> list[_Answer]:
        """What the sessions of these entries say."""
        indexed = [self._keys.entries(entry.session_id, entry.user_id).others for entry in entries]
        scores = iter(await self._executor.run_all(name, [_score_read(each) for others in indexed for each in others]))
        lives = await self._lives(name, entries)
        found = zip(lives, indexed, strict=True)
        return [_Answer(left, list(islice(scores, len(others))), moved_to) for (left, moved_to), others in found]

    async def _lives(self, name: str, entries: Sequence[DueEntry | UserEntry]) -> list[tuple[int | None, str | None]]:
        """The milliseconds that each session still has, as PTTL gives them, None for a dead one; who has it instead."""
        asked: list[Command[Any]] = []
        for entry in entries:
            meta = self._keys.meta(entry.session_id)
            owners = PlainCommand((b"HMGET", meta, b"userId", b"cs:former"), _owner_and_former)
            asked += [owners, PlainCommand((b"PTTL", meta), integer)]
        told = await self._executor.run_all(name, asked)
        lives: list[tuple[int | None, str | None]] = []
        for entry, (owner, former), left in zip(entries, told[::2], told[1::2], strict=True):
            if left == GONE or owner is None:
                lives.append((None, None))
            elif owner == entry.user_id.encode():
                lives.append((left, None))
            else:
                moved = entry.user_id.encode() in former
                lives.append((left, decode_user(self._keys.meta(entry.session_id), owner)) if moved else (None, None))
        return lives

    async def _change(self, name: str, asked: Sequence[tuple[DueEntry, _Answer]], dead: Verdict) -> list[bool]:
        """Make entries what their sessions say, unless others have changed them since; then their other entries too."""
        indexed = [self._keys.entries(entry.session_id, entry.user_id) for entry, _ in asked]
        calls = []
        for (entry, answer), each in zip(asked, indexed, strict=True):
            verdict = dead if answer.left is None else _score(entry.read_at, answer.left)
            if answer.moved_to is None:
                calls.append(_change_call(each.due, entry.score, verdict))
            else:
                new = self._keys.entries(entry.session_id, answer.moved_to).due.member
                due = each.due
                calls.append(scripts.move_entry(due.key, member=due.member, seen=entry.score, new_member=new))
        changed = await self._executor.run_all(name, calls)
        follow: list[Command[Any]] = []
        for (entry, answer), each, done in zip(asked, indexed, changed, strict=True):
            if done and (answer.left is None or answer.moved_to is not None):
                follow += _forget_calls(each.others, answer.scores)
            if done and answer.moved_to is not None:
                follow += map(_add_lost, self._keys.entries(entry.session_id, answer.moved_to).others)
            elif done and answer.left is not None:
                follow += [_add_lost(other) for other, at in zip(each.others, answer.scores, strict=True) if at is None]
        await self._executor.run_all(name, follow)
        return changed

    def _adds(self, session_id: str, user_id: str, fields: Any) -> list[Command[Any]]:
        """Its other entries, for a user whom it was given."""
        session = decode_meta(self._keys.meta(session_id), fields, NEVER)
        if session is None:
            return []
        return [_add_call(entry, session) for entry in self._keys.entries(session_id, user_id).others]

    async def _begin(self, name: str, entries: SessionEntries) -> bytes:
        """The score by which the entry says that a writer has begun."""
        return await self._executor.run(name, _begin_call(entries.due))

    async def _finish(
        self,
        name: str,
        session_id: str,
        user_id: str,
        begun: bytes,
        verdict: str = "",
        beside: Sequence[Command[Any]] = (),
    ) -> None:
        """Conclude what was begun; without a ``verdict`` by what the session says. ``beside`` goes along.

        The session is changed by then: an error here must not say that nothing was done.
        """
        try:
            await self._try_to_finish(name, session_id, user_id, begun, verdict, beside)
        except StoreError as error:
            error.mark_changed()
            raise

    async def _try_to_finish(
        self, name: str, session_id: str, user_id: str, begun: bytes, verdict: str, beside: Sequence[Command[Any]]
    ) -> None:
        due = self._keys.entries(session_id, user_id).due
        call = scripts.finish_entry(due.key, member=due.member, begun=begun, verdict=verdict)
        commands: list[Command[Any]] = [call, *beside]
        undecided, *_ = await self._executor.run_all(name, commands)
        for _ in range(MAX_TRIES):
            if undecided is None:
                return
            entry = DueEntry(session_id, user_id, undecided, _begun_ms(begun))
            [answer] = await self._ask(name, [entry])
            if (await self._change(name, [(entry, answer)], Verdict.REAP))[0]:
                return
            undecided = await self._executor.run(name, call)


def _begin_call(entry: IndexEntry) -> Call[bytes]:
    return scripts.begin_entry(entry.key, member=entry.member)


def _change_call(entry: IndexEntry, seen: bytes, verdict: bytes | str) -> Call[bool]:
    return scripts.change_entry(entry.key, member=entry.member, seen=seen, verdict=verdict)


def _forget_calls(entries: Sequence[IndexEntry], seen: Sequence[bytes | None]) -> list[Call[bool]]:
    """Remove the entries that are still as they were seen."""
    found = zip(entries, seen, strict=True)
    return [_change_call(entry, score, Verdict.DISCARD) for entry, score in found if score is not None]


def _add_call(entry: IndexEntry, session: Session) -> Call[tuple[bytes, bytes | None]]:
    return scripts.add_entry(entry.key, member=entry.member, created_ms=to_ms(session.created_at))


def _add_lost(entry: IndexEntry) -> PlainCommand[int]:
    """A lost entry by the creation comes to the beginning of its list."""
    return PlainCommand((b"ZADD", entry.key, b"NX", now_ms() * 1000, entry.member), integer)


def _score_read(entry: IndexEntry) -> PlainCommand[bytes | None]:
    return PlainCommand((b"ZSCORE", entry.key, entry.member), score)


def _owner_and_former(reply: Any) -> tuple[bytes | None, list[bytes]]:
    owner, former = optional_texts(reply, 2)
    return owner, [] if former is None else former.split(b"\n")


def _begun_ms(begun: bytes) -> int:
    return int(float(begun))


def _lifetime(begun: bytes, ttl: int) -> str:
    """The score of a session that was given ``ttl`` seconds, as stored, after it was begun."""
    return _score(_begun_ms(begun), ttl if ttl == NEVER else ttl * 1000)
