"""Google ADK."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from google.adk.agents import Agent
from google.adk.events import Event
from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import Session as AdkSession
from google.genai.types import Content, FunctionCall, Part

from chat_session import SessionManager
from chat_session.adapters.adk import ManagedSessionService
from testkit.adapters import Change, Order

IDS: Any = {"app_name": "shop", "user_id": "ann", "session_id": "s1"}


class ScriptedModel(BaseLlm):
    """Gives its parts in turn."""

    parts: list[Part]

    async def generate_content_async(
        self,
        llm_request: LlmRequest,  # noqa: ARG002 - the framework's interface
        stream: bool = False,  # noqa: ARG002 - as above
    ) -> AsyncGenerator[LlmResponse, None]:
        yield LlmResponse(content=Content(role="model", parts=[self.parts.pop(0)]))


class Clerk:
    def __init__(self, manager: SessionManager) -> None:
        self.service = ManagedSessionService(manager)

    async def run(self, text: str, order: Order, reply: str) -> None:
        async def tool() -> dict[str, str]:
            return {"result": await order()}

        tool.__name__ = "order"
        parts = [Part(function_call=FunctionCall(name="order", args={})), Part(text=reply)]
        agent = Agent(name="clerk", model=ScriptedModel(model="scripted", parts=parts), tools=[tool])
        await self._get()
        runner = Runner(app_name="shop", agent=agent, session_service=self.service)
        message = Content(role="user", parts=[Part(text=text)])
        async for _ in runner.run_async(user_id="ann", session_id="s1", new_message=message):
            pass

    async def read(self) -> Sequence[Event]:
        return (await self._get()).events

    def text_of(self, item: Any) -> str:
        parts = item.content.parts if item.content else []
        answers = [str(part.function_response.response["result"]) for part in parts if part.function_response]
        return "".join([*(part.text or "" for part in parts), *answers])

    def is_customers(self, item: Any) -> bool:
        return bool(item.author == "user" and not item.get_function_responses())

    def changes(self) -> dict[str, Change]:
        return {"append": self._append, "begin": self._begin, "delete": lambda: self.service.delete_session(**IDS)}

    async def _get(self) -> AdkSession:
        return await self.service.get_session(**IDS) or await self.service.create_session(**IDS)

    async def _append(self) -> None:
        event = Event(author="clerk", content=Content(role="model", parts=[Part(text="One more")]))
        event.actions.state_delta["n"] = 1
        await self.service.append_event(await self._get(), event)

    async def _begin(self) -> None:
        await self.service.create_session(app_name="shop", user_id="ann", session_id="new", state={"n": 1})
