"""The store does what the framework's own store in memory does, for any series of calls."""

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_ai.conversation import Conversation, ConversationTypeAdapter
from pydantic_ai.conversation_store import ConversationStore, InMemoryConversationStore
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.usage import RunUsage

from chat_session import SessionManager
from chat_session.adapters.pydantic_ai import ManagedConversationStore

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
call_ids = st.sampled_from(["c1", "c2", "c3"]) | st.text(min_size=1, max_size=8)
request_parts: st.SearchStrategy[Any] = st.builds(UserPromptPart, st.text()) | st.builds(
    ToolReturnPart, st.just("t"), Json, call_ids
)
response_parts: st.SearchStrategy[Any] = (
    st.builds(TextPart, st.text())
    | st.builds(ThinkingPart, st.text())
    | st.builds(ToolCallPart, st.just("t"), st.dictionaries(st.text(), Json, max_size=2), call_ids)
)
messages: st.SearchStrategy[ModelMessage] = st.builds(ModelRequest, st.lists(request_parts, max_size=3)) | st.builds(
    ModelResponse, st.lists(response_parts, max_size=3)
)
ids = st.sampled_from(["a", "b/c", "d"])
scopes = st.sampled_from([None, "ann", "bob"])
numbers = st.integers(0, 6)
calls = st.one_of(
    st.tuples(st.just("load"), ids, scopes),
    st.tuples(st.just("window"), ids, numbers),
    st.tuples(st.just("new"), ids, scopes, st.lists(messages, max_size=3)),
    st.tuples(st.just("extend"), numbers, scopes, st.lists(messages, max_size=3), st.booleans()),
    st.tuples(st.just("rewrite"), numbers, numbers, st.lists(messages, max_size=2)),
    st.tuples(st.just("branch"), ids, numbers),
    st.tuples(st.just("branch to"), ids, numbers),
    st.tuples(st.just("fork"), ids, numbers, ids),
    st.tuples(st.just("delete"), ids, scopes),
)


class Application:
    """Makes the same calls on a store; it keeps the conversations that it loaded, which may be stale by now."""

    def __init__(self, store: ConversationStore) -> None:
        self.store = store
        self.kept: list[Conversation] = []

    async def call(self, name: str, *args: Any) -> Any:
        """What the call returns or raises, without what a store makes up."""
        try:
            return self._plain(await getattr(self, name.replace(" ", "_"))(*deepcopy(args)))
        except Exception as error:
            return type(error)

    def _plain(self, answer: Any) -> Any:
        if isinstance(answer, Conversation):
            self.kept.append(answer)
            return answer.messages, answer.usage
        return [entry.message for entry in answer] if isinstance(answer, list) else answer

    async def load(self, conversation_id: str, scope: str | None) -> Any:
        return await self.store.load(conversation_id, scope=scope)

    async def window(self, conversation_id: str, limit: int) -> Any:
        return await self.store.load(conversation_id, limit=limit)

    async def new(self, conversation_id: str, scope: str | None, said: list[ModelMessage]) -> Any:
        conversation = Conversation(conversation_id=conversation_id, messages=said)
        saved = await self.store.save(conversation, scope=scope)
        self.kept.append(conversation)
        return saved

    async def extend(self, which: int, scope: str | None, said: list[ModelMessage], as_json: bool) -> Any:
        if not self.kept:
            return None
        conversation = self.kept[which % len(self.kept)]
        if as_json:
            conversation = ConversationTypeAdapter.validate_json(ConversationTypeAdapter.dump_json(conversation))
        conversation.messages = [*conversation.messages, *said]
        conversation.usage = conversation.usage + RunUsage(requests=1)
        return await self.store.save(conversation, scope=scope)

    async def rewrite(self, which: int, at: int, said: list[ModelMessage]) -> Any:
        if not self.kept:
            return None
        conversation = self.kept[which % len(self.kept)]
        conversation.messages = [*conversation.messages[:at], *said]
        conversation.new_message_index = None
        return await self.store.save(conversation)

    async def branch(self, conversation_id: str, at: int) -> Any:
        record = await self.store.read_record(conversation_id)
        revision = None if record is None else record.revision
        return await self.store.branch(conversation_id, at=at, expected_revision=revision)

    async def branch_to(self, conversation_id: str, which: int) -> Any:
        record = await self.store.read_record(conversation_id)
        if record is None:
            return None
        tips = [tip for tip in [record.head_id, *record.branches] if tip is not None]
        entries = [entry.id for tip in tips for entry in await self.store.read_history(tip)]
        if not entries:
            return None
        entry = entries[which % len(entries)]
        return await self.store.branch(conversation_id, from_entry=entry, expected_revision=record.revision)

    async def fork(self, conversation_id: str, at: int, new_id: str) -> Any:
        return await self.store.fork(conversation_id, at=at or None, new_conversation_id=new_id)

    async def delete(self, conversation_id: str, scope: str | None) -> Any:
        return await self.store.delete(conversation_id, scope=scope)

    async def look(self) -> Any:
        """All that the store holds, without what it makes up."""
        found = []
        for record in await self.store.list_conversations():
            history = await self.store.read_history(record.head_id)
            place = {entry.id: number for number, entry in enumerate(history)}
            parents = [entry.parent_id and place.get(entry.parent_id, -1) for entry in history]
            branches = [[entry.message for entry in await self.store.read_history(tip)] for tip in record.branches]
            one_by_one = [await self.store.read_entry(entry.id) for entry in history]
            assert one_by_one == history
            facts = (record.conversation_id, record.usage, record.scope, record.forked_from)
            found.append((facts, parents, [entry.message for entry in history], branches))
        return found


async def compare(make: Callable[[SessionManager], ConversationStore], series: list[tuple[Any, ...]]) -> None:
    async with SessionManager.from_url("sqlite:///:memory:", max_message_history=10_000) as manager:
        ours, theirs = Application(make(manager)), Application(InMemoryConversationStore())
        for call in series:
            mine, wanted = await ours.call(*call), await theirs.call(*call)
            assert mine == wanted, call
        assert await ours.look() == await theirs.look()
        again = Application(make(manager))  # nothing is in the process alone
        assert await again.look() == await theirs.look()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(calls, max_size=12))
def test_any_series_of_calls_gives_what_the_store_in_memory_gives(series: list[tuple[Any, ...]]) -> None:
    asyncio.run(_as_coroutine(compare(ManagedConversationStore, series)))


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(calls, max_size=12))
def test_so_does_a_store_without_a_fence(series: list[tuple[Any, ...]]) -> None:
    asyncio.run(_as_coroutine(compare(lambda manager: ManagedConversationStore(manager, epoch=False), series)))


async def _as_coroutine(awaitable: Awaitable[None]) -> None:
    await awaitable
