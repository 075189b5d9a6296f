"""The two indexes of sessions on a cluster, where a session and its hints live on different nodes.

Before a session changes, its hints are touched: from then on they are due, under a score that only this
touch has. After the change they are scored anew, marked or removed, but only if that score still stands:
whoever touched them later has the last word. A crash in between leaves hints that are due, to be checked
and mended by the next count or sweep; never a session that is counted wrong.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from chat_session.session import Session
from chat_session.storage.codec import Element
from chat_session.storage.redis import scripts
from chat_session.storage.redis.codec import NEVER, decode_user
from chat_session.storage.redis.connection import Command, Link
from chat_session.storage.redis.index import Hint, Settled, create_call
from chat_session.storage.redis.keys import Keys, due_member

GONE = -2  # what PTTL says of a key that is not there
MISSING = b"-1"  # the score of a hint that does not stand
MAX_FOLLOWS = 4  # how often a user's hint that others change is tried again


def _score(base_ms: int, left: int) -> str:
    """The score of a session that had ``left`` milliseconds when, or after, the hint's server said ``base_ms``.

    So a hint is never later than the deadline it stands for, however long the way to it takes.
    """
    return "+inf" if left == NEVER else str(base_ms + left - 1)


def _stood(score: bytes | float | None) -> bytes:
    """A score as ZSCORE gives it: a number in RESP3, where that of a hint known to be dead is false."""
    if score is None:
        return MISSING
    return score if isinstance(score, bytes) else repr(score).encode()


def _touched_at(score: bytes) -> int:
    """When a hint was touched, by the clock of its server."""
    return int(float(score))


class _Life(NamedTuple):
    """The milliseconds that a session has, None for a dead one, and the score of its user's hint."""

    left: int | None
    user_score: bytes


