"""The index entries of sessions on a cluster, where a session and its entries live on different nodes.

A writer begins: the entry is due from then on, under a score that only this writer has. Then the session
changes. Then the writer finishes: the entry is scored anew or removed, if it still has the writer's score. If
it has not, somebody else changed it meanwhile, and the writer begins again and writes what the session says.

Whoever counts or sweeps meets entries that are due and asks their sessions. An entry that a writer has begun
is left to its writer for a minute, which is longer than a call may take; its session is counted by what it
says. All other entries are changed only if they are still as they were read, and they were read before the
session was asked. A writer that crashes leaves an entry that is due: the next count or sweep after the minute
repairs it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from chat_session.clock import now_ms, to_ms
from chat_session.session import Session
from chat_session.storage.codec import Element
from chat_session.storage.redis import scripts
from chat_session.storage.redis.codec import NEVER, decode_user
from chat_session.storage.redis.connection import Command, Link
from chat_session.storage.redis.index import Dead, DueEntry, Outcome, UserEntry, create_call
from chat_session.storage.redis.keys import Keys, due_member

GONE = -2  # what PTTL says of a key that is not there
WRITERS_TIME = 60_000  # milliseconds that an entry is left to the writer who began it
MAX_TRIES = 8  # of a writer whose entry others change: by then 8 others have; the entry is left as begun, to be checked


class _Begun(NamedTuple):
    """An entry that a writer has begun: its score now, and before, None if there was no entry."""

    score: bytes
    before: bytes | None

    def score_of(self, left: int) -> str:
        """The score of a session that had ``left`` milliseconds after this was begun."""
        return _score(int(float(self.score)), left)


def _score(base_ms: int, left: int) -> str:
    """The score of a session that had ``left`` milliseconds when, or after, the entry's server said ``base_ms``.

    So an entry is never later than the deadline it stands for, however long the way to it takes.
    """
    return "+inf" if left == NEVER else str(base_ms + left - 1)


def _is_begun(entry: DueEntry) -> bool:
    """Whether a writer has begun it less than a minute ago."""
    score = float(entry.score)
    return score % 1 != 0 and entry.read_at - score < WRITERS_TIME


class ClusterIndex:
    """Begin, change, finish: three round trips where one server needs one."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[Element]) -> list[Any]:
        name, session_id, user_id = "create_session", session.session_id, session.user_id
        begun = await self._begin(name, session_id, user_id)
        call = create_call(self._keys, (), session, token=token, ttl=ttl, elements=elements)
        reply, (_, entered, before) = await self._link.run_all(name, [call, self._enter(session)])
        if reply[0] == b"OK":
            await self._finish(name, session_id, user_id, begun, begun.score_of(ttl if ttl == NEVER else ttl * 1000))
            return list(reply)
        # The id is taken: both entries become what they were.
        await self._finish_user(name, session_id, user_id, entered, before or b"discard")
        verdict = begun.before or await self._verdict(name, session_id, user_id, begun)
        await self._finish(name, session_id, user_id, begun, verdict)
        return list(reply)

    async def delete(self, session_id: str, user_id: str) -> list[Any]:
        name, member = "delete_session", due_member(session_id, user_id)
        begin = scripts.begin_entry(self._keys.due(session_id), member=member)
        entered: Command = (b"ZSCORE", self._keys.user(user_id), session_id)
        (_, *facts), user_score = await self._link.run_all(name, [begin, entered])
        keys = self._keys.session(session_id)
        call = scripts.delete_session(keys, (), member=member, session_id=session_id, user_id=user_id)
        reply: list[Any] = await self._link.run(name, call)
        if user_score is not None:
            await self._finish_user(name, session_id, user_id, _written(user_score), b"discard")
        await self._finish(name, session_id, user_id, _Begun(*facts), "discard")
        return reply

    async def set_ttl(self, session_id: str, ttl: int) -> list[Any]:
        name, keys = "set_ttl", self._keys.session(session_id)
        user = await self._link.run(name, (b"HGET", keys.meta, b"userId"))
        if user is None:
            return [b"GONE"]
        user_id = decode_user(keys.meta, user)
        begun = await self._begin(name, session_id, user_id)
        reply: list[Any] = await self._link.run(name, scripts.set_ttl(keys, None, session_id=session_id, ttl=ttl))
        if reply[0] == b"OK":
            await self._finish(name, session_id, user_id, begun, begun.score_of(ttl if ttl == NEVER else ttl * 1000))
        return reply

    async def restore(self, session_id: str, user_id: str) -> None:
        name = "diagnose"
        begun = await self._begin(name, session_id, user_id)
        await self._finish(name, session_id, user_id, begun, await self._verdict(name, session_id, user_id, begun))
        await self._enter_missing(name, [(session_id, user_id)])

    async def reconcile(self, name: str, entries: Sequence[DueEntry], dead: Dead) -> list[Outcome]:
        """Entries were read before the sessions are asked; what is changed is still as it was read."""
        if not entries:
            return []
        users: list[Command] = [(b"ZSCORE", self._keys.user(entry.user_id), entry.session_id) for entry in entries]
        user_scores = await self._link.run_all(name, users)
        lives = await self._ask(name, [(entry.session_id, entry.user_id) for entry in entries])
        outcomes: list[Outcome] = []
        changed: list[tuple[DueEntry, int | None, Any]] = []
        calls: list[Command] = []
        for entry, left, user_score in zip(entries, lives, user_scores, strict=True):
            if _is_begun(entry):
                outcomes.append(Outcome.DEAD if left is None else Outcome.LIVES)
                continue
            outcomes.append(Outcome.CHANGED)
            verdict = dead if left is None else _score(entry.read_at, left)
            due = self._keys.due(entry.session_id)
            calls.append(scripts.finish_entry(due, member=entry.member, seen=entry.score, verdict=verdict))
            changed.append((entry, left, user_score))
        finished = [reply[1] == 1 for reply in await self._link.run_all(name, calls)]
        places = [i for i, outcome in enumerate(outcomes) if outcome is Outcome.CHANGED]
        for i, (_, left, _), done in zip(places, changed, finished, strict=True):
            if done and left is None and dead == "reap":
                outcomes[i] = Outcome.REAPED
        await self._follow(name, [each for each, done in zip(changed, finished, strict=True) if done])
        return outcomes

    async def mark_dead(self, name: str, entries: Sequence[UserEntry]) -> None:
        """The users' entries were read first, then the entries of deadlines are, then the sessions are asked."""
        if not entries:
            return
        scores: list[Command] = [(b"ZSCORE", self._keys.due(e.session_id), due_member(*e[:2])) for e in entries]
        due = [_written(score) for score in await self._link.run_all(name, scores)]
        lives = await self._ask(name, [(entry.session_id, entry.user_id) for entry in entries])
        calls: list[Command] = []
        gone: list[UserEntry] = []
        for entry, score, left in zip(entries, due, lives, strict=True):
            if left is None and score and float(score) % 1 == 0:
                key, member = self._keys.due(entry.session_id), due_member(entry.session_id, entry.user_id)
                calls.append(scripts.finish_entry(key, member=member, seen=score, verdict="mark_dead"))
            if left is None and (not score or float(score) % 1 == 0):
                gone.append(entry)
        await self._link.run_all(name, calls)
        forget = [self._user_call(e.session_id, e.user_id, e.score, b"discard") for e in gone]
        await self._link.run_all(name, forget)

    async def _follow(self, name: str, changed: Sequence[tuple[DueEntry, int | None, Any]]) -> None:
        """Do with the users' entries what was done with the entries of deadlines."""
        forget = [
            self._user_call(entry.session_id, entry.user_id, _written(user_score), b"discard")
            for entry, left, user_score in changed
            if left is None and user_score is not None
        ]
        await self._link.run_all(name, forget)
        lost = [(e.session_id, e.user_id) for e, left, user_score in changed if left is not None and user_score is None]
        await self._enter_missing(name, lost)

    async def _enter_missing(self, name: str, names: Sequence[tuple[str, str]]) -> None:
        """Living sessions that are not in their user's list come to its beginning."""
        calls: list[Command] = [
            (b"ZADD", self._keys.user(user_id), b"NX", now_ms() * 1000, session_id) for session_id, user_id in names
        ]
        await self._link.run_all(name, calls)

    async def _ask(self, name: str, names: Sequence[tuple[str, str]]) -> list[int | None]:
        """The milliseconds that each session still has, as PTTL tells them; None for a dead one."""
        asked: list[Command] = []
        for session_id, _ in names:
            meta = self._keys.meta(session_id)
            asked += [(b"HGET", meta, b"userId"), (b"PTTL", meta)]
        told = await self._link.run_all(name, asked)
        each = zip(names, told[::2], told[1::2], strict=True)
        return [left if owner == user_id.encode() and left != GONE else None for (_, user_id), owner, left in each]

    async def _begin(self, name: str, session_id: str, user_id: str) -> _Begun:
        call = scripts.begin_entry(self._keys.due(session_id), member=due_member(session_id, user_id))
        _, score, before = await self._link.run(name, call)
        return _Begun(score, before)

    async def _finish(self, name: str, session_id: str, user_id: str, begun: _Begun, verdict: bytes | str) -> None:
        """Conclude what was begun. If somebody has changed the entry since, begin again, and ask the session."""
        due, member = self._keys.due(session_id), due_member(session_id, user_id)
        for _ in range(MAX_TRIES):
            call = scripts.finish_entry(due, member=member, seen=begun.score, verdict=verdict)
            if (await self._link.run(name, call))[1] == 1:
                return
            begun = await self._begin(name, session_id, user_id)
            verdict = await self._verdict(name, session_id, user_id, begun)

    async def _verdict(self, name: str, session_id: str, user_id: str, begun: _Begun) -> str:
        """What the entry must become, by what the session says now."""
        [left] = await self._ask(name, [(session_id, user_id)])
        return "discard" if left is None else begun.score_of(left)

    async def _finish_user(self, name: str, session_id: str, user_id: str, seen: bytes, verdict: bytes) -> None:
        await self._link.run(name, self._user_call(session_id, user_id, seen, verdict))

    def _user_call(self, session_id: str, user_id: str, seen: bytes, verdict: bytes) -> scripts.Call:
        return scripts.finish_entry(self._keys.user(user_id), member=session_id, seen=seen, verdict=verdict)

    def _enter(self, session: Session) -> scripts.Call:
        key = self._keys.user(session.user_id)
        return scripts.enter_user(key, session_id=session.session_id, created_ms=to_ms(session.created_at))


def _written(score: bytes | float | None) -> bytes:
    """A score as ZSCORE gives it: a number in RESP3, text in RESP2. Empty if there is no entry."""
    if score is None:
        return b""
    return score if isinstance(score, bytes) else repr(score).encode()
