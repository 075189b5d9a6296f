"""Histories that were trimmed and retracted, with others talking in between, are such that the providers take them."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")
pytest.importorskip("llama_index.core")

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from pydantic_ai.conversation import Conversation
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart

from chat_session import SessionManager
from chat_session.adapters.llama_index import ManagedChatStore
from chat_session.adapters.pydantic_ai import ManagedConversationStore

ids = st.sampled_from(["c1", "c2", "c3", "c4"])  # few, so that they are used again
steps = st.one_of(
    st.tuples(
        st.just("turn"), st.lists(ids, max_size=3, unique=True), st.sampled_from(["at once", "slowly", "interrupted"])
    ),
    st.tuples(st.just("other"), st.sampled_from(["user", "operator", "system", "tool"])),
    st.tuples(st.just("takeover")),
    st.tuples(st.just("retract"), st.integers(0, 9)),
)
series = st.lists(steps, min_size=1, max_size=14)


def check(events: list[tuple[str, list[str]]]) -> None:
    """Answers stand directly behind the message with their calls, and each call is answered once at most."""
    open_calls: set[str] = set()
    for kind, call_ids in events:
        if kind == "answer":
            for call in call_ids:
                assert call in open_calls, f"{call} is answered without a call: {events}"
                open_calls.discard(call)
        else:
            open_calls = set(call_ids) if kind == "call" else set()


async def run_others(manager: SessionManager, session_id: str, step: tuple[Any, ...]) -> None:
    """What a desk does in the session."""
    if await manager.get_session(session_id) is None:
        await manager.create_session("ann", session_id=session_id)
    if step[0] == "other":
        answers = ["c1"] if step[1] == "tool" else []
        await manager.add_message(session_id, {"from": step[1], "text": "by the way", "answers": answers})
    elif step[0] == "takeover":
        await manager.switch_agent(session_id, "human", note="Bob took over")
    elif step[0] == "retract":
        messages = await manager.get_history(session_id, 1000, include_internal=True)
        if messages:
            await manager.retract_message(session_id, messages[step[1] % len(messages)].id or "")


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@example([("turn", ["c1"], "interrupted")], 9, None)
@given(series, st.integers(1, 9), st.none() | st.integers(1, 8))
def test_no_answer_of_pydantic_ai_is_without_its_call(
    series: list[tuple[Any, ...]], bound: int, limit: int | None
) -> None:
    asyncio.run(_run_pydantic_ai(series, bound, limit))


async def _run_pydantic_ai(series: list[tuple[Any, ...]], bound: int, limit: int | None) -> None:
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        store = ManagedConversationStore(manager, max_history=bound, epoch=False)

        async def save(*messages: ModelMessage) -> None:
            conversation = await store.load("c") or Conversation(conversation_id="c")
            conversation.messages.extend(messages)
            await store.save(conversation)

        for step in series:
            if step[0] != "turn":
                await run_others(manager, "c", step)
                continue
            _, calls, pace = step
            call = ModelResponse(parts=[*(ToolCallPart("t", {}, each) for each in calls), TextPart("x")])
            answer = ModelRequest(parts=[ToolReturnPart("t", "r", each) for each in calls])
            messages: list[ModelMessage] = [ModelRequest.user_text_prompt("hi"), call, *([answer] if calls else [])]
            if pace == "at once":
                await save(*messages)
            else:
                for message in messages:
                    await save(message)
                    if pace == "interrupted":
                        await run_others(manager, "c", ("other", "user"))
        history = await store.load("c")
        check(_events(history.messages if history else []))
        if limit is not None and history is not None:
            part = await store.load("c", limit=limit)
            assert part is not None
            assert part.messages == history.messages[-limit:]


def _events(messages: list[ModelMessage]) -> list[tuple[str, list[str]]]:
    events = []
    for message in messages:
        calls = [part.tool_call_id for part in message.parts if isinstance(part, ToolCallPart)]
        answers = [part.tool_call_id for part in message.parts if isinstance(part, ToolReturnPart)]
        events.append(("answer", answers) if answers else ("call", calls))
    return events


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@example([("turn", ["c1"], "interrupted")], 9)
@given(series, st.integers(1, 9))
def test_no_answer_of_llama_index_is_without_its_call(series: list[tuple[Any, ...]], bound: int) -> None:
    asyncio.run(_run_llama_index(series, bound))


async def _run_llama_index(series: list[tuple[Any, ...]], bound: int) -> None:
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        store = ManagedChatStore(manager, max_history=bound, epoch=False)
        for step in series:
            if step[0] != "turn":
                await run_others(manager, "k", step)
                continue
            _, calls, pace = step
            blocks = [ToolCallBlock(tool_call_id=each, tool_name="t") for each in calls]
            answers = [
                ChatMessage(role="tool", content="r", additional_kwargs={"tool_call_id": each}) for each in calls
            ]
            chats = [ChatMessage(role="user", content="hi"), ChatMessage(role="assistant", blocks=blocks), *answers]
            if pace == "at once":
                await store.add_messages("k", chats)
            else:
                for chat in chats:
                    await store.add_message("k", chat)
                    if pace == "interrupted":
                        await run_others(manager, "k", ("other", "user"))
        events = []
        for chat in await store.get_messages("k", status=None):
            calls = [block.tool_call_id or "" for block in chat.blocks if isinstance(block, ToolCallBlock)]
            is_answer = chat.role == "tool"
            events.append(("answer", [chat.additional_kwargs["tool_call_id"]]) if is_answer else ("call", calls))
        check(events)
