"""pydantic-ai's own store next to ours: ``python -m benchmarks.adapters.pydantic_ai [--quick] [--json FILE]``.

The framework has none but the one in memory, which keeps nothing. The table shows what it costs to keep conversations.
A turn is a load, and a save of a prompt and an answer, without a model.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationStore, InMemoryConversationStore
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart

from benchmarks.adapters.rounds import Call, Case, Comparison, expect, run
from chat_session import SessionManager
from chat_session.adapters.pydantic_ai import ManagedConversationStore
from testkit.programs import need_server
from testkit.servers import UNSAVED, Server

LOADED = 100  # messages of the conversation that is loaded
LISTED = 100  # conversations of the scope that is listed
TEXT = "Could you tell me when my order arrives? " * 5


def make_turn() -> list[ModelMessage]:
    return [ModelRequest.user_text_prompt(TEXT), ModelResponse(parts=[TextPart(TEXT)])]


@asynccontextmanager
async def open_stores(folder: Path) -> AsyncIterator[dict[str, ConversationStore]]:
    stores: dict[str, ConversationStore] = {"in memory (keeps nothing)": InMemoryConversationStore()}
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(need_server(), folder, *UNSAVED))
        urls = {"ours (SQLite)": f"sqlite:///{folder}/chat.db", "ours (Redis)": server.url}
        for name, url in urls.items():
            manager = await stack.enter_async_context(SessionManager.from_url(url))
            stores[name] = ManagedConversationStore(manager, max_history=10_000)
        yield stores


async def prepare(store: ConversationStore) -> None:
    messages = [message for _ in range(LOADED // 2) for message in make_turn()]
    await store.save(Conversation(conversation_id="loaded", messages=messages))
    for number in range(LISTED):
        await store.save(Conversation(conversation_id=f"c{number}", messages=make_turn()), scope="ann")


def cases_on(store: ConversationStore) -> dict[str, Case]:
    numbers = count()

    async def begin() -> None:
        await store.save(Conversation(conversation_id=f"new{next(numbers)}", messages=make_turn()))

    async def turn(conversation_id: str, limit: int | None) -> None:
        conversation = await store.load(conversation_id, limit=limit)
        if conversation is None:
            raise RuntimeError("the conversation was lost")
        conversation.messages.extend(make_turn())
        await store.save(conversation)

    async def load() -> None:
        conversation = await store.load("loaded", limit=LOADED)
        expect(conversation is not None and len(conversation.messages) == LOADED)

    async def list_them() -> None:
        expect(len(await store.list_conversations(scope="ann")) == LISTED)

    calls: dict[str, Call] = {
        "begin a conversation": begin,
        "a turn, 2 messages before": lambda: turn("c0", 2),
        f"load {LOADED} messages": load,
        f"a turn, {LOADED} messages before": lambda: turn("loaded", LOADED),
        f"list {LISTED} conversations": list_them,
    }
    return {row: Case(call) for row, call in calls.items()}


COMPARISON = Comparison(open_stores, prepare, cases_on)

if __name__ == "__main__":
    run("benchmarks.adapters.pydantic_ai", COMPARISON)
