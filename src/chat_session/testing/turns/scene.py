"""What the tests of turns share: sessions with questions, and workers that stop in the middle."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.testing.waiting import until

SHORT_LEASE = 0.3  # seconds: for tests in which a worker stops
RENEWED_LEASE = 1.0  # for tests in which a worker must renew it in time, on a busy machine, too
LONG_LEASE = 600.0  # seconds: for tests in which a turn must not end by itself


async def create(manager: SessionManager, *session_ids: str, **options: Any) -> None:
    for session_id in session_ids:
        await manager.create_session("u", session_id=session_id, **{"ttl": 600, **options})


async def ask(manager: SessionManager, session_id: str, *texts: str) -> None:
    """Let the customer say something, each text in a message of its own."""
    for text in texts:
        await manager.add_message(session_id, {"from": "user", "text": text})


async def create_asking(manager: SessionManager, *session_ids: str, **options: Any) -> None:
    """Create sessions, each with one unanswered message, one after the other."""
    for session_id in session_ids:
        await create(manager, session_id, **options)
        await ask(manager, session_id, f"question in {session_id}")


async def answer(manager: SessionManager, session_id: str, text: str = "answered") -> list[str]:
    """Take the turn and reply once; the texts of the round."""
    async with manager.turn(session_id) as turn:
        found = texts(turn.messages)
        await turn.reply(text)
    return found


async def unanswered(manager: SessionManager, session_id: str) -> list[str]:
    """What the next worker would get. Nothing is marked as answered."""
    found: list[str] = []
    with suppress(LookOnly):
        async with manager.turn(session_id) as turn:
            found = texts(turn.messages)
            raise LookOnly
    return found


class LookOnly(Exception):
    """Ends a block by an exception, so that its round stays unanswered."""


def texts(messages: Iterable[Message]) -> list[str]:
    return [message.text or "" for message in messages]


async def history(manager: SessionManager, session_id: str, *, internal: bool = False) -> list[str]:
    return texts(await manager.get_history(session_id, 1000, include_internal=internal))


async def leave_turn_of_dead_worker(manager: SessionManager, session_id: str, lease: float = SHORT_LEASE) -> None:
    """Take a turn that nobody renews or releases, as of a worker whose process was killed."""
    await manager._turns.take_turn(session_id, "dead", lease)  # noqa: SLF001 - no call of the facade can do this


async def until_pending(manager: SessionManager, session_id: str) -> None:
    async def is_pending() -> bool:
        return session_id in await manager.pending_turns()

    await until(is_pending)


async def forever() -> None:
    """Work that only a cancellation ends."""
    await asyncio.get_running_loop().create_future()
