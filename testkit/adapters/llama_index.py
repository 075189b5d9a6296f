"""LlamaIndex."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import Memory
from llama_index.core.tools import FunctionTool

from chat_session import SessionManager
from chat_session.adapters.llama_index import ManagedChatStore
from chat_session.adapters.llama_index.positions import PositionalChatStore
from testkit.adapters import SESSION_ID, Change, Order


class Clerk:
    def __init__(self, manager: SessionManager) -> None:
        self.store = ManagedChatStore(manager)
        self._older = PositionalChatStore(manager, user_id=None, epoch=None, max_history=None)

    async def run(self, text: str, order: Order, reply: str) -> None:
        async def tool() -> str:
            """Order what the customer wants."""
            return await order()

        def think(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
            if messages[-1].role == "tool":
                return ChatMessage(role="assistant", content=reply)
            call = ToolCallBlock(tool_call_id=f"call-{uuid4().hex}", tool_name="order", tool_kwargs={})
            return ChatMessage(role="assistant", blocks=[call])

        agent = FunctionAgent(
            tools=[FunctionTool.from_defaults(async_fn=tool, name="order")],
            llm=MockFunctionCallingLLM(response_generator=think),
            streaming=False,
        )
        await agent.run(text, memory=Memory.from_defaults(session_id=SESSION_ID, chat_store=self.store))

    async def read(self) -> Sequence[ChatMessage]:
        return await self.store.get_messages(SESSION_ID)

    def text_of(self, item: Any) -> str:
        return item.content or ""

    def is_customers(self, item: Any) -> bool:
        return item.role == "user" and not item.additional_kwargs

    def changes(self) -> dict[str, Change]:
        more = ChatMessage(role="assistant", content="One more")
        return {
            "append": lambda: self.store.add_message(SESSION_ID, more),
            "begin": lambda: self.store.add_message("new", more),
            "pop": lambda: self._older.pop_message(SESSION_ID),
            "delete one": lambda: self.store.delete_message(SESSION_ID, 1),
            "clear": lambda: self.store.delete_messages(SESSION_ID),
            "replace": lambda: self.store.set_messages(SESSION_ID, [more]),
            "archive": lambda: self.store.archive_oldest_messages(SESSION_ID, 1),
        }


def user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


def assistant(text: str) -> ChatMessage:
    return ChatMessage(role="assistant", content=text)


def call(name: str, call_id: str) -> ChatMessage:
    return ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id=call_id, tool_name=name)])


def result(text: str, call_id: str) -> ChatMessage:
    return ChatMessage(role="tool", content=text, additional_kwargs={"tool_call_id": call_id})


def texts(chats: Sequence[ChatMessage] | None) -> list[str | None]:
    return [chat.content for chat in chats or []]
