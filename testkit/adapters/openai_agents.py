"""The OpenAI Agents SDK."""

from typing import Any
from uuid import uuid4

from agents import Agent, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from chat_session import SessionManager
from chat_session.adapters.openai_agents import ManagedSession
from testkit.adapters import SESSION_ID, Change, Order


class Clerk:
    def __init__(self, manager: SessionManager) -> None:
        self.session = ManagedSession(SESSION_ID, manager)

    async def run(self, text: str, order: Order, reply: str) -> None:
        @function_tool(name_override="order")
        async def tool() -> str:
            return await order()

        call = function_call("order", {}, call_id=f"call-{uuid4().hex}")
        agent = Agent(name="clerk", model=ScriptedModel([[call], [assistant_message(reply)]]), tools=[tool])
        await Runner.run(agent, text, session=self.session, run_config=RunConfig(tracing_disabled=True))

    async def read(self) -> Any:
        return await self.session.get_items()

    def text_of(self, item: Any) -> str:
        found = item.get("content", item.get("output", ""))
        return found if isinstance(found, str) else "".join(part.get("text", "") for part in found)

    def is_customers(self, item: Any) -> bool:
        return bool(item.get("role") == "user")

    def changes(self) -> dict[str, Change]:
        item: Any = {"role": "assistant", "content": "One more"}
        return {
            "append": lambda: self.session.add_items([item]),
            "pop": self.session.pop_item,
            "clear": self.session.clear_session,
            "replace": lambda: self.session._atomic_replace_items([item]),
        }
