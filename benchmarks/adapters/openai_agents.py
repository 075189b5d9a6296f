"""The OpenAI Agents SDK's RedisSession next to ours: ``python -m benchmarks.adapters.openai_agents [--quick]``."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from agents import Session
from agents.extensions.memory import RedisSession
from redis.asyncio import Redis

from benchmarks.adapters.rounds import Case, Comparison, expect, run
from chat_session import SessionManager
from chat_session.adapters.openai_agents import ManagedSession
from testkit.programs import need_server
from testkit.servers import UNSAVED, Server

ITEM: Any = {"role": "user", "content": "Where is my order? It should have come on Monday."}
LOADED = 100  # items of the session that is read
TTL = 3600

Open = Callable[[str], Session]  # by the session id


@asynccontextmanager
async def open_stores(folder: Path) -> AsyncIterator[dict[str, Open]]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(need_server(), folder, *UNSAVED))
        client = await stack.enter_async_context(Redis.from_url(server.url))
        manager = await stack.enter_async_context(
            SessionManager.from_url(server.url.replace("/0", "/1"), default_session_ttl=TTL)
        )
        yield {
            "RedisSession": lambda name: RedisSession(name, redis_client=client, ttl=TTL),
            "ManagedSession": lambda name: ManagedSession(name, manager),
        }


async def prepare(open_session: Open) -> None:
    await open_session("loaded").add_items([ITEM] * LOADED)


def cases_on(open_session: Open) -> dict[str, Case]:
    numbers = count()

    async def append() -> None:
        await open_session(f"appended{next(numbers)}").add_items([ITEM])

    async def load() -> None:
        expect(len(await open_session("loaded").get_items()) == LOADED)

    async def pop() -> None:
        expect(await open_session("popped").pop_item())

    async def push() -> None:
        await open_session("popped").add_items([ITEM])

    return {"append one": Case(append), f"load {LOADED} items": Case(load), "pop": Case(pop, push)}


COMPARISON = Comparison(open_stores, prepare, cases_on)

if __name__ == "__main__":
    run("benchmarks.adapters.openai_agents", COMPARISON)
