"""What the contract needs to know of the store under test, and how its tests wait."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from chat_session.manager import SessionManager


class Place(Protocol):
    """One store under test, empty at the start of each test.

    ``shared``: managers opened one after the other see the same sessions. Not so in memory.
    """

    shared: bool

    def open(self, **settings: Any) -> SessionManager:
        """A manager on the store; the contract's fixtures close it."""
        ...

    async def digest(self, manager: SessionManager) -> str:
        """A digest of all that is stored, so that "nothing was changed" can be checked."""
        ...

    async def spoil(self, manager: SessionManager, session_id: str, seq: int, raw: bytes) -> None:
        """Replace the stored form of one message by ``raw``."""
        ...


async def until(condition: Callable[[], Awaitable[bool]], within: float = 10.0) -> None:
    """Wait for what no event tells, such as a lifetime running out. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.01)


async def until_dead(manager: SessionManager, session_id: str) -> None:
    """Wait until the session's deadline has passed."""

    async def is_dead() -> bool:
        return not await manager.is_session_active(session_id)

    await until(is_dead)
