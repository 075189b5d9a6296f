"""pydantic-ai."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from chat_session import SessionManager
from chat_session.adapters.pydantic_ai import ManagedConversationStore
from testkit.adapters import SESSION_ID, Change, Order


class Clerk:
    def __init__(self, manager: SessionManager) -> None:
        self.store = ManagedConversationStore(manager)

    async def run(self, text: str, order: Order, reply: str) -> None:
        def think(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
            if isinstance(messages[-1].parts[0], ToolReturnPart):
                return ModelResponse(parts=[TextPart(reply)])
            return ModelResponse(parts=[ToolCallPart("order", {}, f"call-{uuid4().hex}")])

        agent = Agent(FunctionModel(think))

        @agent.tool_plain(name="order")
        async def tool() -> str:
            return await order()

        await self.store.save(await agent.run(text, conversation=await self._load()))

    async def read(self) -> Sequence[ModelMessage]:
        return (await self._load()).messages

    def text_of(self, item: Any) -> str:
        return "".join(str(getattr(part, "content", "")) for part in item.parts)

    def is_customers(self, item: Any) -> bool:
        return all(isinstance(part, UserPromptPart) for part in item.parts)

    def changes(self) -> dict[str, Change]:
        return {"append": self._append, "begin": self._begin, "delete": self._delete}

    async def _load(self) -> Conversation:
        return await self.store.load(SESSION_ID) or Conversation(conversation_id=SESSION_ID)

    async def _append(self) -> None:
        conversation = await self._load()
        conversation.messages.append(ModelResponse(parts=[TextPart("One more")]))
        await self.store.save(conversation)

    async def _begin(self) -> None:
        messages: list[ModelMessage] = [ModelResponse(parts=[TextPart("New")])]
        await self.store.save(Conversation(conversation_id="new", messages=messages))

    async def _delete(self) -> None:
        conversation = await self._load()
        assert conversation.revision is not None
        await self.store.delete_record(SESSION_ID, expected_revision=conversation.revision)


def say(text: str) -> ModelRequest:
    return ModelRequest.user_text_prompt(text)


def answer(text: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)])


def texts(conversation: Conversation | None) -> list[str]:
    assert conversation is not None
    return [part.content for message in conversation.messages for part in message.parts]  # type: ignore[misc,union-attr]


async def save(store: ManagedConversationStore, conversation_id: str, *messages: ModelMessage) -> Conversation:
    """Append to a conversation, or begin it."""
    conversation = await store.load(conversation_id) or Conversation(conversation_id=conversation_id)
    conversation.messages.extend(messages)
    await store.save(conversation)
    return conversation
