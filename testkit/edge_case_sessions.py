"""Sessions with rare content, for tests of what copies sessions from one store to another."""

from collections.abc import Mapping
from typing import Any

from chat_session import SessionManager


async def build_edge_case_sessions(manager: SessionManager, user_id: str, metadata: Mapping[str, Any]) -> None:
    """Create three sessions.

    ``odd`` belongs to ``user_id`` and never expires, ``empty`` has no messages, and ``trimmed`` has lost the older
    of its messages.
    """
    await manager.create_session(user_id, {"topic": "退款", "n": None, **metadata}, session_id="odd", ttl=None)
    await manager.switch_agent("odd", "human", note="taken over")
    message = {"id": "m1", "from": "tool", "text": "\x00\u202e😀", "type": "t", "score": 0.5}
    await manager.add_message("odd", message, epoch=1)
    await manager.create_session("u", session_id="empty")
    await manager.create_session("u", session_id="trimmed", ttl=500)
    await manager.add_messages("trimmed", [{"from": "user", "text": str(i)} for i in range(250)])
