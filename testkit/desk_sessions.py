"""Sessions at the desk, for tests of what shows or changes them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from chat_session import Desk, SessionManager

Work = Callable[[SessionManager, Desk], Awaitable[Any]]
Do = Callable[[Work], Any]


def on_desk(url: str, work: Work) -> Any:
    """The answer of ``work``, which is given a manager and a desk on this store."""

    async def run() -> Any:
        async with SessionManager.from_url(url) as manager:
            return await work(manager, Desk(manager))

    return asyncio.run(run())


async def fill_desk(manager: SessionManager, desk: Desk) -> None:
    """Create three sessions.

    ``low`` and ``high`` wait for a person, ``low`` for longer, ``high`` with a higher priority and for a team.
    ``free`` is with the AI.
    """
    for session_id, user in (("low", "王小明"), ("high", "u2"), ("free", "u3")):
        await manager.create_session(user, {"vip": True}, session_id=session_id)
    await manager.add_message("high", {"from": "user", "text": "Where is my order?"})
    await desk.request_human("low", say="One moment, please.")
    await desk.request_human("high", reason="refund", priority=8, team="billing")
