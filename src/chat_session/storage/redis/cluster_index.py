"""The two indexes of sessions on a cluster, where a session and its hints live on different nodes.

Before a session changes, its hints are touched: from then on they are due, under a score that only this
touch has. After the change they are scored anew, marked or removed, but only if that score still stands:
whoever touched them later has the last word. A crash in between leaves hints that are due, to be checked
and mended by the next count or sweep; never a session that is counted wrong.
"""

import time
from collections.abc import Sequence
from typing import Any

from chat_session.session import Session
from chat_session.storage.codec import Element
from chat_session.storage.redis import scripts
from chat_session.storage.redis.codec import NEVER, decode_user
from chat_session.storage.redis.connection import Command, Link
from chat_session.storage.redis.index import Hint, Settled, create_call
from chat_session.storage.redis.keys import Keys, due_member

GONE = -2  # what PTTL says of a key that is not there
MISSING = b"-1"  # the score of a hint that does not stand


def _verdict(left: int, since: float) -> str:
    """The milliseconds that a session still has, if it had ``left`` at some time after ``since``.

    A hint must never be later than the deadline it stands for: what passed on the way is taken off.
    """
    return str(left) if left == NEVER else str(max(1, left - int((time.monotonic() - since) * 1000) - 1))


class ClusterIndex:
    """Touch, change, settle: three round trips where one server needs one."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[Element]) -> list[Any]:
        name, session_id, user_id = "create_session", session.session_id, session.user_id
        due_score, user_score = await self._touch(name, session_id, user_id)
        call = create_call(self._keys, (), session, token=token, ttl=ttl, elements=elements)
        started = time.monotonic()
        reply: list[Any] = await self._link.run(name, call)
        if reply[0] == b"OK":
            verdict = _verdict(NEVER if ttl == NEVER else ttl * 1000, started)
        else:  # taken: by this user's session, which is scored anew, or by another's, and the hint goes again
            meta = self._keys.meta(session_id)
            owner, left = await self._link.run_all(name, [(b"HGET", meta, b"userId"), (b"PTTL", meta)])
            verdict = _verdict(left, started) if owner == user_id.encode() else "drop"
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
        started = time.monotonic()
        reply: list[Any] = await self._link.run(name, scripts.set_ttl(keys, None, session_id=session_id, ttl=ttl))
        if reply[0] == b"OK":
            verdict = _verdict(NEVER if ttl == NEVER else ttl * 1000, started)
            await self._move(name, session_id, user_id, due_score, user_score, verdict)
        return reply

    async def restore(self, session_id: str, user_id: str) -> None:
        due_score, _ = await self._touch("diagnose", session_id, user_id)
        await self.settle("diagnose", [Hint(due_member(session_id, user_id), due_score)], "remove")

    async def settle(self, name: str, hints: Sequence[Hint], dead: str) -> Settled:
        if not hints:
            return Settled([], 0)
        hints = await self._with_scores(name, hints)
        asked: list[Command] = []
        for hint in hints:  # after the scores were read: a touch from now on makes the move below fail
            session_id, user_id = hint.names
            meta = self._keys.meta(session_id)
            asked += [(b"HGET", meta, b"userId"), (b"PTTL", meta), (b"ZSCORE", self._keys.user(user_id), session_id)]
        started = time.monotonic()
        told = await self._link.run_all(name, asked)
        verdicts, due_moves, user_moves = [], [], []
        for hint, owner, left, user_score in zip(hints, told[::3], told[1::3], told[2::3], strict=True):
            session_id, user_id = hint.names
            verdict = _verdict(left, started) if owner == user_id.encode() and left != GONE else dead
            verdicts.append(verdict)
            due, user = self._keys.due(session_id), self._keys.user(user_id)
            due_moves.append(scripts.move_hint(due, member=hint.member, seen=hint.score, verdict=verdict))
            user_moves.append(scripts.move_hint(user, member=session_id, seen=user_score or b"0", verdict=verdict))
        moved = [reply[1] == 1 for reply in await self._link.run_all(name, due_moves)]
        follow = [
            move for move, hint, done in zip(user_moves, hints, moved, strict=True) if done or hint.score == MISSING
        ]
        await self._link.run_all(name, follow)
        removed = sum(done and verdict == "remove" for done, verdict in zip(moved, verdicts, strict=True))
        return Settled([not done for done in moved], removed)

    async def _with_scores(self, name: str, hints: Sequence[Hint]) -> Sequence[Hint]:
        """Fill in the scores of hints that were met in a user's list."""
        if all(hint.score for hint in hints):
            return hints
        commands: list[Command] = [(b"ZSCORE", self._keys.due(hint.names[0]), hint.member) for hint in hints]
        scores = await self._link.run_all(name, commands)
        return [Hint(hint.member, score or MISSING) for hint, score in zip(hints, scores, strict=True)]

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
