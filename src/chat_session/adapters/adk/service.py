"""The session service."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any
from weakref import WeakValueDictionary

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events import Event
from google.adk.sessions import BaseSessionService
from google.adk.sessions import Session as AdkSession
from google.adk.sessions.base_session_service import GetSessionConfig, ListSessionsResponse

from chat_session import Inspector, Message, Session, SessionExists, SessionManager, SessionNotFound
from chat_session.adapters.adk.events import FORMAT, to_event, to_events, to_message, without_temporary_state
from chat_session.adapters.adk.marker import Marker, find_marker, last_entry, marker_of
from chat_session.adapters.adk.state import LAST, Scopes, merge_scopes, pack_state, split_state, unpack_state
from chat_session.adapters.history import Epoch, is_whole
from chat_session.adapters.pairing import is_of, pair_messages
from chat_session.adapters.session_ids import find_original_ids, make_session_id, original_id, split_session_id
from chat_session.errors import MetadataConflict
from chat_session.paging import MAX_LIMIT

_PAGE = 500  # sessions, or states of users, that are asked for at a time
_MESSAGES = 200  # that a search for a time reads at a time
_TRIPLE = 3  # ids by which ADK knows a session


class ManagedSessionService(BaseSessionService):
    """ADK's sessions in the store of a SessionManager, which stays its owner's to close.

    A session of ADK is the session ``app:user:session`` of the user ``app:user``, escaped as ``make_session_id`` says.
    Each append carries the epoch at which its ``Session`` object was read: if a person took over since, it raises
    AgentConflict, and nothing is stored. An ``epoch`` pins that of all sessions, False turns it off.

    ``check_stale``: as ADK's DatabaseSessionService, refuse an append with StaleSessionError if another run has stored
    an event since the read. Messages of others, such as an operator's, do not count. ``max_history``: how many
    messages a new session keeps, up to 10,000, and ``ttl_seconds`` how long it lives, None for ever; left out, as the
    manager's settings say.
    """

    def __init__(
        self,
        manager: SessionManager,
        *,
        max_history: int | None = None,
        ttl_seconds: int | EllipsisType | None = ...,
        epoch: Epoch = None,
        check_stale: bool = True,
    ) -> None:
        self._manager = manager
        self._max_history = max_history
        self._ttl = ttl_seconds
        self._epoch = epoch
        self._check_stale = check_stale
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> AdkSession:
        """Create a session. Without ``session_id``, or with a blank one, the id is generated.

        Two round trips, three if there is state of the user or the app. Raises AlreadyExistsError, with nothing
        changed.
        """
        ids = (app_name, user_id, (session_id or "").strip() or str(uuid.uuid4()))  # without white space, as ADK's own
        scopes = split_state(state or {})
        try:
            created = await self._manager.create_session(
                make_session_id(app_name, user_id),
                {**pack_state(scopes.session), **original_id(*ids)},
                session_id=make_session_id(*ids),
                ttl=self._ttl,
                max_history=self._max_history,
            )
        except SessionExists as error:
            raise AlreadyExistsError(f"Session with id {ids[2]} already exists.") from error
        if scopes.user or scopes.app:
            try:
                await self._manager.add_messages(created.session_id, [], state=_pack_scopes(app_name, user_id, scopes))
            except BaseException:
                await self._manager.delete_session(created.session_id)
                raise
        user, app = await asyncio.gather(self._user_state(app_name, user_id), self._app_state(app_name))
        return _to_adk(created, ids, user, app)

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> AdkSession | None:
        """The session with its events, oldest first; None if there is none. One round trip.

        What others stored stands among the events with its text. Answers of tools whose calls were trimmed are left
        out, and so are texts that are empty. With ``after_timestamp``: the events behind the newest that is older.
        """
        ids = (app_name, user_id, session_id.strip())
        session, messages, user, app = await asyncio.gather(
            self._manager.get_session(make_session_id(*ids)),
            self._read_messages(make_session_id(*ids), config or GetSessionConfig()),
            self._user_state(app_name, user_id),
            self._app_state(app_name),
        )
        if session is None:
            return None
        paired = pair_messages(messages, is_of(FORMAT), is_whole=is_whole(session, messages))
        return _to_adk(session, ids, user, app, to_events(paired))

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """The sessions of a user, or of all users of the app, without their events, the one updated last at the end.

        For a user it costs what the user has. Without a user it reads every session of the store, in pages of 500: a
        call for operators.
        """
        if user_id is None:
            found = await self._list_all(app_name)
        else:
            found = await self._manager.get_user_sessions(make_session_id(app_name, user_id))
        sessions = [(session, ids) for session in found if _is_of(ids := find_original_ids(session), app_name, user_id)]
        users = list(dict.fromkeys(ids[1] for _, ids in sessions))
        states: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(users), _PAGE):
            page = users[start : start + _PAGE]
            read = await asyncio.gather(*(self._user_state(app_name, user) for user in page))
            states.update(zip(page, read, strict=True))
        app = await self._app_state(app_name) if sessions else {}
        listed = [_to_adk(session, ids, states[ids[1]], app) for session, ids in sessions]
        listed.sort(key=lambda session: (session.last_update_time, session.user_id, session.id))
        return ListSessionsResponse(sessions=listed)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Remove the session with its events; the state of the user and the app stays. Two round trips."""
        await self._manager.delete_session(make_session_id(app_name, user_id, session_id.strip()))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """The state of the user in this app, keys without ``user:``. One round trip."""
        return unpack_state(await self._user_state(app_name, user_id))

    async def append_event(self, session: AdkSession, event: Event) -> Event:
        """Store the event and the changes of state that it carries, in one step and one round trip.

        On a cluster the state of the user and the app is stored in a step before. It costs the same however long the
        history is. A partial event is not stored. An event that is stored already changes nothing.

        Raises AgentConflict and StaleSessionError, see the class; SessionNotFoundError; MessageConflict for another
        event of the same id; MessageTooLarge for one of more than MAX_CONTENT_BYTES; InvalidInput if the state is over
        the limits of metadata. Then ``session`` is as before.
        """
        if event.partial:
            return event
        session_id = make_session_id(session.app_name, session.user_id, session.id.strip())
        message = to_message(without_temporary_state(event), self._manager.settings.max_message_bytes)
        async with self._locks.setdefault(session_id, asyncio.Lock()):  # a Session object carries one marker
            marker = find_marker(session) or await self._read_marker(session, session_id)
            last = last_entry(event.timestamp, message.id or "")
            is_repeat = await self._store(session, session_id, message, event, marker, last)
            if is_repeat and any(known.id == event.id for known in session.events):
                return event
            Marker(marker.epoch, last).put_on(session)
            session.last_update_time = event.timestamp
            return await super().append_event(session, event)

    async def _store(
        self, session: AdkSession, session_id: str, message: Message, event: Event, marker: Marker, last: str
    ) -> bool:
        """Whether it was stored before."""
        scopes = split_state(event.actions.state_delta)
        epoch = marker.epoch if self._epoch is None else self._epoch
        try:
            [result] = await self._manager.add_messages(
                session_id,
                [message],
                epoch=None if epoch is False else epoch,
                expect_metadata={LAST: marker.last} if self._check_stale else None,
                metadata={**pack_state(scopes.session), LAST: last},
                state=_pack_scopes(session.app_name, session.user_id, scopes),
            )
        except SessionNotFound as error:
            raise SessionNotFoundError(f"Session {session.id} not found.") from error
        except MetadataConflict as error:
            raise _stale_session() from error
        return result.duplicate

    async def _read_marker(self, session: AdkSession, session_id: str) -> Marker:
        """For a session that has none: built by hand, or sent over the wire. Its epoch begins now."""
        stored = await self._manager.get_session(session_id)
        if stored is None:
            raise SessionNotFoundError(f"Session {session.id} not found.")
        marker = marker_of(stored)
        knows_last = bool(session.events) and make_session_id(session.events[-1].id) == marker.message_id
        if self._check_stale and not knows_last and (marker.update_time or 0.0) > session.last_update_time:
            raise _stale_session()
        return marker

    async def _read_messages(self, session_id: str, config: GetSessionConfig) -> list[Message]:
        limit = MAX_LIMIT if config.num_recent_events is None else config.num_recent_events
        if limit == 0:
            return []
        limit = min(limit, MAX_LIMIT)
        if config.after_timestamp is None:
            return await self._manager.get_history(session_id, limit, include_internal=True)
        found: list[Message] = []
        before = None
        while len(found) < limit:
            size = min(_MESSAGES, limit - len(found))
            page = await self._manager.get_history(session_id, size, before=before, include_internal=True)
            recent = _newer(page, config.after_timestamp)
            found = recent + found
            if len(recent) < size:
                break
            before = page[0].seq
        return found

    async def _list_all(self, app_name: str) -> list[Session]:
        inspector = Inspector(self._manager)
        found: dict[str, Session] = {}
        cursor = None
        while True:
            page = await inspector.list_sessions(cursor, _PAGE)
            for error in page.damaged:
                if split_session_id(error.session_id or "")[0] == app_name:
                    raise error
            found.update((session.session_id, session) for session in page.sessions)
            cursor = page.cursor
            if cursor is None:
                return list(found.values())

    async def _user_state(self, app_name: str, user_id: str) -> dict[str, Any]:
        return await self._manager.get_state(_user_scope(app_name, user_id))

    async def _app_state(self, app_name: str) -> dict[str, Any]:
        return await self._manager.get_state(_app_scope(app_name))


