"""The chat store for LlamaIndex's older, synchronous interface."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer

from chat_session import AgentConflict, blocking
from chat_session.adapters.llama_index import ManagedSyncChatStore
from testkit.adapters.llama_index import assistant, texts, user

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its workflows


@pytest.fixture
def sync_store(url: str) -> Iterator[ManagedSyncChatStore]:
    with ManagedSyncChatStore(url) as store:
        yield store


def test_the_older_interface_adds_inserts_and_lists(sync_store: ManagedSyncChatStore) -> None:
    sync_store.add_message("a", user("1"))
    sync_store.add_message("a", user("3"))
    sync_store.add_message("b", user("x"))
    sync_store.add_message("a", user("0"), idx=0)
    sync_store.add_message("a", user("2"), idx=-1)
    sync_store.add_message("a", user("4"), idx=99)
    sync_store.add_message("c", user("y"), idx=3)
    assert texts(sync_store.get_messages("a")) == ["0", "1", "2", "3", "4"]
    assert sync_store.get_keys() == ["a", "b", "c"]
    assert sync_store.get_messages("none") == []


def test_the_older_interface_deletes_by_place_and_the_order_stays(sync_store: ManagedSyncChatStore) -> None:
    sync_store.set_messages("a", [user(str(number)) for number in range(6)])
    deleted = [sync_store.delete_message("a", 0), sync_store.delete_message("a", 3)]
    assert [chat.content for chat in deleted if chat] == ["0", "4"]
    for place in (-1, 4):
        assert sync_store.delete_message("a", place) is None
    assert sync_store.delete_message("none", 0) is None
    last = sync_store.delete_last_message("a")
    assert last is not None
    assert last.content == "5"
    assert texts(sync_store.get_messages("a")) == ["1", "2", "3"]
    assert texts(sync_store.delete_messages("a")) == ["1", "2", "3"]
    assert sync_store.delete_messages("a") is None
    assert sync_store.delete_last_message("a") is None
    assert sync_store.delete_last_message("none") is None
    assert sync_store.get_keys() == []


def test_two_who_delete_the_last_message_get_different_ones(sync_store: ManagedSyncChatStore) -> None:
    sync_store.set_messages("a", [user(str(number)) for number in range(16)])
    with ThreadPoolExecutor(8) as pool:
        deleted = list(pool.map(lambda _: sync_store.delete_last_message("a"), range(16)))
    assert {chat.content for chat in deleted if chat} == {str(number) for number in range(16)}


def test_a_manager_that_was_passed_in_stays_open(url: str) -> None:
    with blocking.SessionManager.from_url(url) as manager:
        with ManagedSyncChatStore(manager, user_id="ann", max_history=2) as store:
            store.set_messages("a", [user("1"), user("2"), user("3")])
        assert [message.text for message in manager.get_history("a")] == ["2", "3"]
        assert [session.session_id for session in manager.get_user_sessions("ann")] == ["a"]


def test_a_late_reply_is_refused_in_the_older_interface(url: str) -> None:
    with blocking.SessionManager.from_url(url) as manager:
        store = ManagedSyncChatStore(manager)
        memory = ChatMemoryBuffer.from_defaults(chat_store=store, chat_store_key="a")
        engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=memory)
        engine.chat("hello")
        assert [chat.role.value for chat in store.get_messages("a")] == ["user", "assistant"]
        manager.switch_agent("a", "human")
        writes: list[Callable[[], object]] = [
            lambda: store.add_message("a", assistant("late")),
            lambda: store.delete_last_message("a"),
            lambda: store.delete_message("a", 0),
            lambda: store.set_messages("a", []),
            lambda: store.add_message("a", assistant("late"), idx=0),
        ]
        for write in writes:
            with pytest.raises(AgentConflict):
                write()


async def test_the_older_interface_can_be_awaited(url: str) -> None:
    with ManagedSyncChatStore(url) as store:
        await store.async_add_message("a", user("1"))
        assert texts(await store.aget_messages("a")) == ["1"]
        assert await store.aget_keys() == ["a"]
