"""One session that two frameworks and a support desk write, and each of them reads."""

import pytest

pytest.importorskip("agents")
pytest.importorskip("agent_framework")

from agent_framework import Content
from agent_framework import Message as Native

from chat_session import SessionManager
from chat_session.adapters.agent_framework import ManagedHistoryProvider
from chat_session.adapters.openai_agents import ManagedSession


async def test_each_framework_reads_its_own_items_and_the_words_of_the_others(manager: SessionManager) -> None:
    session, provider = ManagedSession("s", manager), ManagedHistoryProvider(manager)
    own_items = [
        {"role": "user", "content": "Where is my order?"},
        {"type": "function_call", "call_id": "1", "name": "find", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "in the post"},
        {"role": "assistant", "content": "In the post"},
    ]
    await session.add_items(own_items)  # type: ignore[arg-type]  # an item is a union of typed dicts
    own_messages = [
        Native("user", ["And my money?"]),
        Native("assistant", [Content.from_function_call("2", "refund", arguments="{}")]),
        Native("tool", [Content.from_function_result("2", result="done")]),
        Native("assistant", ["It is on its way"]),
    ]
    await provider.save_messages("s", own_messages)
    await manager.add_message("s", {"from": "operator", "text": "Anna here"})

    items = await session.get_items()
    assert items[:4] == own_items
    others = ["And my money?", "refund({})", "done", "It is on its way", "Anna here"]
    assert [item["content"] for item in items[4:]] == others  # type: ignore[typeddict-item]
    assert [item["role"] for item in items[4:]] == ["user", *["assistant"] * 4]  # type: ignore[typeddict-item]

    messages = await provider.get_messages("s")
    assert [each.to_dict() for each in messages[4:8]] == [each.to_dict() for each in own_messages]
    assert [each.text for each in messages[:4]] == ["Where is my order?", "find({})", "in the post", "In the post"]
    assert messages[8].text == "Anna here"

    visible = ["Where is my order?", "In the post", "And my money?", "It is on its way", "Anna here"]
    assert [message.text for message in await manager.get_history("s")] == visible
