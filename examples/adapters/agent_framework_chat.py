"""An agent of the Microsoft Agent Framework whose session a person takes over in the middle of a run.

    pip install 'chat-session[agent-framework]'
    python examples/adapters/agent_framework_chat.py

It needs no network and no key: the client answers from a script. Replace it by a real one, such as OpenAIChatClient.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agent_framework import (
    Agent,
    AgentSession,
    BaseChatClient,
    ChatResponse,
    ChatResponseUpdate,
    Message,
    ResponseStream,
)

from chat_session import AgentConflict, SessionManager
from chat_session.adapters.agent_framework import ManagedHistoryProvider


class ScriptedClient(BaseChatClient[Any]):
    """Answers with one text after the other, and calls ``before_last`` before the last."""

    def __init__(self, *texts: str, before_last: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self.texts = list(texts)
        self.before_last = before_last

    def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Mapping[str, Any], **kwargs: Any
    ) -> Awaitable[ChatResponse[Any]] | ResponseStream[ChatResponseUpdate, ChatResponse[Any]]:
        return self._respond()

    async def _respond(self) -> ChatResponse[Any]:
        text = self.texts.pop(0)
        if not self.texts:
            await self.before_last()
        return ChatResponse(messages=[Message("assistant", [text])])


async def main() -> None:
    async with SessionManager.from_url("sqlite:///:memory:") as manager:

        async def anna_takes_over() -> None:
            await manager.switch_agent("visitor-42", "human", note="Anna has joined")

        client = ScriptedClient("It is on its way.", "I cannot help you with that.", before_last=anna_takes_over)
        history = ManagedHistoryProvider(manager, user_id="visitor")  # the one line that changes
        agent = Agent(client, context_providers=[history])
        session = AgentSession(session_id="visitor-42")

        await agent.run("Where is order 7?", session=session)
        try:
            await agent.run("I want my money back!", session=session)
        except AgentConflict as conflict:
            await manager.add_unanswered(conflict)  # what the customer said and tools did; the AI's reply is dropped
        await manager.add_message("visitor-42", {"from": "operator", "text": "Anna here. You get it back."})

        for message in await manager.get_history("visitor-42"):
            print(f"{message.sender}: {message.text}")


if __name__ == "__main__":
    asyncio.run(main())
