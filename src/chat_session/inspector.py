"""Inspector: what the operators of the system ask. It reads the manager's store, with the same guard."""

from collections.abc import AsyncIterator

from chat_session.errors import StoreCorrupt
from chat_session.manager import SessionManager
from chat_session.message import check_cursor, check_limit
from chat_session.results import SessionPage
from chat_session.session import Agent, Session, check_agent


class Inspector:
    """Lists over all users. One damaged session never hides the others: it is reported beside them."""

    def __init__(self, manager: SessionManager) -> None:
        self._calls = manager._calls  # noqa: SLF001 - another facade of the same store

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
        arguments = (check_limit(limit), check_cursor(cursor), chosen)
        return await self._calls.run("list_sessions", None, self._calls.store.list_sessions, *arguments)

    async def scan_sessions(self) -> AsyncIterator[Session | StoreCorrupt]:
        """Every living session, in no order; those created meanwhile may be missed.

        In the place of a session that cannot be read there is the error that says why.
        """
        self._calls.check_usable()
        async for found in self._calls.store.scan_sessions():
            yield found
