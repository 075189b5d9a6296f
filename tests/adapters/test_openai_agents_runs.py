"""Runs of the OpenAI Agents SDK on our sessions, with scripted models: tools, a takeover in the middle, compaction."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("agents")

from agents import Agent, RunConfig, Runner, RunState, Session, function_tool
from agents.extensions.memory.encrypt_session import EncryptedSession
from agents.memory import OpenAIResponsesCompactionSession
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from chat_session import AgentConflict, SessionManager
from chat_session.adapters.openai_agents import ManagedSession
from chat_session.errors import SequenceConflict

OFFLINE = RunConfig(tracing_disabled=True)
Play = Callable[[Agent[Any], Session, str], Awaitable[str]]


@function_tool
def order(pizza: str) -> str:
    return f"{pizza} ordered"


def agent_of(*steps: Any, tools: Any = (order,)) -> Agent[Any]:
    return Agent(name="waiter", model=ScriptedModel(steps), tools=list(tools))


def model_of(agent: Agent[Any]) -> ScriptedModel:
    assert isinstance(agent.model, ScriptedModel)
    return agent.model


async def run(agent: Agent[Any], session: Session, text: str) -> str:
    return str((await Runner.run(agent, text, session=session, run_config=OFFLINE)).final_output)


async def run_streamed(agent: Agent[Any], session: Session, text: str) -> str:
    streamed = Runner.run_streamed(agent, text, session=session, run_config=OFFLINE)
    async for _ in streamed.stream_events():
        pass
    return str(streamed.final_output)


both = pytest.mark.parametrize("play", [run, run_streamed])


def kinds(items: Any) -> list[str]:
    return [item.get("type") or item["role"] for item in items]


@both
async def test_a_run_with_a_tool_is_remembered_by_the_next(manager: SessionManager, play: Play) -> None:
    first = agent_of([function_call("order", {"pizza": "Funghi"}, call_id="1")], [assistant_message("Done")])
    assert await play(first, ManagedSession("s", manager), "A Funghi") == "Done"

    second = agent_of([assistant_message("A Funghi")])
    assert await play(second, ManagedSession("s", manager), "What was it?") == "A Funghi"

    seen = model_of(second).calls[0].input
    assert kinds(seen) == ["user", "function_call", "function_call_output", "message", "user"]
    spoken = [(message.sender, message.text) for message in await manager.get_history("s")]
    assert spoken == [("user", "A Funghi"), ("assistant", "Done"), ("user", "What was it?"), ("assistant", "A Funghi")]


@both
async def test_a_takeover_in_the_middle_of_a_run_refuses_the_reply(manager: SessionManager, play: Play) -> None:
    async def anna_takes_over(call: ModelCall) -> Any:
        await manager.switch_agent("s", "human", note="Anna has joined")
        return [assistant_message("The AI goes on")]

    agent = agent_of([function_call("order", {"pizza": "Funghi"}, call_id="1")], ModelStep.respond(anna_takes_over))
    with pytest.raises(AgentConflict) as caught:
        await play(agent, ManagedSession("s", manager), "A Funghi")

    assert [message.text for message in caught.value.messages] == ["The AI goes on"]
    stored = await manager.get_history("s", include_internal=True)
    expected = ["A Funghi", 'order({"pizza": "Funghi"})', "Funghi ordered", "Anna has joined"]
    assert [message.text.replace('":"', '": "') for message in stored] == expected


async def test_what_tools_did_before_the_takeover_was_noticed_is_kept(manager: SessionManager) -> None:
    @function_tool
    async def order_and_lose(pizza: str) -> str:
        await manager.switch_agent("s", "human")
        return f"{pizza} ordered"

    agent = agent_of([function_call("order_and_lose", {"pizza": "Funghi"}, call_id="1")], tools=[order_and_lose])
    with pytest.raises(AgentConflict) as caught:
        await run(agent, ManagedSession("s", manager), "A Funghi")
    await manager.add_unanswered(caught.value)

    assert [message.text for message in await manager.get_history("s")] == ["A Funghi"]
    assert kinds(await ManagedSession("s", manager).get_items()) == ["user", "function_call", "function_call_output"]


async def test_the_ai_answers_again_after_the_hand_back_and_knows_what_the_person_said(
    manager: SessionManager,
) -> None:
    await run(agent_of([assistant_message("Hello")]), ManagedSession("s", manager), "Hi")
    await manager.switch_agent("s", "human")
    await manager.add_message("s", {"from": "operator", "text": "You get a discount"})
    await manager.switch_agent("s", "ai")

    agent = agent_of([assistant_message("10 %")])
    await run(agent, ManagedSession("s", manager), "How much?")
    assert {"role": "assistant", "content": "You get a discount"} in model_of(agent).calls[0].input


async def test_a_run_that_was_interrupted_for_an_approval_is_resumed(manager: SessionManager) -> None:
    @function_tool(needs_approval=True)
    def pay(euros: int) -> str:
        return f"{euros} paid"

    session = ManagedSession("s", manager)
    agent = agent_of([function_call("pay", {"euros": 5}, call_id="1")], [assistant_message("Paid")], tools=[pay])
    interrupted = await Runner.run(agent, "Pay", session=session, run_config=OFFLINE)
    state: RunState[Any] = interrupted.to_state()
    state.approve(interrupted.interruptions[0])
    resumed = await Runner.run(agent, state, session=session, run_config=OFFLINE)

    assert resumed.final_output == "Paid"
    assert kinds(await session.get_items()) == ["user", "function_call", "function_call_output", "message"]


async def test_an_approval_that_comes_after_a_takeover_stores_nothing(manager: SessionManager) -> None:
    @function_tool(needs_approval=True)
    def pay(euros: int) -> str:
        return f"{euros} paid"

    session = ManagedSession("s", manager)
    agent = agent_of([function_call("pay", {"euros": 5}, call_id="1")], [assistant_message("Paid")], tools=[pay])
    interrupted = await Runner.run(agent, "Pay", session=session, run_config=OFFLINE)
    state: RunState[Any] = interrupted.to_state()
    state.approve(interrupted.interruptions[0])
    await manager.switch_agent("s", "human")

    with pytest.raises(AgentConflict):
        await Runner.run(agent, state, session=session, run_config=OFFLINE)
    assert kinds(await ManagedSession("s", manager).get_items()) == ["user", "function_call"]


async def test_runs_at_the_same_time_lose_nothing(manager: SessionManager) -> None:
    sessions = [ManagedSession("s", manager) for _ in range(8)]
    await asyncio.gather(
        *(run(agent_of([assistant_message(f"to {n}")]), each, f"from {n}") for n, each in enumerate(sessions))
    )

    texts = {message.text for message in await manager.get_history("s", 100)}
    assert texts == {f"{word} {n}" for n in range(8) for word in ("from", "to")}


def compacting(session: ManagedSession, *, before: Callable[[], Awaitable[object]] | None = None) -> Any:
    """The SDK's session that compacts after each run, with a service that answers offline."""

    async def compact(**_: Any) -> Any:
        if before is not None:
            await before()
        return SimpleNamespace(output=[{"type": "compaction", "id": "cmp", "encrypted_content": "x"}], usage=None)

    client: Any = SimpleNamespace(responses=SimpleNamespace(compact=compact))
    return OpenAIResponsesCompactionSession(
        session.session_id, session, client=client, compaction_mode="input", should_trigger_compaction=lambda _: True
    )


