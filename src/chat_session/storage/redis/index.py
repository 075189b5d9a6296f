"""The two indexes of sessions on one server: their hints move in the session's own script."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from chat_session.session import Session
from chat_session.storage.codec import Element
from chat_session.storage.redis import scripts
from chat_session.storage.redis.codec import EPOCH_TOKENS, encode_meta
from chat_session.storage.redis.connection import Link
from chat_session.storage.redis.keys import IndexKeys, Keys, due_member, parse_due_member


class Hint(NamedTuple):
    """An entry of the due index as it was read. ``read_at``: milliseconds by its server's clock; 0: not known."""

    member: bytes
    score: bytes
    read_at: int = 0

    @property
    def names(self) -> tuple[str, str]:
        """Session and user."""
        return parse_due_member(self.member)


class Settled(NamedTuple):
    """Of each hint whether it stands as it was read and will be met again, and how many were removed."""

    standing: Sequence[bool]
    removed: int


class Index(Protocol):
    """Keeps hints truthful while sessions come, go and change their lifetime."""

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[Element]) -> list[Any]:
        """Run create_session with its hints; its reply. ``ttl``: as stored, from now."""
        ...

    async def delete(self, session_id: str, user_id: str) -> list[Any]:
        """Run delete_session with its hints; its reply."""
        ...

    async def set_ttl(self, session_id: str, ttl: int) -> list[Any]:
        """Run set_ttl with its hint; its reply."""
        ...

    async def restore(self, session_id: str, user_id: str) -> None:
        """Put back the hints of a living session that has lost them."""
        ...

    async def settle(self, name: str, hints: Sequence[Hint], dead: str) -> Settled:
        """Look whether the sessions live; score the living; "remove" or "mark" the dead."""
        ...


class ServerIndex:
    """On one server: one script, one step, and nothing between session and hints."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[Element]) -> list[Any]:
        index = self._keys.index(session.session_id, session.user_id)
        call = create_call(self._keys, index, session, token=token, ttl=ttl, elements=elements)
        reply: list[Any] = await self._link.run("create_session", call)
        return reply

    async def delete(self, session_id: str, user_id: str) -> list[Any]:
        keys, index = self._keys.session(session_id), self._keys.index(session_id, user_id)
        member = due_member(session_id, user_id)
        call = scripts.delete_session(keys, index, member=member, session_id=session_id, user_id=user_id)
        reply: list[Any] = await self._link.run("delete_session", call)
        return reply

    async def set_ttl(self, session_id: str, ttl: int) -> list[Any]:
        keys, due = self._keys.session(session_id), self._keys.due(session_id)
        reply: list[Any] = await self._link.run("set_ttl", scripts.set_ttl(keys, due, session_id=session_id, ttl=ttl))
        return reply

    async def restore(self, session_id: str, user_id: str) -> None:
        await self.settle("diagnose", [Hint(due_member(session_id, user_id), b"")], "remove")

    async def settle(self, name: str, hints: Sequence[Hint], dead: str) -> Settled:
        calls = []
        for hint in hints:
            session_id, user_id = hint.names
            calls.append(
                scripts.settle_hint(
                    self._keys.meta(session_id),
                    *self._keys.index(session_id, user_id),
                    member=hint.member,
                    session_id=session_id,
                    user_id=user_id,
                    dead=dead,
                )
            )
        replies = await self._link.run_all(name, calls)
        return Settled([False] * len(hints), sum(reply[1] for reply in replies if reply[0] == b"DEAD"))


def create_call(
    keys: Keys,
    index: IndexKeys | tuple[()],
    session: Session,
    *,
    token: str,
    ttl: int,
    elements: Sequence[Element],
) -> scripts.Call:
    """The script that stores ``session``, whose last message is its ``message_count``-th."""
    return scripts.create_session(
        keys.session(session.session_id),
        index,
        token=token,
        ttl=ttl,
        member=due_member(session.session_id, session.user_id),
        session_id=session.session_id,
        agent=session.current_agent,
        first_seq=session.message_count - len(elements) + 1,
        fields=encode_meta(session) | {EPOCH_TOKENS: token.encode()},
        elements=elements,
    )
