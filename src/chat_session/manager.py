"""SessionManager: what an application calls. It checks arguments, asks the store, and tells the hooks."""

import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec

from chat_session.calls import Calls
from chat_session.checks import MAX_SAFE_INTEGER, check_integer
from chat_session.clock import now
from chat_session.connect import name_store, name_system, open_store
from chat_session.desk_status import find_status
from chat_session.errors import SessionNotFound
from chat_session.feed import FeedCalls
from chat_session.history import HistoryCalls, MessageLike
from chat_session.message import Draft, Message, check_messages, check_note, refuse_reserved_type
from chat_session.paging import MAX_LIMIT
from chat_session.results import CleanupResult, DeleteResult, Result, SwitchResult
from chat_session.session import (
    Agent,
    Session,
    check_agent,
    check_count,
    check_flag,
    check_max_history,
    check_metadata,
    check_metadata_name,
    check_session_id,
    check_ttl,
    check_user_id,
    choose_ttl,
    fork_of,
)
from chat_session.settings import Settings, SettingsBesideUrl, SettingsOverrides
from chat_session.storage.contract import DeskStore, Store
from chat_session.telemetry.hooks import Hooks, combine
from chat_session.telemetry.logging import LoggingHooks
from chat_session.turn_calls import TurnCalls
from chat_session.users import UserCalls

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster


