"""A chat client of the Agent Framework that answers from a script, with the framework's own function calling."""

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from agent_framework import (
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    ChatResponseUpdate,
    FunctionInvocationLayer,
    Message,
)
from agent_framework import ResponseStream as Stream

Step: TypeAlias = Message | Callable[[], Any]


class ScriptedClient(FunctionInvocationLayer[Any], ChatMiddlewareLayer[Any], BaseChatClient[Any]):
    """Each call answers with the next message; a step may be a function that does something and gives one."""

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        self.steps = list(steps)
        self.seen: list[list[Message]] = []

    def _inner_get_response(
        self,
        *,
        messages: Sequence[Message],
        stream: bool,
        options: Mapping[str, Any],  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> Awaitable[ChatResponse[Any]] | Stream[ChatResponseUpdate, ChatResponse[Any]]:
        self.seen.append(list(messages))
        if not stream:
            return self._respond()

        async def updates() -> AsyncIterable[ChatResponseUpdate]:
            message = (await self._respond()).messages[0]
            yield ChatResponseUpdate(role="assistant", contents=message.contents, finish_reason="stop")

        return Stream(updates(), finalizer=ChatResponse.from_updates)

    async def _respond(self) -> ChatResponse[Any]:
        step = self.steps.pop(0)
        if callable(step):
            step = step()
            if inspect.isawaitable(step):
                step = await step
        return ChatResponse(messages=[step])
