"""A pydantic-ai agent whose conversations are sessions: they survive the process, and a person can take over.

python examples/adapters/pydantic_ai.py

It needs no network: the model is scripted. CHAT_SESSION_URL names another store than the memory of the process.
"""

# ruff: noqa: E402 - the search path is corrected before the framework is imported

import asyncio
import os
import sys
from pathlib import Path

# This file is named like the package that it imports, and a script's folder comes first in the search.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from chat_session import AgentConflict, SessionManager
from chat_session.adapters.pydantic_ai import ManagedConversationStore


def script(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    """Stands for a language model: it looks an order up, and says what it found."""
    newest = messages[-1].parts[-1]
    if isinstance(newest, ToolReturnPart):
        return ModelResponse(parts=[TextPart(f"Your parcel is {newest.content}.")])
    return ModelResponse(parts=[ToolCallPart("find_parcel", {"order": "17"})])


agent = Agent(FunctionModel(script))


@agent.tool_plain
def find_parcel(order: str) -> str:
    """Where the parcel of an order is."""
    return f"in Lyon (order {order})"


async def answer(store: ManagedConversationStore, conversation_id: str, prompt: str) -> str:
    """One turn: load, run, save."""
    conversation = await store.load(conversation_id) or Conversation(conversation_id=conversation_id)
    result = await agent.run(prompt, conversation=conversation)
    await store.save(result, scope="ann")
    return result.output


async def main() -> None:
    async with SessionManager.from_url(os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:") as manager:
        store = ManagedConversationStore(manager)
        print("agent:", await answer(store, "order-17", "Where is my parcel?"))

        # A person takes over while the agent works on the next question. Its reply is refused.
        loaded = await store.load("order-17")
        result = await agent.run("Can you send it back?", conversation=loaded)
        await manager.switch_agent("order-17", "human", note="Bob took over")
        await manager.add_message("order-17", {"from": "operator", "text": "Bob here, I have stopped it."})
        try:
            await store.save(result)
        except AgentConflict as late:
            await manager.add_unanswered(late)  # the question and what the tool did, but not the reply
            print("refused: the late reply")

        for message in await manager.get_history("order-17"):
            print(f"{message.sender}: {message.text}")
        await manager.delete_session("order-17")


if __name__ == "__main__":
    asyncio.run(main())
