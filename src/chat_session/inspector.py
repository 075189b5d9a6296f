"""Inspector: what the operators of the system ask, on the manager's store and through the same guard."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from chat_session.errors import CapabilityMissing, InvalidInput, StoreCorrupt
from chat_session.manager import SessionManager
from chat_session.message import UNREADABLE, Message, check_history
from chat_session.paging import MAX_LIMIT, check_cursor, check_limit
from chat_session.results import SessionPage
from chat_session.session import Agent, Session, check_agent, check_session_id, check_ttl
from chat_session.storage.contract import Finding, OperatorStore, RemainingTtl


class Inspector:
    """Lists over all users, restoring, and a look for damage.

    One damaged session never hides the others: it is reported beside them. A store may lack these functions: then
    they raise CapabilityMissing.
    """

    def __init__(self, manager: SessionManager) -> None:
        self._calls = manager._calls  # noqa: SLF001 - another facade of the same store
        self._settings = manager.settings

    async def list_sessions(
        self, cursor: str | None = None, limit: int = 100, *, agent: Agent | None = None
    ) -> SessionPage:
        """A page of the living sessions of all users, only those of ``agent`` if given.

        Follow ``cursor`` until it is None. With ``agent`` a page may hold fewer than ``limit``, even none, and
        still have a cursor. A session that is active meanwhile may come twice; one whose lifetime is shortened
        meanwhile may be missed. Costs what the page holds, or with ``agent`` up to ``max(limit, 1000)``
        sessions. Raises InvalidInput for a cursor that no page gave.
        """
        chosen = None if agent is None else check_agent("agent", agent)
        limit, cursor = check_limit(limit), check_cursor(cursor)
        async with self._calls("list_sessions"):
            return await self._operator.list_sessions(limit, cursor, chosen)

    async def scan_sessions(self) -> AsyncIterator[Session | StoreCorrupt]:
        """Every living session, in no order; those created meanwhile may be missed.

        In the place of a session that cannot be read there is the error that says why. Costs a round trip for each
        few hundred sessions.
        """
        batches = aiter(self._operator.scan_sessions())
        while True:
            async with self._calls("scan_sessions"):
                batch = await anext(batches, None)
            if batch is None:
                return
            for found in batch:
                yield found

    async def get_stored_history(self, session_id: str) -> list[Message]:
        """All that a history keeps, oldest first: also internal messages, and what retracted ones left.

        As ``restore_session`` takes it, so that every message keeps its sequence number. No session: an empty list.
        One round trip.
        """
        session_id = check_session_id(session_id)
        async with self._calls("get_history", session_id):
            stored = await self._calls.store.sessions.get_history(session_id, MAX_LIMIT, None, None)
        if damaged := sum(message.type == UNREADABLE for message in stored):
            self._calls.hooks.damaged(session_id, damaged)
        return stored

    async def restore_session(
        self, session: Session, messages: Sequence[Message | Mapping[str, Any]] = (), *, ttl_left: RemainingTtl = ...
    ) -> Session:
        """Store a session as it was elsewhere, in one step: stamps, agent, epoch, count and messages.

        The last of ``messages`` is the one that ``message_count`` counts last; of more than the
        session keeps the oldest are left out. ``ttl_left``: the seconds it still lives, None for
        ever; left out, its ttl starts now. Raises SessionExists.
        """
        session = Session.from_dict(session.to_dict())
        checked = check_history(messages, self._settings.limits) if messages else []
        drafts = list({draft.message.id: draft for draft in checked}.values())
        if len(drafts) > session.message_count:
            allowed = f"at most {session.message_count:,} messages, which is the session's message_count"
            raise InvalidInput("messages", allowed, f"{len(drafts):,} messages")
        drafts = drafts[-(session.max_history or self._settings.max_message_history) :]
        remaining = ttl_left if ttl_left is ... else check_ttl(ttl_left)
        async with self._calls("create_session", session.session_id):
            return await self._calls.store.sessions.create_session(session, drafts, remaining)

    async def diagnose(self, *, repair: bool = False) -> list[Finding]:
        """What ``chat-session doctor`` shows: settings that endanger sessions, data that is damaged. Reads all keys."""
        async with self._calls("diagnose"):
            return await self._operator.diagnose(repair=repair)

    @property
    def _operator(self) -> OperatorStore:
        operator = self._calls.store.operator
        if operator is None:
            raise CapabilityMissing("operator")
        return operator
