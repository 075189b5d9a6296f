"""The index entries of sessions on one server: they change in the session's own script."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Literal, NamedTuple, Protocol

from chat_session.clock import to_ms
from chat_session.session import Session
from chat_session.storage.codec import EncodedMessage
from chat_session.storage.redis.codec import CREATED, encode_meta
from chat_session.storage.redis.keys import IndexKeys, Keys, due_member
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import index as index_scripts
from chat_session.storage.redis.scripts import sessions as session_scripts

Dead = Literal["reap", "mark_dead"]  # what becomes of the entry of a session that is found dead


class DueEntry(NamedTuple):
    """An entry of the index of deadlines as it was read, at ``read_at`` milliseconds by its server's clock."""

    session_id: str
    user_id: str
    score: bytes
    read_at: int

    @property
    def member(self) -> bytes:
        return due_member(self.session_id, self.user_id)


class UserEntry(NamedTuple):
    """An entry of a user's list as it was read."""

    session_id: str
    user_id: str
    score: bytes


class Outcome(Enum):
    """What came of looking after an entry that was due."""

    CHANGED = auto()  # it has another score, or is marked, or another process changed it meanwhile: read it again
    REAPED = auto()  # it is removed, by this call alone
    LIVES = auto()  # a writer is changing the session, which lives; the entry is left to that writer
    DEAD = auto()  # as before, but the session does not live now


class Index(Protocol):
    """Keeps index entries truthful while sessions come, go and change their lifetime."""

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[EncodedMessage]) -> None:
        """Run create_session with its entries. ``ttl``: as stored, from now. Raises SessionExists."""
        ...

    async def delete(self, session_id: str, user_id: str) -> int | None:
        """Run delete_session with its entries; how many keys went. None if the id is another user's now."""
        ...

    async def set_ttl(self, session_id: str, ttl: int) -> None:
        """Run set_ttl with its entry. Raises SessionNotFound."""
        ...

    async def restore(self, session_id: str, user_id: str) -> None:
        """Put back the entries of a living session that has lost them."""
        ...

    async def reconcile(self, name: str, entries: Sequence[DueEntry], dead: Dead) -> list[Outcome]:
        """Check whether the sessions of entries that are due live; give the living their new score."""
        ...

    async def mark_dead(self, name: str, entries: Sequence[UserEntry]) -> None:
        """Sessions that were in a user's list and do not live: mark them for the sweep, and take them off the list."""
        ...


class ServerIndex:
    """On one server: one script, one step, and nothing between a session and its entries."""

    def __init__(self, executor: CommandExecutor, keys: Keys) -> None:
        self._executor = executor
        self._keys = keys

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[EncodedMessage]) -> None:
        index = self._keys.entries(session.session_id, session.user_id).keys
        call = create_call(self._keys, index, session, token=token, ttl=ttl, elements=elements)
        await self._executor.run("create_session", call)

    async def delete(self, session_id: str, user_id: str) -> int | None:
        call = delete_call(self._keys, self._keys.entries(session_id, user_id).keys, session_id, user_id)
        return await self._executor.run("delete_session", call)

    async def set_ttl(self, session_id: str, ttl: int) -> None:
        keys, due = self._keys.session(session_id), self._keys.due(session_id)
        await self._executor.run("set_ttl", session_scripts.set_ttl(keys, due, session_id=session_id, ttl=ttl))

    async def restore(self, session_id: str, user_id: str) -> None:
        await self._executor.run("diagnose", self._reconcile(session_id, user_id, "reap"))

    async def reconcile(self, name: str, entries: Sequence[DueEntry], dead: Dead) -> list[Outcome]:
        calls = [self._reconcile(entry.session_id, entry.user_id, dead) for entry in entries]
        reaped = await self._executor.run_all(name, calls)
        return [Outcome.REAPED if each else Outcome.CHANGED for each in reaped]

    async def mark_dead(self, name: str, entries: Sequence[UserEntry]) -> None:
        await self._executor.run_all(name, [self._reconcile(e.session_id, e.user_id, "mark_dead") for e in entries])

    def _reconcile(self, session_id: str, user_id: str, dead: Dead) -> Call[bool]:
        entries = self._keys.entries(session_id, user_id)
        return index_scripts.reconcile_entry(
            self._keys.meta(session_id),
            *entries.keys,
            member=entries.due.member,
            session_id=session_id,
            user_id=user_id,
            dead=dead,
        )


def create_call(
    keys: Keys,
    index: IndexKeys | tuple[()],
    session: Session,
    *,
    token: str,
    ttl: int,
    elements: Sequence[EncodedMessage],
) -> Call[bytes]:
    """The script that stores ``session``, whose last message is its ``message_count``-th."""
    return session_scripts.create_session(
        keys.session(session.session_id),
        index,
        token=token,
        ttl=ttl,
        member=due_member(session.session_id, session.user_id),
        session_id=session.session_id,
        created_ms=to_ms(session.created_at),
        new_agent=session.current_agent,
        first_seq=session.message_count - len(elements) + 1,
        fields=encode_meta(session) | {CREATED: token.encode()},
        elements=elements,
    )


def delete_call(keys: Keys, index: IndexKeys | tuple[()], session_id: str, user_id: str) -> Call[int | None]:
    return session_scripts.delete_session(
        keys.session(session_id),
        index,
        member=due_member(session_id, user_id),
        session_id=session_id,
        user_id=user_id,
    )