class ClusterIndex:
    """Touch, change, settle: three round trips where one server needs one."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[Element]) -> list[Any]:
        name, session_id, user_id = "create_session", session.session_id, session.user_id
        due_score, user_score = await self._touch(name, session_id, user_id)
        call = create_call(self._keys, (), session, token=token, ttl=ttl, elements=elements)
        reply: list[Any] = await self._link.run(name, call)
        if reply[0] == b"OK":
            verdict = _score(_touched_at(due_score), NEVER if ttl == NEVER else ttl * 1000)
        else:  # taken: by this user's session, which is scored anew, or by another's, and the hint goes again
            meta = self._keys.meta(session_id)
            owner, left = await self._link.run_all(name, [(b"HGET", meta, b"userId"), (b"PTTL", meta)])
            verdict = _score(_touched_at(due_score), left) if owner == user_id.encode() else "drop"
        await self._move(name, session_id, user_id, due_score, user_score, verdict)
        return reply

    async def delete(self, session_id: str, user_id: str) -> list[Any]:
        name, member = "delete_session", due_member(session_id, user_id)
        due_score, user_score = await self._touch(name, session_id, user_id)
        keys = self._keys.session(session_id)
        call = scripts.delete_session(keys, (), member=member, session_id=session_id, user_id=user_id)
        reply: list[Any] = await self._link.run(name, call)
        await self._move(name, session_id, user_id, due_score, user_score, "drop")
        return reply

    async def set_ttl(self, session_id: str, ttl: int) -> list[Any]:
        name, keys = "set_ttl", self._keys.session(session_id)
        user = await self._link.run(name, (b"HGET", keys.meta, b"userId"))
        if user is None:
            return [b"GONE"]
        user_id = decode_user(keys.meta, user)
        due_score, user_score = await self._touch(name, session_id, user_id)
        reply: list[Any] = await self._link.run(name, scripts.set_ttl(keys, None, session_id=session_id, ttl=ttl))
        if reply[0] == b"OK":
            verdict = _score(_touched_at(due_score), NEVER if ttl == NEVER else ttl * 1000)
            await self._move(name, session_id, user_id, due_score, user_score, verdict)
        return reply

    async def restore(self, session_id: str, user_id: str) -> None:
        due_score, _ = await self._touch("diagnose", session_id, user_id)
        hint = Hint(due_member(session_id, user_id), due_score, _touched_at(due_score))
        await self.settle("diagnose", [hint], "remove")

    async def settle(self, name: str, hints: Sequence[Hint], dead: str) -> Settled:
        if not hints:
            return Settled([], 0)
        hints = await self._with_scores(name, hints)
        lives = await self._ask(name, hints)
        moves, verdicts = [], []
        for hint, life in zip(hints, lives, strict=True):
            verdict = dead if life.left is None else _score(hint.read_at, life.left)
            verdicts.append(verdict)
            due = self._keys.due(hint.names[0])
            # A living one that was met in a user's list is left as it is: when it was read is not known.
            seen = hint.score if life.left is None or hint.read_at else MISSING
            moves.append(scripts.move_hint(due, member=hint.member, seen=seen, verdict=verdict))
        told = [reply[1] for reply in await self._link.run_all(name, moves)]
        moved = [answer == 1 for answer in told]
        each = list(zip(hints, lives, verdicts, moved, strict=True))
        follow = [(h, life, verdict) for h, life, verdict, done in each if done or h.score == MISSING]
        await self._follow(name, follow)
        removed = sum(done and verdict == "remove" for _, _, verdict, done in each)
        return Settled([answer == 0 for answer in told], removed)

    async def _follow(self, name: str, moved: Sequence[tuple[Hint, _Life, str]]) -> None:
        """Move the users' hints as the due ones were.

        One that is to go must go, since no sweep comes by again: if somebody changed it, its session is
        asked for once more. So is one whose due hint is missing.
        """
        moved = [entry for entry in moved if entry[0].score != MISSING or entry[1].left is None]
        for _ in range(MAX_FOLLOWS):
            moves = []
            for hint, life, verdict in moved:
                session_id, user_id = hint.names
                final = "remove" if hint.score == MISSING else verdict
                user = self._keys.user(user_id)
                moves.append(scripts.move_hint(user, member=session_id, seen=life.user_score, verdict=final))
            replies = await self._link.run_all(name, moves)
            failed = [entry for entry, reply in zip(moved, replies, strict=True) if reply[1] != 1]
            again = [hint for hint, _, verdict in failed if verdict == "remove"]
            if not again:
                return
            lives = await self._ask(name, again)
            pairs = zip(again, lives, strict=True)
            moved = [(h, life, "remove") for h, life in pairs if life.left is None and life.user_score != MISSING]

    async def _ask(self, name: str, hints: Sequence[Hint]) -> list[_Life]:
        """What the sessions behind hints say now: to be asked after the hints were read."""
        asked: list[Command] = []
        for hint in hints:
            session_id, user_id = hint.names
            meta = self._keys.meta(session_id)
            asked += [(b"HGET", meta, b"userId"), (b"PTTL", meta), (b"ZSCORE", self._keys.user(user_id), session_id)]
        told = await self._link.run_all(name, asked)
        lives = []
        for hint, owner, left, user_score in zip(hints, told[::3], told[1::3], told[2::3], strict=True):
            living = owner == hint.names[1].encode() and left != GONE
            lives.append(_Life(left if living else None, _stood(user_score)))
        return lives

    async def _with_scores(self, name: str, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Fill in the scores of hints that were met in a user's list."""
        if all(hint.score for hint in hints):
            return hints
        commands: list[Command] = [(b"ZSCORE", self._keys.due(hint.names[0]), hint.member) for hint in hints]
        scores = await self._link.run_all(name, commands)
        return [Hint(hint.member, _stood(score)) for hint, score in zip(hints, scores, strict=True)]

    async def _touch(self, name: str, session_id: str, user_id: str) -> tuple[bytes, bytes]:
        due = scripts.touch_hint(self._keys.due(session_id), member=due_member(session_id, user_id))
        user = scripts.touch_hint(self._keys.user(user_id), member=session_id)
        (_, due_score), (_, user_score) = await self._link.run_all(name, [due, user])
        return due_score, user_score

    async def _move(
        self, name: str, session_id: str, user_id: str, due_score: bytes, user_score: bytes, verdict: str
    ) -> None:
        """Conclude what ``_touch`` began."""
        member, due, user = due_member(session_id, user_id), self._keys.due(session_id), self._keys.user(user_id)
        moves = [
            scripts.move_hint(due, member=member, seen=due_score, verdict=verdict),
            scripts.move_hint(user, member=session_id, seen=user_score, verdict=verdict),
        ]
        await self._link.run_all(name, moves)
