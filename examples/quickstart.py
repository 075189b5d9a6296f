"""The first steps: a session, a message, its history.

python examples/quickstart.py

Runs on an embedded store in memory; CHAT_SESSION_URL=redis://localhost:6379/0 takes a server instead.
"""

import asyncio
import os
from datetime import UTC, datetime

from chat_session import SessionManager


async def main() -> None:
    # Make a session manager
    session_manager = SessionManager.from_url(os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:")

    # Create a session
    result = await session_manager.create_session("user123", {"name": "客服会话", "type": "support"})
    session_id = result.session_id

    # Add a message
    await session_manager.add_message(
        session_id,
        {
            "id": "msg-1",
            "from": "user",
            "text": "你好，我需要帮助",  # noqa: RUF001 - the specification's own text
            "timestamp": datetime.now(UTC).isoformat(),
            "type": "text",
        },
    )

    # Get the history
    history = await session_manager.get_history(session_id, 10)
    print("history:", [message.to_dict() for message in history])

    # Let go of the connections
    await session_manager.close()


asyncio.run(main())
