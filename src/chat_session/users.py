"""The manager's calls on users: their sessions, their state, their erasure."""

from collections.abc import Mapping
from typing import Any

from chat_session.calls import Calls
from chat_session.errors import CapabilityMissing
from chat_session.paging import check_cursor, check_limit
from chat_session.results import ErasureResult, SessionPage
from chat_session.session import Session, check_user_id
from chat_session.state import check_changes, check_scope, user_scope
from chat_session.storage.contract import SessionStore, StateStore, Store

MAX_PAGE = 500  # sessions that a list without a limit reads at a time
RECENT = 100  # sessions of a user that are compared by their activity, at least


class UserCalls:
    """What SessionManager offers for users and applications."""

    _calls: Calls
    _store: Store
    _sessions: SessionStore

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

    async def erase_user(self, user_id: str) -> ErasureResult:
        """Delete all sessions of a user and the user's state; what was removed. Repeat it as often as you like.

        Sessions that are created meanwhile are erased, too, as long as it still finds some. Costs what the user has,
        and a cleanup, which removes what dead sessions left.
        """
        user_id = check_user_id(user_id)
        sessions, cursor = 0, None
        while True:
            page = await self._list_user_sessions(user_id, MAX_PAGE, cursor)
            ids = [session.session_id for session in page.sessions]
            for session_id in [*ids, *(error.session_id for error in page.damaged if error.session_id)]:
                async with self._calls("delete_session", session_id):
                    sessions += await self._sessions.delete_session(session_id) > 0
            if not ids and page.cursor is None:
                break
            cursor = page.cursor
        async with self._calls("sweep"):
            await self._sessions.sweep()
        entries = 0
        if (state := getattr(self._store, "state", None)) is not None:
            async with self._calls("delete_state"):
                entries = await state.delete_state(user_scope(user_id))
        found = sessions + entries > 0
        return ErasureResult(success=found, user_id=user_id, sessions=sessions, state_entries=entries)

    async def get_state(self, scope: str) -> dict[str, Any]:
        """The entries of a small mapping that belongs to ``user:<id>`` or ``app:<name>``. One round trip."""
        scope = check_scope(scope)
        async with self._calls("get_state"):
            return await self._state.get_state(scope)

    async def update_state(self, scope: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Merge entries, None removes one; all entries as they are then. It never expires; ``erase_user`` removes it.

        One round trip. The limits are those of metadata, for the merged whole: InvalidInput, nothing changed.
        """
        scope, changes = check_scope(scope), check_changes(changes)
        async with self._calls("update_state"):
            return await self._state.update_state(scope, changes)

    @property
    def _state(self) -> StateStore:
        state: StateStore | None = getattr(self._store, "state", None)
        if state is None:
            raise CapabilityMissing("state")
        return state
