"""What the contract needs to know of the store under test."""

from typing import Any, Protocol

from chat_session.manager import SessionManager


class Backend(Protocol):
    """One store under test. It is empty at the start of each test.

    ``shared``: managers that are opened one after the other see the same sessions. This is not so in memory.
    """

    shared: bool

    def open(self, **settings: Any) -> SessionManager:
        """A manager on the store. The contract's fixtures close it."""
        ...

    async def digest(self, manager: SessionManager) -> str:
        """A digest of all that is stored. With it a test checks that nothing was changed."""
        ...

    async def corrupt(self, manager: SessionManager, session_id: str, seq: int, raw: bytes) -> None:
        """Replace the stored form of one message by ``raw``."""
        ...
