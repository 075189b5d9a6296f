"""An operator takes over while the AI is still computing; the late reply is refused by the store.

python examples/takeover.py

Each switch of the agent begins an epoch. A reply carries the epoch at which its computation began;
one of an earlier epoch is refused, whichever process sends it and however late it comes.
"""

import asyncio
import os

from chat_session import AgentConflict, Message, SessionManager


class Model:
    """Stands for a language model: it begins, and takes its time until it is released."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()

    async def answer(self, history: list[Message]) -> str:
        self.begun.set()
        await self.released.wait()
        return f"I have read {len(history)} messages."


async def reply_as_ai(manager: SessionManager, session_id: str, model: Model) -> str:
    """Read the session first, compute, then write with the epoch that was read."""
    session = await manager.get_session(session_id)
    if session is None or session.current_agent != "ai":
        return "silent: a person answers here"
    text = await model.answer(await manager.get_history(session_id))
    try:
        await manager.add_message(session_id, {"from": "assistant", "text": text}, epoch=session.agent_epoch)
    except AgentConflict as conflict:
        return f"dropped: computed at epoch {conflict.expected}, the session is at {conflict.current_epoch}"
    return f"stored: {text}"


async def take_over(manager: SessionManager, session_id: str, operator: str) -> int:
    """Make a person the agent. Of several operators who saw the same agent, one succeeds."""
    note = {"from": "system", "text": f"{operator} took over"}
    switched = await manager.switch_agent(session_id, "human", expect="ai", note=note)
    return switched.epoch


async def main() -> None:
    url = os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:"
    async with SessionManager.from_url(url) as manager:
        session = await manager.create_session("user123")
        session_id = session.session_id
        await manager.add_message(session_id, {"from": "user", "text": "I want to talk to a person"})

        model = Model()
        reply = asyncio.create_task(reply_as_ai(manager, session_id, model))
        await model.begun.wait()
        epoch = await take_over(manager, session_id, "Mei")
        model.released.set()
        print("AI:", await reply)

        try:
            await take_over(manager, session_id, "Tom")
        except AgentConflict as conflict:
            print("Tom: too late, the session is with a", conflict.current_agent)

        await manager.add_message(session_id, {"from": "operator", "text": "Mei here, how can I help?"}, epoch=epoch)
        await manager.switch_agent(session_id, "ai", expect=epoch, note="Mei handed back")
        print("AI:", await reply_as_ai(manager, session_id, model))

        for message in await manager.get_history(session_id):
            print(f"{message.seq} {message.sender}: {message.text}")


asyncio.run(main())
