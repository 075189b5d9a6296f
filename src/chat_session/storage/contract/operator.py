"""What the operators of the system ask of a store: lists over all users, and a look for damage."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from chat_session.errors import StoreCorrupt
from chat_session.results import SessionPage
from chat_session.session import Agent, Session


class Finding(NamedTuple):
    """Something that ``doctor`` saw. ``repair``: what repairing it would do, None if that is not ours to do."""

    level: str  # "ok", "warning" or "error"
    subject: str
    text: str
    repair: str | None = None


class OperatorStore(Protocol):
    """Optional: a store that offers none of it has None in its place."""

    async def list_sessions(self, limit: int, cursor: str | None, agent: Agent | None) -> SessionPage:
        """Up to ``limit`` living sessions of all users, only those of ``agent`` if given. For operators.

        With ``agent`` a page may hold fewer, even none, and still have a cursor: one call reads at most
        ``max(limit, 1000)`` sessions. Following the cursors meets each session that lives all the while, unless
        its lifetime is shortened meanwhile; one that is active meanwhile may be met twice. Damaged sessions and
        bad cursors as in ``list_user_sessions``.
        """
        ...

    def scan_sessions(self) -> AsyncIterator[Sequence[Session | StoreCorrupt]]:
        """Every living session, in no order, in batches; those created meanwhile may be missed.

        In the place of a session that cannot be read there is the error that says why.
        """
        ...

    async def diagnose(self, *, repair: bool) -> list[Finding]:
        """Look for settings that endanger sessions and for data that is damaged; repair what can be repaired.

        For operators: it may read every key.
        """
        ...
