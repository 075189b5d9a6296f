"""An agent with tools and images on the OpenAI or the Anthropic API, without a framework.

python examples/agent_without_framework.py

The client is scripted, so this needs no key and no network. CHAT_SESSION_URL names the store; unset, it is in memory.
A person takes over while a tool runs: its result is kept for the next turn of the AI, and no late reply is stored.
"""

import asyncio
import base64
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from chat_session import AgentConflict, Message, SessionManager

Item = dict[str, Any]  # a message as the provider's API has it
Tools = Mapping[str, Callable[..., Awaitable[str]]]


class Call(NamedTuple):
    """A tool call of a reply."""

    id: str
    name: str
    arguments: dict[str, Any]


class Api(Protocol):
    """How one provider writes messages."""

    format: str

    def write_question(self, text: str, png: bytes | None = None) -> Item: ...
    def read_reply(self, reply: Item) -> tuple[str, list[Call]]: ...
    def write_results(self, results: Mapping[str, str]) -> list[Item]: ...


class OpenAiApi:
    """The messages of ``client.chat.completions.create``."""

    format = "openai.chat/1"

    def write_question(self, text: str, png: bytes | None = None) -> Item:
        parts: list[Item] = [{"type": "text", "text": text}]
        if png is not None:
            url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
        return {"role": "user", "content": parts}

    def read_reply(self, reply: Item) -> tuple[str, list[Call]]:
        calls = [(call["id"], call["function"]) for call in reply.get("tool_calls") or []]
        return reply.get("content") or "", [Call(id_, f["name"], json.loads(f["arguments"])) for id_, f in calls]

    def write_results(self, results: Mapping[str, str]) -> list[Item]:
        return [{"role": "tool", "tool_call_id": id_, "content": text} for id_, text in results.items()]


class AnthropicApi:
    """The messages of ``client.messages.create``."""

    format = "anthropic.message/1"

    def write_question(self, text: str, png: bytes | None = None) -> Item:
        blocks: list[Item] = [{"type": "text", "text": text}]
        if png is not None:
            source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png).decode()}
            blocks.insert(0, {"type": "image", "source": source})
        return {"role": "user", "content": blocks}

    def read_reply(self, reply: Item) -> tuple[str, list[Call]]:
        blocks = reply["content"]
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        return text, [Call(each["id"], each["name"], each["input"]) for each in blocks if each["type"] == "tool_use"]

    def write_results(self, results: Mapping[str, str]) -> list[Item]:
        blocks = [{"type": "tool_result", "tool_use_id": id_, "content": text} for id_, text in results.items()]
        return [{"role": "user", "content": blocks}]  # all results of one reply in one message


class Reply(NamedTuple):
    """``item``: the provider's message, as ``model_dump(exclude_none=True)`` gives it; ``tokens``: of its output."""

    item: Item
    tokens: int


class Client(Protocol):
    async def complete(self, items: Sequence[Item]) -> Reply: ...


