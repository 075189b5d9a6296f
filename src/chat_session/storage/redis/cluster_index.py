"""The index entries of sessions on a cluster, where a session and its entries live on different nodes.

A writer begins: the entry is due from then on, and says how many writers are at work. Then the session changes.
Then the writer finishes: the entry becomes what he says if he was alone. If several were at work at once, their
orders at the session and at the entry may differ. The last to finish asks the session, and writes that.

Whoever counts or sweeps meets entries that are due and asks their sessions. An entry that a writer has begun
is left to its writers for a minute, which is longer than a call may take; its session is counted by what it
says. All entries are changed only if they are still as they were read, and they were read before the session
was asked. A writer that crashes leaves an entry that is due: the next count or sweep after the minute repairs it.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from chat_session.clock import now_ms, to_ms
from chat_session.session import Session
from chat_session.storage.codec import Element
from chat_session.storage.redis import scripts
from chat_session.storage.redis.codec import NEVER, decode_user, encode_score
from chat_session.storage.redis.connection import Command, Link
from chat_session.storage.redis.index import Dead, DueEntry, Outcome, UserEntry, create_call
from chat_session.storage.redis.keys import Keys, due_member

GONE = -2  # what PTTL says of a key that is not there
WRITERS_TIME = 60_000  # milliseconds that an entry is left to the writer who began it
MAX_TRIES = 8  # of the last writer to finish: by then 8 others have come and gone; a count or sweep repairs it


class _Answer(NamedTuple):
    """What was found when a session was asked; ``user_score`` was read before."""

    left: int | None  # milliseconds, as PTTL tells them; None if it does not live
    user_score: bytes | None  # of its entry in its user's list


def _score(base_ms: int, left: int) -> str:
    """The score of a session that had ``left`` milliseconds when, or after, the entry's server said ``base_ms``.

    So an entry is never later than the deadline it stands for, however long the way to it takes.
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

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[Element]) -> list[Any]:
        name, session_id, user_id = "create_session", session.session_id, session.user_id
        begun = await self._begin(name, session_id, user_id)
        call = create_call(self._keys, (), session, token=token, ttl=ttl, elements=elements)
        reply, (_, entered, before) = await self._link.run_all(name, [call, self._enter(session)])
        if reply[0] == b"OK":
            await self._finish(name, session_id, user_id, begun, _lifetime(begun, ttl))
            return list(reply)
        # The id is taken: both entries become what they were.
        back = self._user_call(session_id, user_id, entered, before or b"discard")
        await self._finish(name, session_id, user_id, begun, beside=[back])
        return list(reply)

    async def delete(self, session_id: str, user_id: str) -> list[Any]:
        name, member = "delete_session", due_member(session_id, user_id)
        begin = scripts.begin_entry(self._keys.due(session_id), member=member)
        entered: Command = (b"ZSCORE", self._keys.user(user_id), session_id)
        (_, begun), user_score = await self._link.run_all(name, [begin, entered])
        keys = self._keys.session(session_id)
        call = scripts.delete_session(keys, (), member=member, session_id=session_id, user_id=user_id)
        reply: list[Any] = await self._link.run(name, call)
        forget: list[Command] = []
        if user_score is not None:
            forget.append(self._user_call(session_id, user_id, encode_score(user_score), b"discard"))
        await self._finish(name, session_id, user_id, begun, "discard", beside=forget)
        return reply

    async def set_ttl(self, session_id: str, ttl: int) -> list[Any]:
        name, keys = "set_ttl", self._keys.session(session_id)
        user = await self._link.run(name, (b"HGET", keys.meta, b"userId"))
        if user is None:
            return [b"GONE"]
        user_id = decode_user(keys.meta, user)
        begun = await self._begin(name, session_id, user_id)
        reply: list[Any] = await self._link.run(name, scripts.set_ttl(keys, None, session_id=session_id, ttl=ttl))
        await self._finish(name, session_id, user_id, begun, _lifetime(begun, ttl) if reply[0] == b"OK" else "")
        return reply

    async def restore(self, session_id: str, user_id: str) -> None:
        await self._finish("diagnose", session_id, user_id, await self._begin("diagnose", session_id, user_id))

    async def reconcile(self, name: str, entries: Sequence[DueEntry], dead: Dead) -> list[Outcome]:
        """Entries were read before the sessions are asked; what is changed is still as it was read."""
        answers = await self._ask(name, entries)
        free = [i for i, entry in enumerate(entries) if not _is_left_to_writers(entry)]
        outcomes = [Outcome.DEAD if answer.left is None else Outcome.LIVES for answer in answers]
        changed = await self._change(name, [(entries[i], answers[i]) for i in free], dead)
        for i, done in zip(free, changed, strict=True):
            reaped = done and answers[i].left is None and dead == "reap"
            outcomes[i] = Outcome.REAPED if reaped else Outcome.CHANGED
        return outcomes

    async def mark_dead(self, name: str, entries: Sequence[UserEntry]) -> None:
        """The users' entries were read first, then the entries of deadlines are, then the sessions are asked."""
        if not entries:
            return
        scores: list[Command] = [(b"ZSCORE", self._keys.due(e.session_id), due_member(*e[:2])) for e in entries]
        due = [score and encode_score(score) for score in await self._link.run_all(name, scores)]
        lives = await self._lives(name, entries)
        calls: list[Command] = []
        gone: list[UserEntry] = []
        for entry, score, left in zip(entries, due, lives, strict=True):
            if left is not None or (score and _is_begun(score)):
                continue
            gone.append(entry)
            if score:
                key, member = self._keys.due(entry.session_id), due_member(entry.session_id, entry.user_id)
                calls.append(scripts.change_entry(key, member=member, seen=score, verdict="mark_dead"))
        await self._link.run_all(name, calls)
        forget = [self._user_call(e.session_id, e.user_id, e.score, b"discard") for e in gone]
        await self._link.run_all(name, forget)

    async def _ask(self, name: str, entries: Sequence[DueEntry]) -> list[_Answer]:
        """What the sessions of these entries say."""
        if not entries:
            return []
        users: list[Command] = [(b"ZSCORE", self._keys.user(entry.user_id), entry.session_id) for entry in entries]
        scores = await self._link.run_all(name, users)
        lives = await self._lives(name, entries)
        return [
            _Answer(left, None if score is None else encode_score(score))
            for left, score in zip(lives, scores, strict=True)
        ]

    async def _lives(self, name: str, entries: Sequence[DueEntry | UserEntry]) -> list[int | None]:
        """The milliseconds that each session still has, as PTTL tells them; None for a dead one."""
        asked: list[Command] = []
        for entry in entries:
            meta = self._keys.meta(entry.session_id)
            asked += [(b"HGET", meta, b"userId"), (b"PTTL", meta)]
        told = await self._link.run_all(name, asked)
        each = zip(entries, told[::2], told[1::2], strict=True)
        return [left if owner == entry.user_id.encode() and left != GONE else None for entry, owner, left in each]

    async def _change(self, name: str, asked: Sequence[tuple[DueEntry, _Answer]], dead: Dead) -> list[bool]:
        """Make entries what their sessions say, unless others have changed them since; then the users' lists too."""
        if not asked:
            return []
        calls: list[Command] = []
        for entry, answer in asked:
            verdict = dead if answer.left is None else _score(entry.read_at, answer.left)
            due = self._keys.due(entry.session_id)
            calls.append(scripts.change_entry(due, member=entry.member, seen=entry.score, verdict=verdict))
        changed = [reply[1] == 1 for reply in await self._link.run_all(name, calls)]
        follow: list[Command] = []
        for (entry, answer), done in zip(asked, changed, strict=True):
            session_id, user_id = entry.session_id, entry.user_id
            if done and answer.left is None and answer.user_score is not None:
                follow.append(self._user_call(session_id, user_id, answer.user_score, b"discard"))
            if done and answer.left is not None and answer.user_score is None:  # lost: it comes to the list's beginning
                follow.append((b"ZADD", self._keys.user(user_id), b"NX", now_ms() * 1000, session_id))
        await self._link.run_all(name, follow)
        return changed

    async def _begin(self, name: str, session_id: str, user_id: str) -> bytes:
        """The score by which the entry says that it is begun."""
        call = scripts.begin_entry(self._keys.due(session_id), member=due_member(session_id, user_id))
        _, begun = await self._link.run(name, call)
        return bytes(begun)

    async def _finish(
        self,
        name: str,
        session_id: str,
        user_id: str,
        begun: bytes,
        verdict: str = "",
        beside: Sequence[Command] = (),
    ) -> None:
        """Conclude what was begun; without a ``verdict`` by what the session says. ``beside`` goes along."""
        call = scripts.finish_entry(
            self._keys.due(session_id), member=due_member(session_id, user_id), begun=begun, verdict=verdict
        )
        (_, score), *_ = await self._link.run_all(name, [call, *beside])
        for _ in range(MAX_TRIES):
            if score is None:
                return
            entry = DueEntry(session_id, user_id, score, _begun_ms(begun))
            [answer] = await self._ask(name, [entry])
            if (await self._change(name, [(entry, answer)], "reap"))[0]:
                return
            _, score = await self._link.run(name, call)

    def _user_call(self, session_id: str, user_id: str, seen: bytes, verdict: bytes) -> scripts.Call:
        return scripts.change_entry(self._keys.user(user_id), member=session_id, seen=seen, verdict=verdict)

    def _enter(self, session: Session) -> scripts.Call:
        key = self._keys.user(session.user_id)
        return scripts.enter_user(key, session_id=session.session_id, created_ms=to_ms(session.created_at))


def _begun_ms(begun: bytes) -> int:
    return int(float(begun))


def _lifetime(begun: bytes, ttl: int) -> str:
    """The score of a session that was given ``ttl`` seconds, as stored, after it was begun."""
    return _score(_begun_ms(begun), ttl if ttl == NEVER else ttl * 1000)
