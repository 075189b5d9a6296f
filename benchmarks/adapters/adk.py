"""Google ADK's own session services next to ours: ``python -m benchmarks.adapters.adk [--quick] [--json FILE]``.

Each round measures every service once, in another order, so that a slow moment of the machine meets all of them. The
table shows the medians of the rounds. Services on SQLite write a file of their own, those on Redis share one server.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from google.adk.events import Event
from google.adk.integrations.redis import RedisSessionService, RedisSessionServiceConfig
from google.adk.sessions import BaseSessionService, DatabaseSessionService
from google.adk.sessions import Session as AdkSession
from google.genai import types
from redis.asyncio import Redis

from benchmarks.adapters.rounds import Case, Comparison, expect, run
from chat_session import Message, SessionManager
from chat_session.adapters.adk import ManagedSessionService
from chat_session.adapters.adk.events import to_message
from testkit.programs import need_server
from testkit.servers import UNSAVED, Server

APP, USER = "bench", "ann"
SHORT, LONG, MIDDLE = 10, 1_900, 100  # events of a session
LISTED = 100  # sessions of a user
TEXT = "Could you tell me when my order arrives? " * 5

Fill = Callable[[str, list[Event]], Awaitable[None]]


class Contestant:
    """A service, and how a session of many events is made in its store without as many appends."""

    def __init__(self, service: BaseSessionService, fill: Fill) -> None:
        self.service = service
        self.fill = fill

    async def prepare(self) -> None:
        for session_id, length in (("short", SHORT), ("long", LONG), ("middle", MIDDLE)):
            await self.service.create_session(app_name=APP, user_id=USER, session_id=session_id)
            await self.fill(session_id, [make_event() for _ in range(length)])
        for n in range(LISTED):
            await self.service.create_session(app_name=APP, user_id="many", session_id=f"s{n}", state={"n": n})

    def cases(self) -> dict[str, Case]:
        """An append is measured without the read before it."""
        read: dict[str, AdkSession] = {}

        async def append(session_id: str) -> None:
            await self.service.append_event(read[session_id], make_event())

        async def read_once(session_id: str) -> None:
            if session_id not in read:
                read[session_id] = await self._get(session_id)

        async def load() -> None:
            expect(len((await self._get("middle")).events) == MIDDLE)

        async def list_sessions() -> None:
            expect(len((await self.service.list_sessions(app_name=APP, user_id="many")).sessions) == LISTED)

        return {
            f"append, {SHORT} events before": Case(lambda: append("short"), lambda: read_once("short")),
            f"append, {LONG:,} events before": Case(lambda: append("long"), lambda: read_once("long")),
            f"load {MIDDLE} events": Case(load),
            f"list {LISTED} sessions of a user": Case(list_sessions),
        }

    async def _get(self, session_id: str) -> AdkSession:
        found = await self.service.get_session(app_name=APP, user_id=USER, session_id=session_id)
        if found is None:
            raise RuntimeError(f"the session {session_id} was lost")
        return found


def make_event() -> Event:
    content = types.Content(role="model", parts=[types.Part(text=TEXT)])
    return Event(author="helper", invocation_id="i1", content=content)


@asynccontextmanager
async def open_contestants(folder: Path) -> AsyncIterator[dict[str, Contestant]]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(Server(need_server(), folder, *UNSAVED))
        database = await stack.enter_async_context(DatabaseSessionService(f"sqlite+aiosqlite:///{folder / 'adk.db'}"))
        client = await stack.enter_async_context(Redis.from_url(server.url, decode_responses=True))
        on_redis = RedisSessionService(RedisSessionServiceConfig(), client)
        contestants = {
            "ADK Database (SQLite)": Contestant(database, _fill_by_appends(database)),
            "ADK Redis": Contestant(on_redis, _fill_redis(client)),
        }
        urls = {"ours (SQLite)": f"sqlite:///{folder / 'ours.db'}", "ours (Redis)": server.url.replace("/0", "/1")}
        for name, url in urls.items():
            manager = await stack.enter_async_context(SessionManager.from_url(url))
            ours = ManagedSessionService(manager, max_history=10_000)
            contestants[name] = Contestant(ours, _fill_ours(manager))
        yield contestants


def _fill_by_appends(service: BaseSessionService) -> Fill:
    async def fill(session_id: str, events: list[Event]) -> None:
        session = await service.get_session(app_name=APP, user_id=USER, session_id=session_id)
        if session is None:
            raise RuntimeError(f"the session {session_id} was lost")
        for event in events:
            await service.append_event(session, event)

    return fill


def _fill_redis(client: Any) -> Fill:
    async def fill(session_id: str, events: list[Event]) -> None:
        session = AdkSession(id=session_id, app_name=APP, user_id=USER, events=events)
        await client.set(f"adk:session:{APP}:{USER}:{session_id}", session.model_dump_json())

    return fill


def _fill_ours(manager: SessionManager) -> Fill:
    async def fill(session_id: str, events: list[Event]) -> None:
        messages: list[Message] = [to_message(event, 10_000) for event in events]
        await manager.add_messages(f"{APP}:{USER}:{session_id}", messages)

    return fill


COMPARISON = Comparison(open_contestants, Contestant.prepare, Contestant.cases)

if __name__ == "__main__":
    run("benchmarks.adapters.adk", COMPARISON)
