"""A LlamaIndex agent whose memory is a session: it survives the process, and a person can take over.

python examples/adapters/llama_index.py

It needs no network: the model is scripted. CHAT_SESSION_URL names another store than the memory of the process.
"""

# ruff: noqa: E402 - the search path is corrected before the framework is imported

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# This file is named like the package that it imports, and a script's folder comes first in the search.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import Memory

from chat_session import AgentConflict, SessionManager
from chat_session.adapters.llama_index import ManagedChatStore


def script(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
    """Stands for a language model: it looks an order up, and says what it found."""
    if messages[-1].role == "tool":
        return ChatMessage(role="assistant", content=f"Your parcel is {messages[-1].content}.")
    call = ToolCallBlock(tool_call_id=f"call-{len(messages)}", tool_name="find_parcel", tool_kwargs={"order": "17"})
    return ChatMessage(role="assistant", blocks=[call])


class Tracker:
    """A tool that takes its time, so that a person can take over meanwhile."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()

    async def find_parcel(self, order: str) -> str:
        """Where the parcel of an order is."""
        self.begun.set()
        await self.released.wait()
        return f"in Lyon (order {order})"


async def main() -> None:
    async with SessionManager.from_url(os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:") as manager:
        memory = Memory.from_defaults(session_id="order-17", chat_store=ManagedChatStore(manager, user_id="ann"))
        tracker = Tracker()
        model = MockFunctionCallingLLM(response_generator=script)
        agent = FunctionAgent(tools=[tracker.find_parcel], llm=model, streaming=False)
        tracker.released.set()
        print("agent:", await agent.run("Where is my parcel?", memory=memory))

        # A person takes over while the agent works on the next question. Its reply is refused.
        tracker.begun.clear()
        tracker.released.clear()
        running = asyncio.ensure_future(agent.run("Can you send it back?", memory=memory))
        await tracker.begun.wait()
        await manager.switch_agent("order-17", "human", note="Bob took over")
        await manager.add_message("order-17", {"from": "operator", "text": "Bob here, I have stopped it."})
        tracker.released.set()
        try:
            await running
        except AgentConflict as late:
            await manager.add_unanswered(late)  # what the tool did, but not the reply
            print("refused: the late reply")

        for message in await manager.get_history("order-17"):
            print(f"{message.sender}: {message.text}")
        await manager.delete_session("order-17")


if __name__ == "__main__":
    asyncio.run(main())
