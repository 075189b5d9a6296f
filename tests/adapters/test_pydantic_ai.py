"""Conversations of pydantic-ai in sessions: runs of agents, conflicts, bounds, sessions that others write, too."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")

from pydantic_ai import Agent, ModelRetry
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

from chat_session import SessionManager
from chat_session.adapters.pydantic_ai import ManagedConversationStore
from chat_session.errors import MessageTooLarge
from testkit.adapters.pydantic_ai import answer, save, say, texts


def make_agent() -> Agent[None, str]:
    agent = Agent(TestModel(), system_prompt="You are a clerk")

    @agent.tool_plain(retries=1)
    def weather(city: str) -> str:
        return f"sunny in {city}"

    return agent


# Runs


async def test_a_run_is_saved_and_the_next_one_continues_it(manager: SessionManager) -> None:
    store, agent = ManagedConversationStore(manager), make_agent()
    first = await agent.run("Rome?", conversation=Conversation(conversation_id="c"))
    saved = await store.save(first, scope="ann")
    assert [entry.parent_id for entry in saved] == [None, *(entry.id for entry in saved[:-1])]

    loaded = await store.load("c", scope="ann")
    assert loaded is not None
    assert (loaded.messages, loaded.usage) == (first.all_messages(), first.usage)
    second = await agent.run("And Oslo?", conversation=loaded)
    await store.save(second)

    loaded = await store.load("c")
    assert loaded is not None
    assert loaded.messages == second.all_messages()
    assert loaded.usage == second.usage
    session = await manager.get_session("c")
    assert session is not None
    assert (session.user_id, session.message_count) == ("ann", len(loaded.messages))


async def test_a_customer_reads_the_prompts_and_answers_alone(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await store.save(await make_agent().run("Rome?", conversation=Conversation(conversation_id="c")))
    assert [(m.sender, m.text) for m in await manager.get_history("c")] == [
        ("user", "Rome?"),
        ("assistant", '{"weather":"sunny in a"}'),
    ]


async def test_a_saved_result_can_be_continued_without_loading_it(manager: SessionManager) -> None:
    store, agent = ManagedConversationStore(manager), make_agent()
    result = await agent.run("one", conversation=Conversation(conversation_id="c"))
    await store.save(result)
    result = await agent.run("two", conversation=result.conversation)
    await store.save(result)
    loaded = await store.load("c")
    assert loaded is not None
    assert loaded.messages == result.all_messages()


async def test_a_tool_that_asks_for_another_call_comes_back_equal(manager: SessionManager) -> None:
    agent = Agent(TestModel())
    calls = 0

    @agent.tool_plain(retries=2)
    def flaky() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ModelRetry("once more")
        return "done"

    store = ManagedConversationStore(manager)
    result = await agent.run("go", conversation=Conversation(conversation_id="c"))
    await store.save(result)
    loaded = await store.load("c")
    assert loaded is not None
    assert loaded.messages == result.all_messages()


async def test_a_run_that_waits_for_approval_is_continued_from_the_store(manager: SessionManager) -> None:
    agent: Agent[None, Any] = Agent(TestModel(), output_type=[str, DeferredToolRequests])

    @agent.tool_plain(requires_approval=True)
    def refund(order: str) -> str:
        return f"refunded {order}"

    store = ManagedConversationStore(manager)
    await store.save(await agent.run("refund", conversation=Conversation(conversation_id="c")))
    loaded = await ManagedConversationStore(manager).load("c")
    assert loaded is not None
    requests = loaded.deferred_tool_requests
    assert requests is not None
    results = DeferredToolResults(approvals={requests.approvals[0].tool_call_id: True})
    finished = await agent.run(conversation=loaded, deferred_tool_results=results)
    await store.save(finished)
    loaded = await store.load("c")
    assert loaded is not None
    assert loaded.deferred_tool_requests is None
    assert loaded.messages == finished.all_messages()


async def test_ids_that_a_session_cannot_have_are_escaped(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    ids = ["a/b c", "Grüße\n", "x" * 500, "=", ""]
    for each in ids:
        await save(store, each, say(each))
    assert sorted(record.conversation_id for record in await store.list_conversations()) == sorted(ids)
    for each in ids:
        assert texts(await ManagedConversationStore(manager).load(each)) == [each]
    assert await manager.get_session("a=2Fb=20c") is not None


async def test_entries_with_ids_that_a_message_cannot_have_keep_them(manager: SessionManager) -> None:
    store, entry_id = ManagedConversationStore(manager), "e\n" + "x" * 300
    entry = ConversationEntry(id=entry_id, parent_id=None, message=say("hi"))
    record = ConversationRecord(conversation_id="c", head_id=entry_id)
    await store.write_record(record, new_entries=[entry], expected_revision=None)
    assert await store.read_history(entry_id) == [entry]
    assert await ManagedConversationStore(manager).read_entry(entry_id) == entry


# Conflicts


async def test_of_two_saves_of_one_revision_one_is_stored(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("hi"))
    one, other = [await store.load("c") for _ in range(2)]
    assert one is not None
    assert other is not None
    one.messages.append(answer("one"))
    other.messages.append(answer("other"))
    results = await asyncio.gather(store.save(one), store.save(other), return_exceptions=True)
    assert sum(isinstance(result, ConversationConflict) for result in results) == 1
    assert len(texts(await store.load("c"))) == 2


async def test_what_a_customer_says_during_a_run_refuses_the_save(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("hi"))
    loaded = await store.load("c")
    assert loaded is not None
    await manager.add_message("c", {"from": "user", "text": "one more thing"})
    loaded.messages.append(answer("hello"))
    with pytest.raises(ConversationConflict):
        await store.save(loaded)
    await save(store, "c", answer("hello to both"))
    assert texts(await store.load("c")) == ["hi", "one more thing", "hello to both"]


async def test_a_conversation_that_was_made_again_is_not_the_one_that_was_loaded(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    stale = await save(store, "c", say("hi"))
    await store.delete("c")
    with pytest.raises(ConversationConflict):
        await store.save(stale)
    await save(store, "c", say("hi"))
    with pytest.raises(ConversationConflict):
        await store.save(stale)


async def test_an_id_that_is_taken_is_a_conflict_also_if_others_made_the_session(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await manager.create_session("ann", session_id="c")
    with pytest.raises(ConversationConflict):
        await store.save(Conversation(conversation_id="c", messages=[say("hi")]))


async def test_a_delete_compares_the_revision_and_everything_said_since(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("hi"))
    record = await store.read_record("c")
    assert record is not None
    await manager.add_message("c", {"from": "user", "text": "wait"})
    with pytest.raises(ConversationConflict):
        await store.delete_record("c", expected_revision=record.revision)
    with pytest.raises(ConversationConflict):
        await store.delete_record("none", expected_revision=record.revision)
    record = await store.read_record("c")
    assert record is not None
    await store.delete_record("c", expected_revision=record.revision)
    assert await manager.get_session("c") is None


async def test_a_delete_that_ended_in_the_middle_is_finished_by_the_next_reader(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("hi"))
    session = await manager.get_session("c")
    assert session is not None
    marked = session.metadata["pydantic_ai"].replace('"deleted":false', '"deleted":true')
    await manager.update_session("c", {"pydantic_ai": marked})
    assert await store.load("c") is None
    assert await manager.get_session("c") is None


async def test_a_conversation_in_another_scope_is_not_there(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await store.save(Conversation(conversation_id="c", messages=[say("hi")]), scope="ann")
    assert await store.load("c", scope="bob") is None
    await store.delete("c", scope="bob")
    assert texts(await store.load("c", scope="ann")) == ["hi"]
    assert await store.list_conversations(scope="bob") == []
    assert (await manager.erase_user("ann")).sessions == 1


# Bounds and retractions


async def test_a_history_begins_at_the_oldest_entry_that_is_stored(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager, max_history=3)
    for number in range(5):
        await save(store, "c", say(str(number)))
    assert texts(await store.load("c")) == ["2", "3", "4"]
    entries = await store.load_entries("c")
    assert entries is not None
    assert entries[0].parent_id is not None
    await save(store, "c", answer("5"))
    assert texts(await ManagedConversationStore(manager).load("c", limit=2)) == ["4", "5"]


async def test_an_answer_whose_call_was_trimmed_is_left_out_and_the_prompt_beside_it_stays(
    manager: SessionManager,
) -> None:
    store = ManagedConversationStore(manager, max_history=2)
    call = ModelResponse(parts=[ToolCallPart("t", {}, "c1")])
    mixed = ModelRequest(parts=[ToolReturnPart("t", "r", "c1"), UserPromptPart("and this?")])
    alone = ModelRequest(parts=[ToolReturnPart("t", "r", "c1")])
    await save(store, "mixed", call, mixed, answer("ok"))
    await save(store, "alone", call, alone, answer("ok"))
    assert texts(await store.load("mixed")) == ["and this?", "ok"]
    assert texts(await store.load("alone")) == ["ok"]


async def test_an_answer_that_was_stored_without_a_call_comes_back(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    conversation = await save(store, "c", ModelRequest(parts=[ToolReturnPart("t", "r", "c1")]), answer("ok"))
    loaded = await store.load("c")
    assert loaded is not None
    assert loaded.messages == conversation.messages


async def test_what_others_say_between_a_call_and_its_answer_comes_behind_it(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("hi"), ModelResponse(parts=[ToolCallPart("t", {}, "c1")]))
    await manager.add_message("c", {"from": "user", "text": "hurry"})
    await save(store, "c", ModelRequest(parts=[ToolReturnPart("t", "r", "c1")]))
    loaded = await store.load("c")
    assert loaded is not None
    kinds = [type(message.parts[0]) for message in loaded.messages]
    assert kinds == [UserPromptPart, ToolCallPart, ToolReturnPart, UserPromptPart]


async def test_a_retracted_entry_is_left_out_of_the_middle_and_of_the_end(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    conversation = await save(store, "c", say("1"), answer("2"), say("3"), answer("4"))
    entries = await store.load_entries("c")
    assert entries is not None
    await manager.retract_message("c", entries[1].id)
    await manager.retract_message("c", entries[3].id)
    assert texts(await store.load("c")) == ["1", "3"]
    with pytest.raises(ConversationConflict):
        await store.save(conversation)
    await save(store, "c", answer("5"))
    assert texts(await store.load("c")) == ["1", "3", "5"]


async def test_a_history_that_was_cleared_begins_again(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("1"), answer("2"))
    await manager.clear_history("c")
    assert texts(await store.load("c")) == []
    await save(store, "c", say("3"))
    assert texts(await store.load("c")) == ["3"]


async def test_a_message_over_the_bound_of_its_size_stores_nothing(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    await save(store, "c", say("1"))
    with pytest.raises(MessageTooLarge):
        await save(store, "c", say("2"), say("x" * 2_000_000))
    assert texts(await store.load("c")) == ["1"]


# Shared sessions


async def test_a_session_that_a_desk_made_is_a_conversation_of_its_user(manager: SessionManager) -> None:
    await manager.create_session("ann", session_id="c")
    await manager.add_message("c", {"from": "user", "text": "Hello"})
    store, agent = ManagedConversationStore(manager), make_agent()
    [record] = await store.list_conversations(scope="ann")
    assert record.conversation_id == "c"
    loaded = await store.load("c", scope="ann")
    assert texts(loaded) == ["Hello"]
    await store.save(await agent.run(conversation=loaded), scope="ann")
    loaded = await store.load("c")
    assert loaded is not None
    assert len(loaded.messages) == 4


async def test_a_list_is_ordered_by_the_last_save_and_limited(manager: SessionManager) -> None:
    store = ManagedConversationStore(manager)
    for each in ("a", "b", "c"):
        await store.save(Conversation(conversation_id=each, messages=[say(each)]), scope="ann")
    await save(store, "a", say("again"))
    listed = await store.list_conversations(scope="ann", limit=2)
    assert [record.conversation_id for record in listed] == ["a", "c"]
    assert len(await store.list_conversations()) == 3
