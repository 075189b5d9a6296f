"""A person takes over a conversation of pydantic-ai: what is refused, and what the error carries."""

import asyncio

import pytest

pytest.importorskip("pydantic_ai")

from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation, ConversationTypeAdapter
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from chat_session import AgentConflict, Session, SessionManager
from chat_session.adapters.pydantic_ai import ManagedConversationStore
from testkit.adapters.pydantic_ai import answer, save, say, texts


async def test_a_takeover_during_a_run_refuses_the_reply_and_keeps_what_the_customer_said(
    manager: SessionManager,
) -> None:
    store, begun, released = ManagedConversationStore(manager), asyncio.Event(), asyncio.Event()
    await save(store, "c", say("hi"), answer("hello"))

    async def think(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if isinstance(messages[-1].parts[-1], ToolReturnPart):
            return answer("Your money is on its way")
        begun.set()
        await released.wait()
        return ModelResponse(parts=[ToolCallPart("refund", {}, "c1")])

    agent = Agent(FunctionModel(think))

    @agent.tool_plain
    def refund() -> str:
        return "refunded"

    async def run() -> None:
        await store.save(await agent.run("Refund me", conversation=await store.load("c")))

    running = asyncio.create_task(run())
    await begun.wait()
    await manager.switch_agent("c", "human", note="Bob took over")
    await manager.add_message("c", {"from": "operator", "text": "Bob here"})
    released.set()
    with pytest.raises(AgentConflict) as refused:
        await running
    assert [message.text for message in refused.value.messages] == [
        "Refund me",
        "refund({})",
        "refunded",
        "Your money is on its way",
    ]
    assert texts(await store.load("c")) == ["hi", "hello", "Bob took over", "Bob here"]

    await manager.add_unanswered(refused.value)
    shown = [(message.sender, message.text) for message in await manager.get_history("c")]
    assert shown[-2:] == [("operator", "Bob here"), ("user", "Refund me")]
    loaded = await store.load("c")
    assert loaded is not None
    assert [type(message.parts[0]) for message in loaded.messages[-3:]] == [
        UserPromptPart,
        ToolCallPart,
        ToolReturnPart,
    ]

    await manager.switch_agent("c", "ai")
    loaded = await store.load("c")
    await store.save(await agent.run("Thanks", conversation=loaded))  # after the hand-back it goes on


async def test_a_save_that_meets_the_takeover_in_its_last_step_is_refused(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("hi"))
    record = await store.read_record("c")
    assert record is not None
    await manager.switch_agent("c", "human")
    entry = ConversationEntry(parent_id=record.head_id, message=answer("late"))
    updated = ConversationRecord(conversation_id="c", head_id=entry.id)
    with pytest.raises(AgentConflict) as refused:
        await store.write_record(updated, new_entries=[entry], expected_revision=record.revision)
    assert [message.id for message in refused.value.messages] == [entry.id]


class OvertakenManager(SessionManager):
    """A person takes over directly after its third read of a session."""

    reads = 0

    async def get_session(self, session_id: str) -> Session | None:
        session = await super().get_session(session_id)
        self.reads += 1
        if self.reads == 3:
            await self.switch_agent(session_id, "human", note="Bob took over")
        return session


async def test_a_takeover_between_the_last_read_and_the_write_of_a_save_is_one_too(url: str) -> None:
    async with OvertakenManager.from_url(url) as manager:
        store = ManagedConversationStore(manager)
        conversation = await save(store, "c", say("hi"))  # reads to load, and to compare the revision
        manager.reads = 1
        conversation.messages.append(answer("late"))
        with pytest.raises(AgentConflict) as refused:
            await store.save(conversation)
        assert [message.text for message in refused.value.messages] == ["late"]


async def test_a_conversation_without_an_index_carries_what_is_not_stored(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    conversation = await save(store, "c", say("1"), answer("2"))
    await manager.switch_agent("c", "human")
    by_hand = Conversation(
        conversation_id="c", messages=[*conversation.messages, say("3")], revision=conversation.revision
    )
    with pytest.raises(AgentConflict) as refused:
        await store.save(by_hand)
    assert [message.text for message in refused.value.messages] == ["3"]


async def test_the_epoch_survives_where_the_conversation_is_kept_as_json(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("hi"))
    await manager.switch_agent("c", "human")
    await manager.switch_agent("c", "ai")
    kept = ConversationTypeAdapter.dump_json(await store.load("c"))  # type: ignore[arg-type]
    await manager.switch_agent("c", "human")
    late = ConversationTypeAdapter.validate_json(kept)
    late.messages.append(answer("late"))
    with pytest.raises(AgentConflict):
        await ManagedConversationStore(manager).save(late)


async def test_without_the_fence_a_reply_is_stored_after_a_takeover(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager, epoch=False)
    conversation = await save(store, "c", say("hi"))
    await manager.switch_agent("c", "human")
    conversation.messages.append(answer("late"))
    await store.save(conversation)
    assert texts(await store.load("c")) == ["hi", "late"]


async def test_a_pinned_epoch_fences_every_write(manager: SessionManager) -> None:
    await save(ManagedConversationStore(manager), "c", say("hi"))
    pinned = ManagedConversationStore(manager, epoch=0)
    await save(pinned, "c", answer("hello"))
    await manager.switch_agent("c", "human")
    with pytest.raises(AgentConflict):
        await save(pinned, "c", answer("late"))
