"""Google ADK with a person who joins: the agent's late reply is refused, and after the hand-back it has read all.

pip install "chat-session[adk]"
python examples/adapters/adk.py

The model is scripted, so this needs no key and no network. CHAT_SESSION_URL names the store; unset, it is in memory.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Any

from google.adk.agents import Agent
from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.genai import types
from pydantic import Field

from chat_session import AgentConflict, SessionManager
from chat_session.adapters.adk import ManagedSessionService
from chat_session.adapters.session_ids import make_session_id

APP, USER, SESSION = "shop", "ann", "s1"


class ScriptedModel(BaseLlm):
    """Stands for a language model. Asked for a refund it takes its time, until it is released."""

    model: str = "scripted"
    begun: Any = Field(default_factory=asyncio.Event)
    released: Any = Field(default_factory=asyncio.Event)

    async def generate_content_async(
        self,
        llm_request: LlmRequest,
        stream: bool = False,
    ) -> AsyncGenerator[LlmResponse, None]:
        contents = llm_request.contents or []
        last = (contents[-1].parts or [types.Part()])[-1]
        if last.function_response:
            part = types.Part(text=f"Tea costs {(last.function_response.response or {})['price']} euros.")
        elif "tea" in (last.text or ""):
            part = types.Part(function_call=types.FunctionCall(name="get_price", args={"item": "tea"}))
        else:
            if "refund" in (last.text or ""):
                self.begun.set()
                await self.released.wait()
            part = types.Part(text=f"I have read {len(contents)} messages.")
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def get_price(item: str) -> dict[str, Any]:
    """The price of an item in euros."""
    return {"item": item, "price": 5}


async def ask(manager: SessionManager, runner: Runner, text: str) -> str:
    """The agent's answer to what the customer says, unless a person answers."""
    session_id = make_session_id(APP, USER, SESSION)
    if await manager.get_session_agent(session_id) == "human":
        await manager.add_message(session_id, {"from": "user", "text": text})
        return "(a person reads it)"
    message = types.Content(role="user", parts=[types.Part(text=text)])
    answer = ""
    try:
        async for event in runner.run_async(user_id=USER, session_id=SESSION, new_message=message):
            for part in (event.content and event.content.parts) or []:
                answer = part.text or answer
    except AgentConflict as conflict:
        await manager.add_unanswered(conflict)  # keeps what tools did
        return "(a person took over)"
    return answer


async def main() -> None:
    url = os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:"
    async with SessionManager.from_url(url) as manager:
        service = ManagedSessionService(manager)  # instead of InMemorySessionService()
        model = ScriptedModel()
        agent = Agent(name="helper", model=model, tools=[get_price])
        runner = Runner(app_name=APP, agent=agent, session_service=service)
        await service.create_session(app_name=APP, user_id=USER, session_id=SESSION)
        print("AI:", await ask(manager, runner, "How much is tea?"))

        session_id = make_session_id(APP, USER, SESSION)
        late = asyncio.create_task(ask(manager, runner, "I want a refund"))
        await model.begun.wait()
        switched = await manager.switch_agent(session_id, "human", expect="ai", note="Mei took over")
        model.released.set()
        print("AI:", await late)
        await manager.add_message(session_id, {"from": "operator", "author": "Mei", "text": "Done, you get it back."})
        print("AI:", await ask(manager, runner, "Thank you!"))

        await manager.switch_agent(session_id, "ai", expect=switched.epoch)
        print("AI:", await ask(manager, runner, "Bye"))
        for message in await manager.get_history(session_id):
            print(f"{message.seq} {message.author or message.sender}: {message.text}")


asyncio.run(main())
