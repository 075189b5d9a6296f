"""How tests wait. They never sleep for a fixed time: they wait until a condition holds."""

import asyncio
from collections.abc import Awaitable, Callable

from chat_session.manager import SessionManager


async def until(condition: Callable[[], Awaitable[bool]], within: float = 10.0) -> None:
    """Wait for a change that no event announces, such as the end of a lifetime. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.01)


async def until_dead(manager: SessionManager, session_id: str) -> None:
    """Wait until the session's deadline has passed."""

    async def is_dead() -> bool:
        return not await manager.is_session_active(session_id)

    await until(is_dead)
