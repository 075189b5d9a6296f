"""LlamaIndex on sessions: the chat store, Memory, runs of agents, takeovers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import Memory
from llama_index.core.storage.chat_store.base_db import MessageStatus

from chat_session import AgentConflict, SessionManager, blocking
from chat_session.adapters.llama_index import ManagedChatStore
from testkit.adapters.llama_index import assistant, call, result, texts, user

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its workflows

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED


@pytest.fixture
def store(manager: SessionManager) -> ManagedChatStore:
    return ManagedChatStore(manager)


# The asynchronous store


async def test_messages_come_back_in_order(store: ManagedChatStore) -> None:
    await store.add_message("k", user("hello"))
    await store.add_messages("k", [assistant("world"), user("again")])
    assert texts(await store.get_messages("k")) == ["hello", "world", "again"]
    assert await store.count_messages("k") == 3
    assert await store.get_messages("none") == []
    assert await store.count_messages("none") == 0


async def test_no_messages_make_no_session(store: ManagedChatStore, manager: SessionManager) -> None:
    await store.add_messages("k", [])
    assert await manager.get_session("k") is None


async def test_a_set_replaces_all_messages_in_one_step(store: ManagedChatStore, manager: SessionManager) -> None:
    await store.set_messages("k", [user("old"), assistant("old")])
    await store.archive_oldest_messages("k", 1)
    session = await manager.get_session("k")
    assert session is not None
    await store.set_messages("k", [user("new"), assistant("new")])
    after = await manager.get_session("k")
    assert after is not None
    assert after.revision == session.revision + 1
    assert texts(await store.get_messages("k", status=None)) == ["new", "new"]
    assert await store.count_messages("k", ARCHIVED) == 0
    await store.set_messages("k", [])
    assert await store.get_messages("k") == []


async def test_a_message_is_deleted_by_its_place_and_the_order_stays(store: ManagedChatStore) -> None:
    await store.add_messages("k", [user("0"), user("1"), assistant("2"), user("3")])
    await store.archive_oldest_messages("k", 1)
    deleted = await store.delete_message("k", 1)
    assert deleted is not None
    assert deleted.content == "2"
    for place in (-1, 2):
        assert await store.delete_message("k", place) is None
    assert await store.delete_message("none", 0) is None
    await store.add_message("k", assistant("4"))
    assert texts(await store.get_messages("k", status=None)) == ["0", "1", "3", "4"]


async def test_a_page_counts_from_the_oldest(store: ManagedChatStore) -> None:
    await store.add_messages("k", [user(str(number)) for number in range(5)])
    assert texts(await store.get_messages("k", limit=2)) == ["0", "1"]
    assert texts(await store.get_messages("k", offset=2)) == ["2", "3", "4"]
    assert texts(await store.get_messages("k", limit=2, offset=1)) == ["1", "2"]
    assert await store.get_messages("k", limit=0) == []


async def test_the_oldest_are_archived_in_one_step(store: ManagedChatStore, manager: SessionManager) -> None:
    await store.add_messages("k", [user("1"), assistant("2"), user("3")])
    assert texts(await store.archive_oldest_messages("k", 2)) == ["1", "2"]
    assert texts(await store.get_messages("k")) == ["3"]
    assert texts(await store.get_messages("k", ARCHIVED)) == ["1", "2"]
    assert texts(await store.get_messages("k", status=None)) == ["1", "2", "3"]
    await store.add_message("k", user("0"), ARCHIVED)
    await store.add_message("k", user("4"))
    assert texts(await store.archive_oldest_messages("k", 1)) == ["3"]
    assert texts(await store.get_messages("k")) == ["4"]
    session = await manager.get_session("k")
    assert session is not None
    assert session.revision == 0
    assert await store.archive_oldest_messages("none", 3) == []


async def test_two_who_archive_at_once_archive_different_messages(manager: SessionManager) -> None:
    stores = [ManagedChatStore(manager) for _ in range(4)]
    await stores[0].add_messages("k", [user(str(number)) for number in range(4)])
    archived = await asyncio.gather(*(store.archive_oldest_messages("k", 1) for store in stores))
    assert sorted(chat.content or "" for chats in archived for chat in chats) == ["0", "1", "2", "3"]


async def test_the_messages_of_one_status_are_deleted(store: ManagedChatStore) -> None:
    await store.add_messages("k", [user("1"), user("2"), user("3")])
    await store.archive_oldest_messages("k", 1)
    await store.delete_messages("k", ACTIVE)
    assert texts(await store.get_messages("k", status=None)) == ["1"]
    await store.add_message("k", user("4"))
    await store.delete_messages("k", ARCHIVED)
    assert texts(await store.get_messages("k", status=None)) == ["4"]
    assert texts(await store.delete_oldest_messages("k", 5)) == ["4"]
    assert await store.delete_oldest_messages("k", 5) == []


async def test_a_key_without_messages_is_not_listed_and_its_session_stays(
    store: ManagedChatStore, manager: SessionManager
) -> None:
    for key in ("a", "b", "c"):
        await store.add_message(key, user(key))
    await store.delete_messages("b")
    await store.delete_messages("none")
    await store.delete_message("c", 0)
    assert await store.get_keys() == ["a"]
    assert await manager.get_session("b") is not None


async def test_keys_are_of_the_user_if_the_store_has_one(manager: SessionManager) -> None:
    await ManagedChatStore(manager, user_id="ann").add_message("a", user("1"))
    await ManagedChatStore(manager, user_id="bob").add_message("b/ü", user("1"))
    assert await ManagedChatStore(manager, user_id="bob").get_keys() == ["b/ü"]
    assert sorted(await ManagedChatStore(manager).get_keys()) == ["a", "b/ü"]


async def test_ids_that_a_session_cannot_have_are_escaped(store: ManagedChatStore, manager: SessionManager) -> None:
    keys = ["user:1", "a b", "日本", "x" * 500, "=41"]
    for key in keys:
        await store.add_message(key, user(key))
    assert sorted(await store.get_keys()) == sorted(keys)
    for key in keys:
        assert texts(await store.get_messages(key)) == [key]
    assert await manager.get_session("a=20b") is not None


async def test_a_session_keeps_as_many_messages_as_the_store_says(manager: SessionManager) -> None:
    store = ManagedChatStore(manager, max_history=3)
    await store.add_messages("k", [call("t", "c1"), result("r", "c1"), user("1")])
    await store.add_message("k", user("2"))
    assert texts(await store.get_messages("k")) == ["1", "2"]  # the result's call was trimmed


async def test_an_answer_that_was_stored_without_a_call_comes_back(store: ManagedChatStore) -> None:
    await store.add_messages("k", [result("r", "c1"), user("1")])
    assert texts(await store.get_messages("k")) == ["r", "1"]


async def test_what_others_say_between_a_call_and_its_answer_comes_behind_it(
    store: ManagedChatStore, manager: SessionManager
) -> None:
    await store.add_messages("k", [user("1"), call("t", "c1")])
    await manager.add_message("k", {"from": "user", "text": "hurry"})
    await store.add_message("k", result("r", "c1"))
    assert texts(await store.get_messages("k")) == ["1", None, "r", "hurry"]


async def test_a_deleted_session_is_made_again(store: ManagedChatStore, manager: SessionManager) -> None:
    await store.add_message("k", user("1"))
    await manager.delete_session("k")
    await store.set_messages("k", [user("2")])
    await manager.delete_session("k")
    await store.add_message("k", assistant("3"))
    assert texts(await store.get_messages("k")) == ["3"]


async def test_many_writers_at_once_lose_nothing(manager: SessionManager) -> None:
    stores = [ManagedChatStore(manager) for _ in range(8)]
    await asyncio.gather(*(store.add_message("k", user(str(n))) for n, store in enumerate(stores)))
    assert sorted(chat.content or "" for chat in await stores[0].get_messages("k")) == [str(n) for n in range(8)]


# Memory and agents


async def test_memory_moves_what_is_over_its_tokens_to_the_archive(store: ManagedChatStore) -> None:
    memory = Memory.from_defaults(session_id="k", chat_store=store, token_limit=40, token_flush_size=10)
    for number in range(10):
        await memory.aput(user(f"question {number} " * 3))
        await memory.aput(assistant(f"answer {number} " * 3))
    active, archived = await store.count_messages("k"), await store.count_messages("k", ARCHIVED)
    assert active + archived == 20
    assert archived > active
    assert (await memory.aget())[0].role == "user"
    assert len(await memory.aget_all()) == 20
    await memory.areset()
    assert await memory.aget_all() == []


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def answer_with_tool(messages: Sequence[ChatMessage], **_: Any) -> ChatMessage:
    if messages[-1].role == "tool":
        return assistant(f"It is {messages[-1].content}")
    arguments = {"city": "Rome"}
    block = ToolCallBlock(tool_call_id=f"c{len(messages)}", tool_name="weather", tool_kwargs=arguments)
    return ChatMessage(role="assistant", blocks=[block])


def make_agent(*tools: Any) -> FunctionAgent:
    return FunctionAgent(
        tools=list(tools), llm=MockFunctionCallingLLM(response_generator=answer_with_tool), streaming=False
    )


async def test_an_agents_runs_are_kept_with_their_tools(store: ManagedChatStore, manager: SessionManager) -> None:
    memory = Memory.from_defaults(session_id="k", chat_store=store)
    for _ in range(2):
        assert str(await make_agent(weather).run("Rome?", memory=memory)) == "It is sunny in Rome"
    roles = [chat.role.value for chat in await store.get_messages("k")]
    assert roles == ["user", "assistant", "tool", "assistant"] * 2
    shown = [(message.sender, message.text) for message in await manager.get_history("k")]
    assert shown == [("user", "Rome?"), ("assistant", "It is sunny in Rome")] * 2


async def test_a_takeover_during_a_run_refuses_the_reply_and_keeps_what_the_tools_did(
    store: ManagedChatStore, manager: SessionManager
) -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def weather(city: str) -> str:
        """The weather in a city."""
        begun.set()
        await released.wait()
        return f"sunny in {city}"

    memory = Memory.from_defaults(session_id="k", chat_store=store)
    running = asyncio.ensure_future(make_agent(weather).run("Rome?", memory=memory))
    await begun.wait()
    await manager.switch_agent("k", "human", note="Bob took over")
    released.set()
    with pytest.raises(AgentConflict) as refused:
        await running
    assert [message.text for message in refused.value.messages] == [
        'weather({"city": "Rome"})',
        "sunny in Rome",
        "It is sunny in Rome",
    ]
    assert texts(await store.get_messages("k")) == ["Rome?", "Bob took over"]

    await manager.add_unanswered(refused.value)
    assert texts(await store.get_messages("k")) == ["Rome?", "Bob took over", None, "sunny in Rome"]
    await memory.aput(user("Thanks"))  # what a customer says is never refused
    await manager.switch_agent("k", "ai")
    await memory.aput(user("And Oslo?"))
    await memory.aput(assistant("Rain"))
    assert texts(await store.get_messages("k"))[-3:] == ["Thanks", "And Oslo?", "Rain"]


async def test_every_write_but_a_customers_is_fenced(store: ManagedChatStore, manager: SessionManager) -> None:
    await store.add_messages("k", [user("1"), assistant("2"), user("3")])
    await store.get_messages("k")
    await manager.switch_agent("k", "human")
    refused = [
        store.add_message("k", assistant("late")),
        store.add_messages("k", [user("q"), assistant("late")]),
        store.set_messages("k", [user("late")]),
        store.delete_message("k", 0),
        store.delete_messages("k"),
        store.delete_messages("k", ACTIVE),
        store.delete_oldest_messages("k", 1),
        store.archive_oldest_messages("k", 1),
    ]
    for write in refused:
        with pytest.raises(AgentConflict):
            await write
    assert texts(await manager_texts(manager)) == ["1", "2", "3"]
    await store.add_message("k", user("4"))
    await store.get_messages("k")
    await store.add_message("k", assistant("5"))
    assert texts(await manager_texts(manager)) == ["1", "2", "3", "4", "5"]


async def manager_texts(manager: SessionManager) -> list[ChatMessage]:
    """Read beside the store, so that it notes no epoch."""
    return await ManagedChatStore(manager).get_messages("k", status=None)


async def test_a_set_that_is_refused_carries_its_messages(store: ManagedChatStore, manager: SessionManager) -> None:
    await store.add_message("k", user("1"))
    await store.get_messages("k")
    await manager.switch_agent("k", "human")
    with pytest.raises(AgentConflict) as refused:
        await store.set_messages("k", [user("1"), assistant("late")])
    assert [message.text for message in refused.value.messages] == ["1", "late"]


async def test_a_pinned_epoch_and_none(manager: SessionManager) -> None:
    await ManagedChatStore(manager).add_message("k", user("1"))
    pinned, free = ManagedChatStore(manager, epoch=0), ManagedChatStore(manager, epoch=False)
    await manager.switch_agent("k", "human")
    await pinned.get_messages("k")
    with pytest.raises(AgentConflict):
        await pinned.add_message("k", assistant("late"))
    await free.add_message("k", assistant("anyway"))
    assert texts(await free.get_messages("k")) == ["1", "anyway"]


async def test_memory_is_made_with_a_history_in_a_running_loop(url: str) -> None:
    with blocking.SessionManager.from_url(url) as manager:
        store = ManagedChatStore(manager)
        memory = Memory.from_defaults(session_id="k", chat_store=store, chat_history=[user("0")])
        await memory.aput(assistant("1"))
        assert texts(await memory.aget()) == ["0", "1"]


def test_the_synchronous_methods_of_memory_work_with_a_blocking_manager(url: str) -> None:
    with blocking.SessionManager.from_url(url) as manager:
        memory = Memory.from_defaults(session_id="k", chat_store=ManagedChatStore(manager))
        memory.put(user("1"))
        memory.put(user("2"))
        assert texts(memory.get_all()) == ["1", "2"]
        engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=memory)
        engine.chat("hello")
        manager.switch_agent("k", "human")
        with pytest.raises(AgentConflict):
            memory.put(assistant("late"))
