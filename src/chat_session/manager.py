"""SessionManager: what an application calls. It checks arguments, asks the store, and tells the hooks."""

import time
import uuid
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec

from chat_session.calls import Calls
from chat_session.clock import now
from chat_session.connect import name_store, open_store
from chat_session.errors import StoreError
from chat_session.message import (
    UNREADABLE,
    Draft,
    Message,
    check_cursor,
    check_limit,
    check_message,
    check_messages,
    check_note,
    check_window,
)
from chat_session.results import AppendResult, CleanupResult, DeleteResult, Result, SessionPage, SwitchResult
from chat_session.session import (
    Agent,
    Session,
    check_agent,
    check_count,
    check_metadata,
    check_session_id,
    check_ttl,
    check_user_id,
    choose_ttl,
)
from chat_session.settings import Settings, SettingsBesideUrl, SettingsOverrides
from chat_session.storage.contract import Appended, Store
from chat_session.telemetry.hooks import Hooks, combine
from chat_session.telemetry.logging import LoggingHooks

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

MAX_PAGE = 500  # sessions that a list without a limit reads at a time
RECENT = 100  # sessions of a user that are compared by their activity, at least


class SessionManager:
    """Sessions of a chat application, in the store that a URL, a client or the settings name.

    All calls check their arguments first (InvalidInput, nothing stored), are one atomic step each,
    and may raise StoreError. A manager belongs to the event loop of its first call; close it with
    ``await close()`` or ``async with``. Round trips below are those to one Redis server.
    """

    def __init__(
        self,
        client_or_store: "Redis | RedisCluster | Store | None" = None,
        *,
        hooks: Sequence[Hooks] = (),
        must_exist: bool = False,
        **settings: Unpack[SettingsOverrides],
    ) -> None:
        """None: the store that the environment and ``.env`` name, else Redis at localhost:6379.

        A redis.asyncio client stays its owner's to close. ``settings`` win over the environment. ``hooks`` are
        called when something happens, besides the log. With ``must_exist`` a missing SQLite file is an error of
        the first call and is not created. Raises SettingsError.
        """
        loaded = Settings.load(**settings)
        self._settings = loaded
        self._hooks = combine([LoggingHooks(name_store(client_or_store, loaded)), *hooks])
        self._store = open_store(client_or_store, loaded, self._hooks, must_exist=must_exist)
        self._calls = Calls(self._store, self._hooks)
        self._sessions = self._store.sessions

    @classmethod
    def from_url(
        cls, url: str, *, hooks: Sequence[Hooks] = (), must_exist: bool = False, **settings: Unpack[SettingsBesideUrl]
    ) -> Self:
        """The store that ``url`` names; any setting by its lower-case name. Raises SettingsError.

        ``redis://`` ``rediss://`` ``unix://`` ``redis+sentinel://`` ``redis+cluster://`` (``rediss+…``)
        ``sqlite:///file.db`` ``sqlite:///:memory:``
        """
        return cls(None, hooks=hooks, must_exist=must_exist, chat_session_url=url, **settings)

    @property
    def settings(self) -> Settings:
        return self._settings

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __del__(self) -> None:
        """Dropped without being closed: say so, as files do, once it may have something open."""
        calls: Calls | None = getattr(self, "_calls", None)
        if calls is not None and calls.is_left_open:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    async def close(self) -> None:
        """Stop the cleanups and let calls in flight finish, for up to 5 s in all; close what the manager opened.

        Calls from then on raise ManagerClosed; calls that have not finished by then fail. A second close is no error.
        """
        await self._calls.close()

    # Sessions

    async def create_session(
        self,
        user_id: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        session_id: str | None = None,
        ttl: int | EllipsisType | None = ...,
        agent: Agent = "ai",
    ) -> Session:
        """Start a session. ``ttl`` in seconds, None never expires, left out DEFAULT_SESSION_TTL.

        One round trip. Raises SessionExists for a taken id.
        """
        moment = now()
        session = Session(
            session_id=str(uuid.uuid4()) if session_id is None else check_session_id(session_id),
            user_id=check_user_id(user_id),
            created_at=moment,
            last_active_at=moment,
            current_agent=check_agent("agent", agent),
            ttl=choose_ttl(ttl, self._settings.default_session_ttl),
            metadata=check_metadata(metadata),
        )
        async with self._calls("create_session", session.session_id):
            return await self._sessions.create_session(session)

    async def get_session(self, session_id: str) -> Session | None:
        """The session, or None if there is none. Reading does not extend it. One round trip."""
        session_id = check_session_id(session_id)
        async with self._calls("get_session", session_id):
            return await self._sessions.get_session(session_id)

    async def is_session_active(self, session_id: str) -> bool:
        """Whether the session lives. One round trip."""
        return await self.get_session_agent(session_id) is not None

    async def update_session(self, session_id: str, metadata: Mapping[str, Any]) -> Session:
        """Merge metadata; a value of None removes the entry. The deadline does not move.

        One round trip. Raises SessionNotFound; InvalidInput if the merged whole is over the limits.
        """
        session_id, metadata = check_session_id(session_id), check_metadata(metadata)
        async with self._calls("update_session", session_id):
            return await self._sessions.update_session(session_id, metadata)

    async def delete_session(self, session_id: str) -> DeleteResult:
        """Remove the session with its messages. Gone already: ``success=False``. Two round trips."""
        session_id = check_session_id(session_id)
        async with self._calls("delete_session", session_id):
            deleted = await self._sessions.delete_session(session_id)
        return DeleteResult(success=deleted > 0, deleted_keys=deleted)

    async def extend_session(self, session_id: str) -> Result:
        """Slide the deadline by the session's own ttl. One round trip. Raises SessionNotFound."""
        session_id = check_session_id(session_id)
        async with self._calls("extend_session", session_id):
            await self._sessions.extend_session(session_id)
        return Result(success=True)

    # Messages

    async def add_message(
        self, session_id: str, message: Message | Mapping[str, Any], *, epoch: int | None = None
    ) -> AppendResult:
        """Append a message and slide the deadline. One round trip.

        The same id and content again answers as the first time, ``duplicate=True``. ``epoch``: the
        session's ``agent_epoch`` when the message was computed; if the agent was switched since, it
        is refused. Raises SessionNotFound, AgentConflict, MessageConflict, MessageTooLarge.
        """
        session_id = check_session_id(session_id)
        draft = check_message(message, self._settings.max_message_bytes)
        [result] = await self._append(session_id, [draft], epoch)
        return result

    async def add_messages(
        self, session_id: str, messages: Sequence[Message | Mapping[str, Any]], *, epoch: int | None = None
    ) -> list[AppendResult]:
        """Append 1 to 10,000 messages in order, all or none, in one round trip. As ``add_message``.

        Equal messages of one id within the call are stored once; unequal ones are InvalidInput.
        """
        session_id = check_session_id(session_id)
        drafts = check_messages(messages, self._settings.max_message_bytes)
        distinct = {draft.message.id: draft for draft in drafts}  # equal ones of one id are one
        stored = await self._append(session_id, list(distinct.values()), epoch)
        results = {result.message_id: result for result in stored}
        answers = []
        for draft in drafts:
            result = results[draft.message.id or ""]
            answers.append(result)
            results[result.message_id] = msgspec.structs.replace(result, duplicate=True)  # for the next of this id
        return answers

    async def get_history(
        self, session_id: str, limit: int = 20, *, before: int | None = None, after: int | None = None
    ) -> list[Message]:
        """Up to ``limit`` of the retained messages, oldest first.

        Without arguments the newest ones; with ``before`` those directly before that sequence number; with
        ``after`` alone the ones that follow it, so that a caller who asks again with the ``seq`` of the last
        message misses nothing. With both, the newest in between.

        No session: an empty list. A damaged message is given in its place with type "unreadable" and
        its raw text in ``extra``. One round trip.
        """
        session_id, limit = check_session_id(session_id), check_limit(limit)
        before, after = check_window(before, after)
        async with self._calls("get_history", session_id):
            messages = await self._sessions.get_history(session_id, limit, before, after)
        damaged = sum(message.type == UNREADABLE for message in messages)
        if damaged:
            self._hooks.damaged(session_id, damaged)
        return messages

    async def iter_history(
        self, session_id: str, *, after: int | None = None, page: int = 500
    ) -> AsyncIterator[Message]:
        """Every retained message with a ``seq`` above ``after``, oldest first, also those added meanwhile.

        One round trip for each ``page`` messages. Raises StoreError at any step.
        """
        seen = 0 if after is None else after
        while messages := await self.get_history(session_id, page, after=seen):
            for message in messages:
                yield message
            seen = messages[-1].seq or 0

    # The agent

    async def get_session_agent(self, session_id: str) -> Agent | None:
        """Who answers now: "ai" or "human"; None if there is no session. One round trip."""
        session_id = check_session_id(session_id)
        async with self._calls("get_agent", session_id):
            return await self._sessions.get_agent(session_id)

    async def switch_agent(
        self,
        session_id: str,
        new_agent: Agent,
        *,
        expect: int | Agent | None = None,
        note: Message | Mapping[str, Any] | str | None = None,
    ) -> SwitchResult:
        """Make ``new_agent`` the one who answers, and begin the next epoch. One round trip.

        ``expect``: the epoch or the agent that the caller saw; of several who expect the same epoch
        one succeeds. ``note``: a message, or the text of a system message, stored in the same step.
        Raises SessionNotFound, AgentConflict, MessageConflict.
        """
        session_id, agent = check_session_id(session_id), check_agent("new_agent", new_agent)
        if isinstance(expect, str):
            expect = check_agent("expect", expect)
        elif expect is not None:
            expect = check_count("expect", expect)
        draft = check_note(note, self._settings.max_message_bytes)
        async with self._calls("switch_agent", session_id):
            switched = await self._sessions.switch_agent(session_id, agent, expect, draft)
        if draft and switched.noted:
            self._hooks.appended(session_id, [draft.message.sender])
        return SwitchResult(success=True, new_agent=switched.agent, epoch=switched.epoch)

    # Lifetime

    async def set_session_ttl(self, session_id: str, ttl_seconds: int | None) -> Result:
        """The deadline is ``ttl_seconds`` from now and slides by that from here on; None: never expires.

        One round trip. Raises SessionNotFound.
        """
        session_id, ttl = check_session_id(session_id), check_ttl(ttl_seconds)
        async with self._calls("set_ttl", session_id):
            await self._sessions.set_ttl(session_id, ttl)
        return Result(success=True)

    async def get_session_ttl(self, session_id: str) -> int:
        """Seconds left, rounded up; -1 never expires, -2 no such session. One round trip."""
        session_id = check_session_id(session_id)
        async with self._calls("get_ttl", session_id):
            return await self._sessions.get_ttl(session_id)

    # Lists, counts, cleanup

    async def get_user_sessions(self, user_id: str, *, limit: int | None = None) -> list[Session]:
        """The user's living sessions, last active first.

        With ``limit`` it looks at the ``max(limit, 100)`` sessions that were created last and no others: its
        cost does not grow with the number of sessions, and the order is exact for a user who has no more
        than that. See ``list_user_sessions`` for all of them in pages. Two round trips; without a limit one
        more for each 500 sessions. Raises StoreCorrupt if one of the sessions cannot be read.
        """
        user_id = check_user_id(user_id)
        wanted = None if limit is None else check_limit(limit)
        sessions: list[Session] = []
        cursor = None
        while True:
            size = MAX_PAGE if wanted is None else max(wanted, RECENT)
            page = await self._list_user_sessions(user_id, size, cursor)
            if page.damaged:
                raise page.damaged[0]
            sessions += page.sessions
            cursor = page.cursor
            if cursor is None or wanted is not None:
                break
        return sorted(sessions, key=lambda session: session.last_active_at, reverse=True)[:wanted]

    async def list_user_sessions(self, user_id: str, *, limit: int = 100, cursor: str | None = None) -> SessionPage:
        """A page of the user's living sessions, the newest by creation first; ``cursor``: that of the page before.

        Following the cursors meets each session once. Costs what the page holds. Two round trips. Sessions
        that cannot be read are in ``damaged``. Raises InvalidInput for a cursor that no page gave.
        """
        return await self._list_user_sessions(check_user_id(user_id), check_limit(limit), check_cursor(cursor))

    async def _list_user_sessions(self, user_id: str, limit: int, cursor: str | None) -> SessionPage:
        async with self._calls("list_user_sessions"):
            return await self._sessions.list_user_sessions(user_id, limit, cursor)

    async def get_active_sessions_count(self) -> int:
        """How many sessions live now, exact. One round trip, more after many have died."""
        async with self._calls("count_sessions"):
            count = await self._sessions.count_sessions()
        self._hooks.counted(count)
        return count

    async def cleanup_expired_sessions(self) -> CleanupResult:
        """Remove what dead sessions left in the indexes. Any number may run at once; each death counts once."""
        started, removed, outcome = time.perf_counter(), 0, "error"
        try:
            async with self._calls("sweep"):
                removed = await self._sessions.sweep()
            outcome = "ok"
        finally:
            self._hooks.cleaned(removed, time.perf_counter() - started, outcome)
        return CleanupResult(success=True, cleaned_count=removed)

    async def _append(self, session_id: str, drafts: list[Draft], epoch: int | None) -> list[AppendResult]:
        epoch = None if epoch is None else check_count("epoch", epoch)
        try:
            async with self._calls("append_messages", session_id):
                appended = await self._sessions.append_messages(session_id, drafts, epoch)
        except StoreError as error:
            error.messages = [draft.message for draft in drafts]
            raise
        fresh = [done.message.sender for done in appended if not done.duplicate]
        if fresh:
            self._hooks.appended(session_id, fresh)
        return [_result(draft.message.id or "", done) for draft, done in zip(drafts, appended, strict=True)]


def _result(message_id: str, done: Appended) -> AppendResult:
    return AppendResult(
        success=True, message_id=message_id, message=done.message, seq=done.message.seq or 0, duplicate=done.duplicate
    )