async def test_a_compaction_after_a_run_replaces_the_items_in_one_step(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await run(agent_of([assistant_message("Hello")]), compacting(session), "Hi")

    assert kinds(await session.get_items()) == ["compaction"]
    stored = await manager.get_session("s")
    assert stored is not None
    assert stored.revision == 1


async def test_a_compaction_loses_nothing_that_was_said_meanwhile(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)

    async def customer_writes() -> None:
        await manager.add_message("s", {"from": "user", "text": "One more thing"})

    await run(agent_of([assistant_message("Hello")]), compacting(session, before=customer_writes), "Hi")
    assert [message.text for message in await manager.get_history("s")] == ["Hi", "Hello", "One more thing"]

    with pytest.raises(SequenceConflict):
        await compacting_by_hand(session, customer_writes)
    assert [message.text for message in await manager.get_history("s")][-2:] == ["One more thing", "One more thing"]


async def compacting_by_hand(session: ManagedSession, meanwhile: Callable[[], Awaitable[object]]) -> None:
    await session.get_items()
    await meanwhile()
    await session._atomic_replace_items([])


async def test_a_compaction_by_hand_replaces_everything(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)
    await run(agent_of([assistant_message("Hello")]), session, "Hi")
    await compacting(session).run_compaction({"force": True})

    assert kinds(await session.get_items()) == ["compaction"]


async def test_a_compaction_that_a_takeover_precedes_changes_nothing(manager: SessionManager) -> None:
    session = ManagedSession("s", manager)

    async def anna_takes_over() -> None:
        await manager.switch_agent("s", "human")

    await run(agent_of([assistant_message("Hello")]), compacting(session, before=anna_takes_over), "Hi")
    assert [message.text for message in await manager.get_history("s")] == ["Hi", "Hello"]


async def test_the_sdks_encrypted_session_works_on_it(manager: SessionManager) -> None:
    pytest.importorskip("cryptography")
    session = ManagedSession("s", manager)
    agent = agent_of([function_call("order", {"pizza": "Funghi"}, call_id="1")], [assistant_message("Done")])
    await run(agent, EncryptedSession("s", session, "a secret key"), "A Funghi")

    assert kinds(await EncryptedSession("s", session, "a secret key").get_items())[0] == "user"
    assert await manager.get_history("s") == []  # nothing is readable, so nothing is shown