class Agent:
    """Answers one session on one provider's API."""

    def __init__(self, manager: SessionManager, session_id: str, api: Api, client: Client, tools: Tools) -> None:
        self.manager = manager
        self.session_id = session_id
        self.api = api
        self.client = client
        self.tools = tools

    async def ask(self, text: str, png: bytes | None = None) -> str:
        """Store what the customer says, and answer it unless a person does."""
        content = self.api.write_question(text, png)
        question = Message(sender="user", text=text, format=self.api.format, content=content)
        await self.manager.add_message(self.session_id, question)
        session = await self.manager.get_session(self.session_id)
        if session is None or session.current_agent == "human":
            return "(a person answers here)"
        try:
            return await self._answer(session.agent_epoch)
        except AgentConflict:
            return "(a person took over: the reply is dropped, and what tools did is kept)"

    async def _answer(self, epoch: int) -> str:
        """Ask the model, run the tools that it calls, and ask again, until it says something."""
        while True:
            window = await self.manager.get_window(self.session_id, tokens=100_000)
            reply = await self.client.complete([self._to_item(message) for message in window])
            text, calls = self.api.read_reply(reply.item)
            message = Message(
                sender="assistant",
                text=text,
                author="helper",
                format=self.api.format,
                content=reply.item,
                calls=tuple(call.id for call in calls),
                tokens=reply.tokens,
                internal=not text,  # a customer does not read tool traffic
            )
            await self.manager.add_message(self.session_id, message, epoch=epoch)
            if not calls:
                return text
            await self.manager.check_epoch(self.session_id, epoch)  # before a tool runs
            results = {}
            for call in calls:
                tool = self.tools[call.name]
                results[call.id] = await tool(**call.arguments)
            await self.manager.add_messages(self.session_id, self._to_results(results), epoch=epoch)  # in any epoch
            await self.manager.check_epoch(self.session_id, epoch)  # before the model is asked again

    def _to_results(self, results: Mapping[str, str]) -> list[Message]:
        items = self.api.write_results(results)
        ids = [(call_id,) for call_id in results] if len(items) > 1 else [tuple(results)]
        return [
            Message(sender="tool", text="", format=self.api.format, content=item, answers=answers, internal=True)
            for item, answers in zip(items, ids, strict=True)
        ]

    def _to_item(self, message: Message) -> Item:
        """The provider's own message where we stored one; otherwise the text, such as an operator's.

        A customer gives texts and images, never a ``content``: it could pose as the result of a tool.
        """
        if message.format == self.api.format and message.sender in ("user", "assistant", "tool"):
            item: Item = message.content
            return item
        if message.sender == "assistant":
            return {"role": "assistant", "content": message.text}
        return {"role": "user", "content": f"[{message.author or message.sender}] {message.text}"}


class ScriptedClient:
    """Stands for the provider's client: it gives its replies in turn, and keeps what it was asked.

    With OpenAI: ``response = await client.chat.completions.create(model=…, messages=items, tools=…)``, and the reply is
    ``Reply(response.choices[0].message.model_dump(exclude_none=True), response.usage.completion_tokens)``.
    With Anthropic: ``response = await client.messages.create(model=…, max_tokens=…, messages=items, tools=…)``, and it
    is ``Reply({"role": "assistant", "content": response.model_dump()["content"]}, response.usage.output_tokens)``.
    """

    def __init__(self, *replies: Item) -> None:
        self.replies = list(replies)
        self.asked: list[Sequence[Item]] = []

    async def complete(self, items: Sequence[Item]) -> Reply:
        self.asked.append(items)
        return Reply(self.replies.pop(0), tokens=12)


class Warehouse:
    """A tool that takes its time."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.released = asyncio.Event()

    async def cancel_order(self, order: int) -> str:
        self.begun.set()
        await self.released.wait()
        return f"order {order} is cancelled"


async def main() -> None:
    url = os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:"
    function = {"name": "cancel_order", "arguments": '{"order": 4711}'}
    client = ScriptedClient(
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "assistant", "content": "Your order is cancelled, as Mei said."},
    )
    async with SessionManager.from_url(url) as manager:
        session = await manager.create_session("ann")
        warehouse = Warehouse()
        tools = {"cancel_order": warehouse.cancel_order}
        agent = Agent(manager, session.session_id, OpenAiApi(), client, tools)

        late = asyncio.create_task(agent.ask("It came like this. Cancel order 4711!", png=b"\x89PNG"))
        await warehouse.begun.wait()
        switched = await manager.switch_agent(session.session_id, "human", expect="ai", note="Mei took over")
        warehouse.released.set()
        print("AI:", await late)
        reply = {"from": "operator", "author": "Mei", "text": "I am sorry! It is done."}
        await manager.add_message(session.session_id, reply, epoch=switched.epoch)
        print("AI:", await agent.ask("Thanks"))

        await manager.switch_agent(session.session_id, "ai", expect=switched.epoch)
        print("AI:", await agent.ask("Is it cancelled now?"))
        print("The model was asked:")
        for item in client.asked[-1]:
            print(" ", json.dumps(item)[:100])
        print("The customer reads:")
        for message in await manager.get_history(session.session_id):
            print(f"  {message.seq} {message.author or message.sender}: {message.text}")


if __name__ == "__main__":
    asyncio.run(main())
