"""The index entries of sessions on one server: they change in the session's own script."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from chat_session.clock import to_ms
from chat_session.session import Session
from chat_session.storage.codec import EncodedMessage, is_answer, is_from_customer
from chat_session.storage.redis.codec import ANSWERED, CREATED, CUSTOMER, encode_meta
from chat_session.storage.redis.index.entries import DueEntry, Outcome, UserEntry, Verdict
from chat_session.storage.redis.keys import IndexEntry, Keys
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import index as index_scripts
from chat_session.storage.redis.scripts import sessions as session_scripts

T = TypeVar("T")

MAX_FORMER = 8  # users that a session had before, of whom an entry may still be left


class ServerIndex:
    """On one server: one script, one step, and nothing between a session and its entries."""

    def __init__(self, executor: CommandExecutor, keys: Keys, waiting_ttl: int) -> None:
        self._executor = executor
        self._keys = keys
        self._waiting_ttl = waiting_ttl

    async def create(self, session: Session, *, token: str, ttl: int, elements: Sequence[EncodedMessage]) -> Any:
        entries = self._keys.entries(session.session_id, session.user_id)
        call = create_call(self._keys, entries, session, token=token, ttl=ttl, elements=elements)
        return await self._executor.run("create_session", call)

    async def assign(self, session_id: str, user_id: str, new_user: str) -> Any:
        entries = [*self._keys.entries(session_id, user_id), *self._keys.entries(session_id, new_user)]
        return await self._executor.run(
            "assign_session", assign_call(self._keys, entries, session_id, user_id, new_user)
        )

    async def delete(self, session_id: str, user_id: str, expect_revision: int | None) -> int | None:
        entries = self._keys.entries(session_id, user_id)
        call = delete_call(self._keys, entries, session_id, user_id, expect_revision)
        return await self._executor.run("delete_session", call)

    async def set_ttl(self, session_id: str, ttl: int) -> None:
        keys, deadlines = self._keys.session(session_id), [self._keys.due(session_id)]
        call = session_scripts.set_ttl(keys, deadlines, session_id=session_id, ttl=ttl, waiting_ttl=self._waiting_ttl)
        await self._executor.run("set_ttl", call)

    async def shorten(
        self,
        name: str,  # noqa: ARG002 - a cluster needs it
        session_id: str,
        user_id: str,  # noqa: ARG002 - as above
        change: Callable[[Sequence[bytes]], Awaitable[T]],
    ) -> T:
        return await change([self._keys.due(session_id)])

    async def restore(self, session_id: str, user_id: str) -> None:
        await self._executor.run("diagnose", self._reconcile(session_id, user_id, Verdict.REAP))

    async def reconcile(self, name: str, entries: Sequence[DueEntry], dead: Verdict) -> list[Outcome]:
        calls = [self._reconcile(entry.session_id, entry.user_id, dead) for entry in entries]
        reaped = await self._executor.run_all(name, calls)
        return [Outcome.REAPED if each else Outcome.CHANGED for each in reaped]

    async def mark_dead(self, name: str, entries: Sequence[UserEntry]) -> None:
        await self._executor.run_all(
            name, [self._reconcile(e.session_id, e.user_id, Verdict.MARK_DEAD) for e in entries]
        )

    def _reconcile(self, session_id: str, user_id: str, dead: Verdict) -> Call[bool]:
        entries = self._keys.entries(session_id, user_id)
        return index_scripts.reconcile_entries(self._keys.meta(session_id), entries, user_id=user_id, dead=dead)


def create_call(
    keys: Keys,
    entries: Sequence[IndexEntry],
    session: Session,
    *,
    token: str,
    ttl: int,
    elements: Sequence[EncodedMessage],
) -> Call[Any]:
    """The script that stores ``session``, whose last message is its ``message_count``-th."""
    numbered = list(enumerate(elements, session.message_count - len(elements) + 1))
    said = max((seq for seq, element in numbered if is_from_customer(element)), default=0)
    answered = max((seq for seq, element in numbered if is_answer(element)), default=0)
    marks = {name: b"%d" % seq for name, seq in ((CUSTOMER, said), (ANSWERED, answered)) if seq}
    return session_scripts.create_session(
        keys.session(session.session_id),
        entries,
        token=token,
        ttl=ttl,
        created_ms=to_ms(session.created_at),
        new_agent=session.current_agent,
        first_seq=session.message_count - len(elements) + 1,
        fields=encode_meta(session) | marks | {CREATED: token.encode()},
        elements=elements,
    )


def assign_call(keys: Keys, entries: Sequence[IndexEntry], session_id: str, user_id: str, new_user: str) -> Call[Any]:
    return session_scripts.assign_session(
        session_id, keys.session(session_id), entries, user_id=user_id, new_user=new_user, max_former=MAX_FORMER
    )


def delete_call(
    keys: Keys, entries: Sequence[IndexEntry], session_id: str, user_id: str, expect_revision: int | None
) -> Call[int | None]:
    return session_scripts.delete_session(
        session_id,
        keys.session(session_id),
        keys.draft(session_id),
        entries,
        user_id=user_id,
        expect_revision=expect_revision,
    )