class SessionManager(HistoryCalls, UserCalls, TurnCalls, FeedCalls):
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
        system = name_system(client_or_store, loaded)
        listeners = [each.on_store(system) for each in hooks]
        self._hooks = combine([LoggingHooks(name_store(client_or_store, loaded)), *listeners])
        self._store = open_store(client_or_store, loaded, self._hooks, must_exist=must_exist)
        self._calls = Calls(self._store, self._hooks)
        self._sessions = self._store.sessions
        self._limits = loaded.limits

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
        max_history: int | None = None,
        messages: Sequence[MessageLike] = (),
        turns: bool | None = None,
    ) -> Session:
        """Start a session. ``ttl`` in seconds, None never expires, left out DEFAULT_SESSION_TTL.

        ``max_history``: how many messages it keeps, if not MAX_MESSAGE_HISTORY. ``messages``: its first ones, of more
        than it keeps the last, stored in the same step. ``turns``: whether ``pending_turns`` finds it, TURNS if left
        out. One round trip. Raises SessionExists for a taken id.
        """
        session = self._new_session(user_id, metadata, session_id, ttl, agent, max_history, turns)
        empty = isinstance(messages, Sequence) and len(messages) == 0
        drafts = [] if empty else check_messages(messages, self._limits)
        for draft in drafts:
            refuse_reserved_type("messages", draft.message)
        first = list({draft.message.id: draft for draft in drafts}.values())
        session = msgspec.structs.replace(session, message_count=len(first))
        kept = first[-(max_history or self._settings.max_message_history) :]
        async with self._calls("create_session", session.session_id):
            created = await self._sessions.create_session(session, kept)
        if kept:
            self._hooks.appended(session.session_id, [draft.message.sender for draft in kept])
        return created

    async def get_or_create_session(
        self,
        session_id: str,
        user_id: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        ttl: int | EllipsisType | None = ...,
        agent: Agent = "ai",
        max_history: int | None = None,
        turns: bool | None = None,
    ) -> tuple[Session, bool]:
        """The session of that id, and whether this call created it, as ``create_session`` does. One step.

        One that exists stays as it is: the other arguments are for a new one. One round trip; on a cluster one, or
        four to create it. Raises SessionExists if it is another user's.
        """
        session = self._new_session(user_id, metadata, check_session_id(session_id), ttl, agent, max_history, turns)
        async with self._calls("get_or_create_session", session.session_id):
            return await self._sessions.get_or_create_session(session)

    async def fork_session(
        self, session_id: str, *, up_to: int | None = None, new_id: str | None = None, user_id: str | None = None
    ) -> Session:
        """Copy a session with its retained messages, or those up to the sequence number ``up_to``.

        The copy has the same user (or ``user_id``), metadata, ttl, bound and agent, its own activity and epoch, and
        the messages with the same ids and sequence numbers. Costs what the history holds. Raises SessionNotFound;
        SessionExists for a taken ``new_id``.
        """
        session_id = check_session_id(session_id)
        last = None if up_to is None else check_count("up_to", up_to)
        new_id = str(uuid.uuid4()) if new_id is None else check_session_id(new_id)
        owner = None if user_id is None else check_user_id(user_id)
        while True:
            source = await self.get_session(session_id)
            if source is None:
                raise SessionNotFound(session_id)
            messages = await self._read(session_id, MAX_LIMIT, None if last is None else last + 1, None)
            after = await self.get_session(session_id)
            if after is not None and after.revision == source.revision:  # else it was changed while it was read
                break
        count = min(source.message_count, source.message_count if last is None else last)
        fork = fork_of(source, new_id, owner or source.user_id, (messages[-1].seq or 0) if messages else count)
        drafts = [Draft(message, timestamp_generated=False) for message in messages]
        async with self._calls("create_session", new_id):
            return await self._sessions.create_session(fork, drafts)

    async def assign_session(self, session_id: str, user_id: str) -> Session:
        """Make it the session of another user, such as a visitor who has signed in; the session as it is then.

        It leaves the list of the one user and enters that of the other, and is counted once all the while. The
        deadline does not move. Two round trips, on a cluster five. Raises SessionNotFound.
        """
        session_id, user_id = check_session_id(session_id), check_user_id(user_id)
        async with self._calls("assign_session", session_id):
            return await self._sessions.assign_session(session_id, user_id)

    async def get_session(self, session_id: str) -> Session | None:
        """The session, or None if there is none. Reading does not extend it. One round trip."""
        session_id = check_session_id(session_id)
        async with self._calls("get_session", session_id):
            return await self._sessions.get_session(session_id)

    async def is_session_active(self, session_id: str) -> bool:
        """Whether the session lives. One round trip."""
        return await self.get_session_agent(session_id) is not None

    async def update_session(
        self, session_id: str, metadata: Mapping[str, Any], *, expect: Mapping[str, Any] | None = None
    ) -> Session:
        """Merge metadata; a value of None removes the entry. The deadline does not move.

        ``expect``: entries as the caller read them, None for a missing one; if one of them differs, MetadataConflict.
        One round trip. Raises SessionNotFound; InvalidInput if the merged whole is over the limits.
        """
        session_id, metadata = check_session_id(session_id), check_metadata(metadata)
        expected = check_metadata(expect, "expect")
        async with self._calls("update_session", session_id):
            return await self._sessions.update_session(session_id, metadata, expected)

    async def increment(self, session_id: str, name: str, by: int = 1) -> int:
        """Add to a whole number in the metadata, from 0 if there is none; the new number. The deadline does not move.

        One round trip. Raises SessionNotFound; InvalidInput if the entry is not a whole number, or becomes too large.
        """
        session_id, name = check_session_id(session_id), check_metadata_name(name, "name")
        by = check_integer("by", by, -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER, "a whole number within ±(2^53 - 1)")
        async with self._calls("increment", session_id):
            return await self._sessions.increment(session_id, name, by)

    async def delete_session(self, session_id: str, *, expect_revision: int | None = None) -> DeleteResult:
        """Remove the session with its messages. Gone already: ``success=False``. Two round trips.

        ``expect_revision``: the session's ``revision`` as it was read; if its history was changed since,
        SequenceConflict.
        """
        session_id = check_session_id(session_id)
        revision = None if expect_revision is None else check_count("expect_revision", expect_revision)
        async with self._calls("delete_session", session_id):
            deleted = await self._sessions.delete_session(session_id, revision)
        return DeleteResult(success=deleted > 0, deleted_keys=deleted)

    async def extend_session(self, session_id: str) -> Result:
        """Slide the deadline by the session's own ttl. One round trip. Raises SessionNotFound."""
        session_id = check_session_id(session_id)
        async with self._calls("extend_session", session_id):
            await self._sessions.extend_session(session_id)
        return Result(success=True)

    # The agent

    async def get_session_agent(self, session_id: str) -> Agent | None:
        """Who answers now: "ai" or "human"; None if there is no session. One round trip."""
        session_id = check_session_id(session_id)
        async with self._calls("get_agent", session_id):
            return await self._sessions.get_agent(session_id)

    async def check_epoch(self, session_id: str, epoch: int) -> None:
        """Raise AgentConflict if the agent was switched since ``epoch``. For the moment before a tool runs.

        Cheap: one round trip that reads three fields. Raises SessionNotFound.
        """
        session_id, epoch = check_session_id(session_id), check_count("epoch", epoch)
        async with self._calls("check_epoch", session_id):
            await self._sessions.check_epoch(session_id, epoch)

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
        draft = check_note(note, self._limits)
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

    # Counts, cleanup

    async def get_active_sessions_count(self) -> int:
        """How many sessions live now, exact. One round trip, more after many have died."""
        async with self._calls("count_sessions"):
            count = await self._sessions.count_sessions()
        self._hooks.counted(count)
        return count

    async def cleanup_expired_sessions(self) -> CleanupResult:
        """Remove what dead sessions left in the indexes, and run the desk's sweep. ``cleaned_count`` counts the dead.

        Any number may run at once; each death, and each lapse of an operator's presence, counts once.
        """
        started, removed, outcome = time.perf_counter(), 0, "error"
        try:
            async with self._calls("sweep"):
                removed = await self._sessions.sweep()
            await self._sweep_desk()
            outcome = "ok"
        finally:
            self._hooks.cleaned(removed, time.perf_counter() - started, outcome)
        return CleanupResult(success=True, cleaned_count=removed)

    async def _sweep_desk(self) -> None:
        """Run the sweep of the desk, if the store has one: sessions of operators who went away return to the queue."""
        desk: DeskStore | None = getattr(self._store, "desk", None)
        if desk is None:
            return
        async with self._calls("sweep_desk"):
            swept = await desk.sweep()
        for event, session_ids in (("lapsed", swept.lapsed), ("handed_back", swept.handed_back)):
            for session_id in session_ids:
                self._hooks.handed(session_id, event)

    def _new_session(
        self,
        user_id: object,
        metadata: object,
        session_id: object,
        ttl: int | EllipsisType | None,
        agent: object,
        max_history: object,
        turns: object,
    ) -> Session:
        moment, agent = now(), check_agent("agent", agent)
        return Session(
            session_id=str(uuid.uuid4()) if session_id is None else check_session_id(session_id),
            user_id=check_user_id(user_id),
            created_at=moment,
            last_active_at=moment,
            current_agent=agent,
            desk=find_status(None, agent, 0, None),
            ttl=choose_ttl(ttl, self._settings.default_session_ttl),
            max_history=check_max_history(max_history),
            turns=self._settings.turns if turns is None else check_flag("turns", turns),
            metadata=check_metadata(metadata),
        )
