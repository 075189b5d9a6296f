"""Frameworks and a desk share one session; each reads what the others wrote."""

import pytest

pytest.importorskip("pydantic_ai")
pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart

from chat_session import SessionManager
from chat_session.adapters.llama_index import ManagedChatStore
from chat_session.adapters.pydantic_ai import ManagedConversationStore


async def test_a_desk_and_two_frameworks_share_a_transcript(manager: SessionManager) -> None:
    await manager.create_session("ann", session_id="s")
    await manager.add_message("s", {"from": "user", "text": "Hello"})
    conversations, chats = ManagedConversationStore(manager), ManagedChatStore(manager)

    loaded = await conversations.load("s")
    assert loaded is not None
    added: list[ModelMessage] = [
        ModelResponse(parts=[ToolCallPart("find", {"n": 1}, "c1")]),
        ModelRequest(parts=[ToolReturnPart("find", "in Lyon", "c1")]),
        ModelResponse(parts=[TextPart("It is in Lyon")]),
    ]
    loaded.messages.extend(added)
    await conversations.save(loaded)
    await manager.add_message("s", {"from": "operator", "text": "Bob here"})
    call = ToolCallBlock(tool_call_id="c1", tool_name="send", tool_kwargs={})  # the same id as the other framework's
    more = [
        ChatMessage(role="user", content="Send it"),
        ChatMessage(role="assistant", blocks=[call]),
        ChatMessage(role="tool", content="sent", additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage(role="assistant", content="Done"),
    ]
    await chats.add_messages("s", more)

    read = await chats.get_messages("s")
    assert [(chat.role.value, chat.content) for chat in read[:5]] == [
        ("user", "Hello"),
        ("assistant", 'find({"n":1})'),
        ("assistant", "in Lyon"),
        ("assistant", "It is in Lyon"),
        ("assistant", "Bob here"),
    ]
    assert read[5:] == more

    loaded = await conversations.load("s")
    assert loaded is not None
    assert loaded.messages[1:4] == added
    parts = [part for message in loaded.messages for part in message.parts]
    assert [getattr(part, "content", None) for part in parts[4:]] == ["Bob here", "Send it", "send({})", "sent", "Done"]

    shown = [(message.sender, message.text) for message in await manager.get_history("s")]
    assert shown == [
        ("user", "Hello"),
        ("assistant", "It is in Lyon"),
        ("operator", "Bob here"),
        ("user", "Send it"),
        ("assistant", "Done"),
    ]
