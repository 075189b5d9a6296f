"""A bot and a support desk: the bot asks for a person, the person answers and hands back, the bot reads the note.

python examples/bot_and_desk.py

Runs on an embedded store in memory; CHAT_SESSION_URL=redis://localhost:6379/0 takes a server instead.
"""

import asyncio
import os
from collections.abc import Sequence

from chat_session import AgentConflict, Desk, Message, SessionCleanup, SessionManager


def think(window: Sequence[Message]) -> str:
    """Stands for a language model. Its window has the internal messages, too."""
    markers = [m.extra["handoff"] for m in window if m.sender == "system" and m.type == "handoff"]
    notes = [marker["note"] for marker in markers if "note" in marker]
    return f"It is {notes[-1].removeprefix('refunded: ')}." if notes else "I can do that for you."


async def hear(manager: SessionManager, desk: Desk, session_id: str, text: str) -> None:
    """The bot: store what the customer says, and answer unless it is a person's turn."""
    await manager.add_message(session_id, {"from": "user", "text": text})
    session = await manager.get_session(session_id)
    if session is None or session.current_agent == "human":
        return
    if "person" in text:
        await desk.request_human(session_id, reason="the customer asked", say="One moment, I am getting a colleague.")
        return
    reply = think(await manager.get_window(session_id, messages=20))
    try:
        await manager.add_message(session_id, {"from": "assistant", "text": reply}, epoch=session.agent_epoch)
    except AgentConflict:
        print("(a person has taken over, so the bot's reply is dropped)")


async def work(desk: Desk, operator: str) -> None:
    """An operator: take whoever has waited longest, answer, and give the session back to the bot."""
    while session := await desk.claim_next(operator):
        await desk.answer(session.session_id, operator, f"Hello, this is {operator}. Your refund is on its way.")
        await desk.hand_back(session.session_id, operator, note="refunded: 20 euros", resolved=True)


async def main() -> None:
    url = os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:"
    async with SessionManager.from_url(url) as manager, SessionCleanup(manager):
        desk = Desk(manager)
        session_id = (await manager.create_session("ann")).session_id
        await hear(manager, desk, session_id, "I want my money back. Let me talk to a person!")
        await work(desk, "Mei")
        await hear(manager, desk, session_id, "Thanks! How much is it?")
        for message in await manager.get_history(session_id, include_internal=True):
            print(f"{message.seq} {message.author or message.sender}{' *' * message.internal}: {message.text}")


asyncio.run(main())
