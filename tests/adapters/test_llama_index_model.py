"""The store does what LlamaIndex's own SQL store does, for any series of calls.

But for the results of tools whose call was deleted: they are left out. So none of the messages here answers a call.
"""

import asyncio
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from sqlalchemy.ext.asyncio import create_async_engine

from chat_session import SessionManager
from chat_session.adapters.llama_index import ManagedChatStore, ManagedSyncChatStore

call_ids = st.sampled_from(["c1", "c2"])
blocks: st.SearchStrategy[Any] = (
    st.builds(TextBlock, text=st.text())
    | st.builds(ThinkingBlock, content=st.text())
    | st.builds(
        ToolCallBlock,
        tool_call_id=call_ids,
        tool_name=st.just("t"),
        tool_kwargs=st.dictionaries(st.text(), st.integers()),
    )
)
chats = st.builds(
    lambda role, parts, call: ChatMessage(
        role=role, blocks=parts, additional_kwargs={"name": call} if role == "tool" else {}
    ),
    st.sampled_from(["user", "assistant", "system", "tool"]),
    st.lists(blocks, max_size=2),
    call_ids,
)
keys = st.sampled_from(["a", "b/c"])
statuses = st.sampled_from(list(MessageStatus))
any_status = st.none() | statuses
calls = st.one_of(
    st.tuples(st.just("add_message"), keys, chats, statuses),
    st.tuples(st.just("add_messages"), keys, st.lists(chats, min_size=1, max_size=3), statuses),
    st.tuples(st.just("set_messages"), keys, st.lists(chats, max_size=3), statuses),
    st.tuples(st.just("get_messages"), keys, any_status, st.none() | st.integers(0, 4), st.none() | st.integers(0, 4)),
    st.tuples(st.just("count_messages"), keys, any_status),
    st.tuples(st.just("delete_messages"), keys, any_status),
    st.tuples(st.just("delete_oldest_messages"), keys, st.integers(0, 3)),
    st.tuples(st.just("archive_oldest_messages"), keys, st.integers(0, 3)),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(calls, max_size=15))
def test_any_series_of_calls_gives_what_the_sql_store_gives(series: list[tuple[Any, ...]]) -> None:
    asyncio.run(compare(series))


async def compare(series: list[tuple[Any, ...]]) -> None:
    engine = create_async_engine("sqlite+aiosqlite:///:memory:")
    theirs = SQLAlchemyChatStore(table_name="t", async_engine=engine)
    try:
        async with SessionManager.from_url("sqlite:///:memory:") as manager:
            ours = ManagedChatStore(manager)
            for name, *args in series:
                assert await getattr(ours, name)(*args) == await getattr(theirs, name)(*args), (name, args)
            for store in (ours, ManagedChatStore(manager)):
                assert await look(store) == await look(theirs)
    finally:
        await engine.dispose()


async def look(store: AsyncDBChatStore) -> Any:
    found = {key: await store.get_messages(key, status=None) for key in await store.get_keys()}
    return found, {key: await store.get_messages(key) for key in found}


places = st.integers(-2, 4)
older_calls = st.one_of(
    st.tuples(st.just("add_message"), keys, chats, st.none() | places),
    st.tuples(st.just("set_messages"), keys, st.lists(chats, min_size=1, max_size=4)),
    st.tuples(st.just("get_messages"), keys),
    st.tuples(st.just("delete_messages"), keys),
    st.tuples(st.just("delete_message"), keys, st.integers(0, 4)),
    st.tuples(st.just("delete_last_message"), keys),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(older_calls, max_size=15))
def test_any_series_of_older_calls_gives_what_the_simple_store_gives(series: list[tuple[Any, ...]]) -> None:
    """Where that one has an empty list left for a key, ours has no key."""
    theirs = SimpleChatStore()
    with ManagedSyncChatStore("sqlite:///:memory:") as ours:
        for name, key, *rest in series:
            if not theirs.store.get(key):
                theirs.store.pop(key, None)
            arguments = [list(each) if isinstance(each, list) else each for each in rest]
            assert getattr(ours, name)(key, *rest) == getattr(theirs, name)(key, *arguments), (name, key, rest)
        kept = {key: messages for key, messages in theirs.store.items() if messages}
        assert {key: ours.get_messages(key) for key in ours.get_keys()} == kept
