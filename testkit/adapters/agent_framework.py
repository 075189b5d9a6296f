"""The Microsoft Agent Framework."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from agent_framework import Agent, AgentSession, Content, Message, tool

from chat_session import SessionManager
from chat_session.adapters.agent_framework import ManagedHistoryProvider
from testkit.adapters import SESSION_ID, Change, Order
from testkit.adapters.agent_framework_client import ScriptedClient


class Clerk:
    def __init__(self, manager: SessionManager, *, call_by_call: bool = False) -> None:
        self.provider = ManagedHistoryProvider(manager)
        self.session = AgentSession(session_id=SESSION_ID)
        self._call_by_call = call_by_call

    async def run(self, text: str, order: Order, reply: str) -> None:
        @tool(name="order", approval_mode="never_require")
        async def order_tool() -> str:
            return await order()

        call = Message("assistant", [Content.from_function_call(f"call-{uuid4().hex}", "order", arguments="{}")])
        agent = Agent(
            ScriptedClient(call, Message("assistant", [reply])),
            tools=[order_tool],
            context_providers=[self.provider],
            require_per_service_call_history_persistence=self._call_by_call,
        )
        await agent.run(text, session=self.session)

    async def read(self) -> Sequence[dict[str, Any]]:
        state = self.session.state.setdefault(self.provider.source_id, {})
        return [message.to_dict() for message in await self.provider.get_messages(SESSION_ID, state=state)]

    def text_of(self, item: Any) -> str:
        return "".join(str(content.get("text") or content.get("result") or "") for content in item["contents"])

    def is_customers(self, item: Any) -> bool:
        return bool(item["role"] == "user")

    def changes(self) -> dict[str, Change]:
        return {
            "append": lambda: self.provider.save_messages(SESSION_ID, [Message("assistant", ["One more"])]),
            "begin": lambda: self.provider.save_messages("new", [Message("user", ["New"])]),
            "delete": lambda: self.provider.clear(SESSION_ID),
        }