def _to_adk(
    session: Session,
    ids: Sequence[str],
    user: Mapping[str, Any],
    app: Mapping[str, Any],
    events: Sequence[Event] = (),
) -> AdkSession:
    app_name, user_id, session_id = ids
    marker = marker_of(session)
    updated = session.created_at.timestamp() if marker.update_time is None else marker.update_time
    state = merge_scopes(session.metadata, user, app)
    found = AdkSession(
        id=session_id, app_name=app_name, user_id=user_id, state=state, events=list(events), last_update_time=updated
    )
    marker.put_on(found)
    return found


def _is_of(ids: Sequence[str], app_name: str, user_id: str | None) -> bool:
    return len(ids) == _TRIPLE and ids[0] == app_name and user_id in (None, ids[1])


def _newer(messages: Sequence[Message], moment: float) -> list[Message]:
    """Those behind the last one that is older."""
    for i in range(len(messages) - 1, -1, -1):
        event = to_event(messages[i])
        if event is not None and event.timestamp < moment:
            return list(messages[i + 1 :])
    return list(messages)


def _pack_scopes(app_name: str, user_id: str, scopes: Scopes) -> dict[str, dict[str, Any]] | None:
    changes = {_user_scope(app_name, user_id): scopes.user, _app_scope(app_name): scopes.app}
    return {scope: pack_state(each) for scope, each in changes.items() if each} or None


def _user_scope(app_name: str, user_id: str) -> str:
    return f"user:{make_session_id(app_name, user_id)}"


def _app_scope(app_name: str) -> str:
    return f"app:{make_session_id(app_name)}"


def _stale_session() -> StaleSessionError:
    return StaleSessionError(
        "The session has been modified in storage since it was loaded. "
        "Please reload the session before appending more events."
    )
