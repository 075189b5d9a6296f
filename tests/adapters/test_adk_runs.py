"""Runs of ADK's Runner on the session service, with a model that says what it was told to."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("google.adk")

from google.adk.agents import Agent, ParallelAgent, SequentialAgent
from google.adk.events import Event, EventActions
from google.adk.models import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.tools.long_running_tool import LongRunningFunctionTool
from google.genai import types
from pydantic import Field

from chat_session import AgentConflict, Hooks, Message, SessionManager
from chat_session.adapters.adk import ManagedSessionService
from chat_session.adapters.adk.events import FORMAT

pytestmark = pytest.mark.filterwarnings("ignore")

SESSION_ID = "shop:ann:s1"
EXAMPLE = Path(__file__).parents[2] / "examples" / "adapters" / "adk.py"

Reply = LlmResponse | Callable[[], Awaitable[LlmResponse]]


class ScriptedModel(BaseLlm):
    """Gives its replies in turn; one that is a function is awaited first. It keeps what it was asked."""

    model: str = "scripted"
    replies: list[Any]
    asked: list[LlmRequest] = Field(default_factory=list)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        self.asked.append(llm_request.model_copy(deep=True))
        reply = self.replies.pop(0)
        yield await reply() if callable(reply) else reply

    def last_asked(self) -> list[tuple[str | None, str]]:
        """The role and the text or the tool of each part of the last request."""
        return [
            (content.role, _shown(part)) for content in self.asked[-1].contents or [] for part in content.parts or []
        ]


def _shown(part: types.Part) -> str:
    if part.function_call:
        return f"call {part.function_call.name}"
    if part.function_response:
        return f"result {part.function_response.response}"
    return part.text or ""


def say(text: str) -> LlmResponse:
    return LlmResponse(content=types.Content(role="model", parts=[types.Part(text=text)]))


def call(name: str, **arguments: Any) -> LlmResponse:
    part = types.Part(function_call=types.FunctionCall(name=name, args=arguments))
    return LlmResponse(content=types.Content(role="model", parts=[part]))


def get_price(item: str) -> dict[str, Any]:
    """The price of an item."""
    return {"item": item, "price": 5}


def order(item: str) -> dict[str, Any]:
    """Order an item; a person confirms it later."""
    return {"item": item, "status": "pending"}


async def start(manager: SessionManager, agent: Any) -> Runner:
    service = ManagedSessionService(manager)
    await service.create_session(app_name="shop", user_id="ann", session_id="s1")
    return Runner(app_name="shop", agent=agent, session_service=service)


async def ask(runner: Runner, message: str | types.Part) -> list[str]:
    """The texts and tools of the events of a run."""
    part = types.Part(text=message) if isinstance(message, str) else message
    content = types.Content(role="user", parts=[part])
    events = runner.run_async(user_id="ann", session_id="s1", new_message=content)
    return [_shown(part) async for event in events if event.content is not None for part in event.content.parts or []]


async def test_a_run_with_a_tool_is_read_by_the_manager(manager: SessionManager) -> None:
    model = ScriptedModel(replies=[call("get_price", item="tea"), say("5 euros."), say("You are welcome.")])
    runner = await start(manager, Agent(name="helper", model=model, tools=[get_price], output_key="answer"))
    assert await ask(runner, "How much is tea?") == [
        "call get_price",
        "result {'item': 'tea', 'price': 5}",
        "5 euros.",
    ]
    await ask(runner, "Thanks")
    assert model.last_asked() == [
        ("user", "How much is tea?"),
        ("model", "call get_price"),
        ("user", "result {'item': 'tea', 'price': 5}"),
        ("model", "5 euros."),
        ("user", "Thanks"),
    ]
    stored = await manager.get_history(SESSION_ID, 100, include_internal=True)
    assert [(each.sender, each.author, each.text, each.internal) for each in stored] == [
        ("user", None, "How much is tea?", False),
        ("assistant", "helper", "[calls get_price]", True),
        ("tool", "helper", "[result of get_price]", True),
        ("assistant", "helper", "5 euros.", False),
        ("user", None, "Thanks", False),
        ("assistant", "helper", "You are welcome.", False),
    ]
    assert stored[1].calls == stored[2].answers != ()
    assert {each.format for each in stored} == {FORMAT}
    session = await manager.get_session(SESSION_ID)
    assert session is not None
    assert session.metadata["answer"] == "You are welcome."


async def test_a_person_takes_over_while_the_model_thinks_and_hands_back(manager: SessionManager) -> None:
    thinks, taken_over = asyncio.Event(), asyncio.Event()

    async def think() -> LlmResponse:
        thinks.set()
        await taken_over.wait()
        return say("Too late.")

    model = ScriptedModel(replies=[think, say("I have read it.")])
    runner = await start(manager, Agent(name="helper", model=model))
    run = asyncio.create_task(ask(runner, "I want a person"))
    await thinks.wait()
    switched = await manager.switch_agent(SESSION_ID, "human", expect="ai")
    person = {"from": "operator", "author": "Mei", "text": "Mei here."}
    await manager.add_message(SESSION_ID, person, epoch=switched.epoch)
    taken_over.set()
    with pytest.raises(AgentConflict) as refused:
        await run
    assert [message.text for message in refused.value.messages] == ["Too late."]
    assert await manager.add_unanswered(refused.value) == []
    await manager.switch_agent(SESSION_ID, "ai", expect=switched.epoch)
    assert await ask(runner, "And now?") == ["I have read it."]
    asked = model.last_asked()
    assert ("user", "I want a person") in asked
    assert any("Mei here." in text for _, text in asked)
    assert not any("Too late." in text for _, text in asked)
    assert [each.text for each in await manager.get_history(SESSION_ID)] == [
        "I want a person",
        "Mei here.",
        "And now?",
        "I have read it.",
    ]


async def test_a_takeover_while_a_tool_runs_keeps_its_result_for_the_next_run(manager: SessionManager) -> None:
    async def buy(item: str) -> dict[str, Any]:
        """Buy an item."""
        await manager.switch_agent(SESSION_ID, "human", expect="ai")
        return {"bought": item}

    model = ScriptedModel(replies=[call("buy", item="tea"), say("I know.")])
    runner = await start(manager, Agent(name="helper", model=model, tools=[buy]))
    with pytest.raises(AgentConflict) as refused:
        await ask(runner, "Buy tea")
    [kept] = await manager.add_unanswered(refused.value)
    assert kept.message.internal
    await manager.switch_agent(SESSION_ID, "ai", expect="human")
    await ask(runner, "Did you?")
    assert model.last_asked() == [
        ("user", "Buy tea"),
        ("model", "call buy"),
        ("user", "result {'bought': 'tea'}"),
        ("user", "Did you?"),
    ]


async def test_a_tool_that_takes_long_is_answered_twice(manager: SessionManager) -> None:
    model = ScriptedModel(replies=[call("order", item="tea"), say("Wait."), say("It is ordered.")])
    runner = await start(manager, Agent(name="helper", model=model, tools=[LongRunningFunctionTool(order)]))
    await ask(runner, "Order tea")
    [called] = [each for each in await manager.get_history(SESSION_ID, include_internal=True) if each.calls]
    result = types.FunctionResponse(id=called.calls[0], name="order", response={"status": "confirmed"})
    assert await ask(runner, types.Part(function_response=result)) == ["It is ordered."]
    assert model.last_asked()[-1] == ("user", "result {'status': 'confirmed'}")
    stored = await manager.get_history(SESSION_ID, include_internal=True)
    assert [each.sender for each in stored] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert len(await manager.get_window(SESSION_ID)) == 5  # a provider takes one answer to a call


async def test_agents_that_run_at_once_and_in_turn_share_the_session(manager: SessionManager) -> None:
    writers = [
        Agent(name=name, model=ScriptedModel(replies=[say(f"by {name}")]), output_key=f"temp:{name}")
        for name in ("one", "two", "three")
    ]
    summary = Agent(name="sum", model=ScriptedModel(replies=[say("all")]), instruction="Sum up {temp:one} {temp:two}")
    both = SequentialAgent(name="root", sub_agents=[ParallelAgent(name="writers", sub_agents=list(writers)), summary])
    runner = await start(manager, both)
    said = await ask(runner, "Write")
    assert sorted(said[:3]) == ["by one", "by three", "by two"]
    assert said[3:] == ["all"]
    stored = await manager.get_history(SESSION_ID)
    assert [each.text for each in stored] == ["Write", *said]
    session = await manager.get_session(SESSION_ID)
    assert session is not None
    assert set(session.metadata) == {"adk:last"}


async def test_a_turn_that_was_rewound_is_not_shown_to_the_model(manager: SessionManager) -> None:
    model = ScriptedModel(replies=[say("one"), say("two"), say("three")])
    runner = await start(manager, Agent(name="helper", model=model))
    await ask(runner, "First")
    await ask(runner, "Second")
    session = await runner.session_service.get_session(app_name="shop", user_id="ann", session_id="s1")
    assert session is not None
    await runner.rewind_async(
        user_id="ann", session_id="s1", rewind_before_invocation_id=session.events[-1].invocation_id
    )
    await ask(runner, "Third")
    assert model.last_asked() == [("user", "First"), ("model", "one"), ("user", "Third")]
    assert [each.text for each in await manager.get_history(SESSION_ID)][-2:] == ["Third", "three"]


def test_the_example_runs_offline_and_drops_the_late_reply() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CHAT_SESSION_URL"}
    ran = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "AI: Tea costs 5 euros.",
        "AI: (a person took over)",
        "AI: (a person reads it)",
        "AI: I have read 9 messages.",
        "1 user: How much is tea?",
        "4 helper: Tea costs 5 euros.",
        "5 user: I want a refund",
        "6 system: Mei took over",
        "7 Mei: Done, you get it back.",
        "8 user: Thank you!",
        "9 user: Bye",
        "10 helper: I have read 9 messages.",
    ]


class CountingHooks(Hooks):
    """Counts the calls of the store."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def operation(self, name: str, session_id: str | None, seconds: float, outcome: str) -> None:
        self.calls[name] += 1


async def test_an_append_is_one_call_of_the_store_however_long_the_history_is(url: str) -> None:
    hooks = CountingHooks()
    async with SessionManager.from_url(url, hooks=[hooks]) as manager:
        service = ManagedSessionService(manager, max_history=10_000)
        session = await service.create_session(app_name="shop", user_id="ann", session_id="s1")
        history = [Message(sender="operator", text=str(n)) for n in range(10_000)]
        delta = {"a": 1, "user:b": 2, "app:c": 3}
        for length in (10, 10_000):
            await manager.add_messages(SESSION_ID, history[:length])
            hooks.calls.clear()
            await service.append_event(session, Event(author="helper", actions=EventActions(state_delta=delta)))
            assert hooks.calls == {"append_messages": 1}
