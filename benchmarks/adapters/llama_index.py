"""LlamaIndex's own chat stores next to ours: ``python -m benchmarks.adapters.llama_index [--quick] [--json FILE]``.

``SQLAlchemyChatStore`` and ``ManagedChatStore`` are asked the same. ``RedisChatStore`` has the older interface, so
it is asked through its own asynchronous methods; without its package it is left out.
"""

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore
from redis.asyncio import Redis as AsyncRedis
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.adapters.rounds import Call, Case, Comparison, expect, run
from chat_session import SessionManager
from chat_session.adapters.llama_index import ManagedChatStore
from testkit.programs import need_server
from testkit.servers import UNSAVED, Server

LOADED = 100  # messages of the key that is read
LISTED = 100  # keys
TEXT = "Could you tell me when my order arrives? " * 5

Store = AsyncDBChatStore | BaseChatStore


def make_message(number: int) -> ChatMessage:
    return ChatMessage(role="user" if number % 2 == 0 else "assistant", content=TEXT)


@asynccontextmanager
async def open_stores(folder: Path) -> AsyncIterator[dict[str, Store]]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(need_server(), folder, *UNSAVED))
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/llama.db")
        stack.push_async_callback(engine.dispose)
        stores: dict[str, Store] = {
            "SQLAlchemyChatStore (SQLite)": SQLAlchemyChatStore(table_name="bench", async_engine=engine)
        }
        if (theirs := _import_redis_store()) is not None:
            client = await stack.enter_async_context(AsyncRedis.from_url(server.url))
            stores["RedisChatStore"] = theirs(redis_client=server.client(), aredis_client=client)
        urls = {"ours (SQLite)": f"sqlite:///{folder}/ours.db", "ours (Redis)": server.url.replace("/0", "/1")}
        for name, url in urls.items():
            manager = await stack.enter_async_context(SessionManager.from_url(url))
            stores[name] = ManagedChatStore(manager, max_history=10_000)
        yield stores


def _import_redis_store() -> Any:
    try:
        return importlib.import_module("llama_index.storage.chat_store.redis").RedisChatStore
    except ImportError:
        return None


class Methods(NamedTuple):
    """What both interfaces have, under different names."""

    add: Callable[[str, ChatMessage], Awaitable[None]]
    get: Callable[[str], Awaitable[list[ChatMessage]]]
    put: Callable[[str, list[ChatMessage]], Awaitable[None]]
    keys: Callable[[], Awaitable[list[str]]]


def methods_of(store: Store) -> Methods:
    if isinstance(store, AsyncDBChatStore):
        return Methods(store.add_message, store.get_messages, store.set_messages, store.get_keys)
    return Methods(store.async_add_message, store.aget_messages, store.aset_messages, store.aget_keys)


def cases_on(store: Store) -> dict[str, Case]:
    methods, numbers = methods_of(store), count()

    async def append() -> None:
        await methods.add("appended", make_message(next(numbers)))

    async def load() -> None:
        expect(len(await methods.get("loaded")) == LOADED)

    async def replace() -> None:
        await methods.put("replaced", [make_message(number) for number in range(LOADED)])

    async def list_keys() -> None:
        expect(len(await methods.keys()) >= LISTED)

    cases = {"append one": append, f"load {LOADED} messages": load, f"set {LOADED} messages": replace}
    return {
        **{row: Case(call) for row, call in cases.items()},
        **_pops(store, append),
        f"list {LISTED} keys": Case(list_keys),
    }


def _pops(store: Store, append: Call) -> dict[str, Case]:
    """What takes messages away; the interfaces have different calls for it."""

    async def archive() -> None:
        expect(isinstance(store, AsyncDBChatStore) and await store.archive_oldest_messages("appended", 1))

    async def delete() -> None:
        expect(isinstance(store, AsyncDBChatStore) and await store.delete_oldest_messages("appended", 1))

    async def delete_last() -> None:
        expect(isinstance(store, BaseChatStore) and await store.adelete_last_message("appended"))

    if isinstance(store, AsyncDBChatStore):
        return {"archive the oldest": Case(archive, append), "delete the oldest": Case(delete, append)}
    return {"delete the last": Case(delete_last, append)}


async def prepare(store: Store) -> None:
    messages = [make_message(number) for number in range(LOADED)]
    methods = methods_of(store)
    await methods.put("loaded", messages)
    for number in range(LISTED):
        await methods.put(f"k{number}", messages[:1])


COMPARISON = Comparison(open_stores, prepare, cases_on)

if __name__ == "__main__":
    run("benchmarks.adapters.llama_index", COMPARISON)
