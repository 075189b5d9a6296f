"""The sessions on Redis and Valkey: each write is one script and, except for delete, one round trip.

On a cluster creation, deletion and a new ttl take more: see ``index/cluster.py``.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from chat_session.checks import MAX_JSON_BYTES, MAX_METADATA_ENTRIES
from chat_session.clock import now, to_iso, to_us
from chat_session.desk_status import facts_of
from chat_session.errors import InvalidInput, SessionExists, SessionNotFound, StoreCorrupt, StoreUnavailable
from chat_session.message import Draft
from chat_session.results import SessionPage
from chat_session.session import Agent, Session
from chat_session.storage.codec import encode_message
from chat_session.storage.contract import RemainingTtl, Switched
from chat_session.storage.redis.codec import decode_user, encode_ttl
from chat_session.storage.redis.desk.steps import SessionSteps
from chat_session.storage.redis.index.due import DueEntries
from chat_session.storage.redis.index.entries import Index, Verdict
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.messages import RESERVED_NAMES, RedisMessages
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import integer, optional_text, optional_texts, stored_hash
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.pages import SessionPages
from chat_session.storage.redis.scripts import sessions as scripts

MAX_OWNERS = 8  # users to whom an id may be given while it is deleted, before the call gives up


class RedisSessions(RedisMessages):
    """Keeps SessionStore's promises on one Redis server or a cluster."""

    def __init__(
        self,
        executor: CommandExecutor,
        keys: Keys,
        index: Index,
        steps: SessionSteps,
        *,
        on_cluster: bool,
        default_ttl: int,
        max_history: int,
    ) -> None:
        super().__init__(
            executor, keys, steps.turn_entries, on_cluster=on_cluster, default_ttl=default_ttl, max_history=max_history
        )
        self._index = index
        self._steps = steps
        self._desk = steps.entries
        self._due = DueEntries(executor, keys, index)
        self._pages = SessionPages(executor, keys, index, default_ttl)

    async def create_session(
        self, session: Session, history: Sequence[Draft] = (), remaining: RemainingTtl = ...
    ) -> Session:
        if await self._create(session, history, remaining) is not None:
            raise SessionExists(session.session_id)
        return session

    async def get_or_create_session(self, session: Session) -> tuple[Session, bool]:
        existing = (
            await self.get_session(session.session_id) if self._on_cluster else None
        )  # to create takes more there
        if existing is None:
            fields = await self._create(session, (), ...)
            if fields is None:
                return session, True
            existing = self._pages.decode(self._keys.meta(session.session_id), fields)
        if existing is None or existing.user_id != session.user_id:
            raise SessionExists(session.session_id)
        return existing, False

    async def _create(self, session: Session, history: Sequence[Draft], remaining: RemainingTtl) -> Any:
        """None if it was created; else the fields of the session that has the id."""
        facts = facts_of(session.desk, session.agent_epoch)
        in_desk = facts is not None and facts.state != "open"  # it is stored as it was elsewhere
        if in_desk:
            await self._desk.plan_check("create_session", session.session_id)
        if session.turns and history:
            await self._turn_entries.write("create_session", session.session_id)
        fields = await self._index.create(
            session,
            token=secrets.token_urlsafe(6),  # 8 characters
            ttl=encode_ttl(session.ttl if remaining is ... else remaining),
            elements=[encode_message(draft) for draft in history],
        )
        if fields is None:
            self._desk.creations.add(to_us(session.created_at))
            if facts is not None and in_desk and remaining is ...:
                await self._steps.put_right("create_session", session.session_id)
            elif facts is not None and in_desk:  # its deadline is given
                await self._desk.reconcile("create_session", session.session_id, facts)
        return fields

    async def assign_session(self, session_id: str, user_id: str) -> Session:
        meta = self._keys.meta(session_id)
        for _ in range(MAX_OWNERS):
            owner = await self._executor.run("assign_session", PlainCommand((b"HGET", meta, b"userId"), optional_text))
            if owner is None:
                raise SessionNotFound(session_id)
            fields = await self._index.assign(session_id, decode_user(meta, owner), user_id)
            session = None if fields is None else self._pages.decode(meta, fields)
            if session is not None:
                return session
        text = f"The session {session_id!r} was given to {MAX_OWNERS} other users meanwhile. Assign it again."
        raise StoreUnavailable(text, session_id=session_id)

    async def get_session(self, session_id: str) -> Session | None:
        key = self._keys.meta(session_id)
        fields = await self._executor.run("get_session", PlainCommand((b"HGETALL", key), stored_hash))
        return self._pages.decode(key, fields)

    async def get_agent(self, session_id: str) -> Agent | None:
        key = self._keys.meta(session_id)
        command = PlainCommand((b"HMGET", key, b"userId", b"currentAgent"), _two_texts)
        user_id, agent = await self._executor.run("get_agent", command)
        if user_id is None:
            return None
        if agent not in (b"ai", b"human", None):
            raise StoreCorrupt(key.decode(), "has a currentAgent that is neither ai nor human", session_id=session_id)
        return "human" if agent == b"human" else "ai"

    async def update_session(
        self, session_id: str, metadata: Mapping[str, Any], expect: Mapping[str, Any] = {}
    ) -> Session:
        keys = self._keys.session(session_id)
        token = self._tokens.take() if expect else None  # a merge that compares nothing may be repeated
        call = scripts.update_session(
            session_id,
            keys,
            max_entries=MAX_METADATA_ENTRIES,
            max_bytes=MAX_JSON_BYTES,
            reserved=RESERVED_NAMES,
            token=token.text if token else "",
            answered_below=token.answered_below if token else 0,
            expected=expect,
            changes=metadata,
        )
        with self._tokens.answering(token) if token else nullcontext():
            fields = await self._executor.run("update_session", call)
        session = self._pages.decode(keys.meta, fields)
        if session is None:
            raise SessionNotFound(session_id)
        return session

    async def increment(self, session_id: str, name: str, by: int) -> int:
        token = self._tokens.take()
        call = scripts.increment(
            session_id,
            self._keys.session(session_id),
            name=name,
            by=by,
            max_entries=MAX_METADATA_ENTRIES,
            max_bytes=MAX_JSON_BYTES,
            reserved=RESERVED_NAMES,
            token=token.text,
            answered_below=token.answered_below,
        )
        with self._tokens.answering(token):
            number = await self._executor.run("increment", call)
        if number is None:
            raise InvalidInput(f"metadata[{name!r}]", "a whole number within ±(2^53 - 1)", "another value")
        return number

    async def delete_session(self, session_id: str, expect_revision: int | None = None) -> int:
        meta = self._keys.meta(session_id)
        command = PlainCommand((b"HMGET", meta, b"userId", b"cs:desk"), _two_texts)
        for _ in range(MAX_OWNERS):
            owner, facts = await self._executor.run("delete_session", command)
            if owner is None:
                return 0
            deleted = await self._index.delete(session_id, decode_user(meta, owner), expect_revision)
            if deleted is not None:
                if facts is not None:
                    await self._desk.leave("delete_session", session_id, facts)
                return deleted
        text = f"The session {session_id!r} was given to {MAX_OWNERS} users while it was deleted. Delete it again."
        raise StoreUnavailable(text, session_id=session_id)

    async def check_epoch(self, session_id: str, epoch: int) -> None:
        await self._executor.run(
            "check_epoch", scripts.check_epoch(session_id, self._keys.session(session_id), epoch=epoch)
        )

    async def extend_session(self, session_id: str) -> None:
        keys = self._keys.session(session_id)
        call = scripts.extend_session(session_id, keys, now=to_iso(now()), default_ttl=self._default_ttl)
        await self._executor.run("extend_session", call)

    async def switch_agent(
        self, session_id: str, agent: Agent, expect: int | Agent | None, note: Draft | None
    ) -> Switched:
        token = self._tokens.take()
        call = scripts.switch_agent(
            session_id,
            self._keys.session(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            new_agent=agent,
            expect=expect,
            token=token.text,
            answered_below=token.answered_below,
            elements=[encode_message(note)] if note else [],
        )
        with self._tokens.answering(token):
            epoch, noted, in_desk, in_turns = await self._executor.run("switch_agent", call)
        if in_desk:
            await self._steps.follow_switch(session_id)
        if agent == "ai" and in_turns:  # there may be a question that nobody has answered
            await self._turn_entries.write("switch_agent", session_id)
        return Switched(agent, epoch, bool(noted))

    async def set_ttl(self, session_id: str, ttl: int | None) -> None:
        await self._index.set_ttl(session_id, encode_ttl(ttl))

    async def get_ttl(self, session_id: str) -> int:
        key = self._keys.meta(session_id)
        commands = [PlainCommand((b"HEXISTS", key, b"userId"), integer), PlainCommand((b"PTTL", key), integer)]
        exists, left = await self._executor.run_all("get_ttl", commands)
        if not exists:
            return -2
        return left if left < 0 else -(-left // 1000)

    async def list_user_sessions(self, user_id: str, limit: int, cursor: str | None) -> SessionPage:
        return await self._pages.page_of_user(user_id, limit, cursor)

    async def count_sessions(self) -> int:
        _, living = await self._due.check("count_sessions", Verdict.MARK_DEAD)
        return living

    async def sweep(self) -> int:
        reaped, _ = await self._due.check("sweep", Verdict.REAP)
        return reaped


def _two_texts(reply: Any) -> list[bytes | None]:
    return optional_texts(reply, 2)
