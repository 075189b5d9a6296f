"""The Agent Framework's RedisHistoryProvider next to ours: ``python -m benchmarks.adapters.agent_framework [--quick]``.

Theirs is in the package agent-framework-redis, and is left out without it.
"""

import importlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from agent_framework import HistoryProvider, Message

from benchmarks.adapters.rounds import Case, Comparison, expect, run
from chat_session import SessionManager
from chat_session.adapters.agent_framework import ManagedHistoryProvider
from testkit.programs import need_server
from testkit.servers import UNSAVED, Server

LOADED = 100  # messages of the session that is read
TTL = 3600
TEXT = "Where is my order? It should have come on Monday."


@asynccontextmanager
async def open_stores(folder: Path) -> AsyncIterator[dict[str, HistoryProvider]]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(need_server(), folder, *UNSAVED))
        stores: dict[str, HistoryProvider] = {}
        if (theirs := _import_redis_provider()) is not None:
            stores["RedisHistoryProvider"] = provider = theirs(
                redis_url=server.url, application_id="bench", max_messages=LOADED
            )
            stack.push_async_callback(provider.aclose)
        manager = await stack.enter_async_context(
            SessionManager.from_url(server.url.replace("/0", "/1"), default_session_ttl=TTL)
        )
        stores["ManagedHistoryProvider"] = ManagedHistoryProvider(manager)
        yield stores


def _import_redis_provider() -> Any:
    try:
        return importlib.import_module("agent_framework_redis").RedisHistoryProvider
    except ImportError:
        return None


async def prepare(provider: HistoryProvider) -> None:
    await provider.save_messages("loaded", [Message("user", [TEXT]) for _ in range(LOADED)])


def cases_on(provider: HistoryProvider) -> dict[str, Case]:
    numbers = count()

    async def append() -> None:
        await provider.save_messages(f"appended{next(numbers)}", [Message("user", [TEXT])])

    async def load() -> None:
        expect(len(await provider.get_messages("loaded")) == LOADED)

    return {"append one": Case(append), f"load {LOADED} messages": Case(load)}


COMPARISON = Comparison(open_stores, prepare, cases_on)

if __name__ == "__main__":
    run("benchmarks.adapters.agent_framework", COMPARISON)
