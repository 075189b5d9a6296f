"""Google ADK: RedisSessionService of google-adk itself (the community package's asks for a redis-py below 6)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from google.adk.events import Event
from google.adk.integrations.redis import RedisSessionService, RedisSessionServiceConfig
from google.adk.sessions import Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types

from benchmarks.messages import HISTORY, TTL, next_text
from benchmarks.peers.protocol import TEMPLATE, Peer, open_client, user_name

APP = "bench"
USER = "someone"


class GoogleADK(Peer):
    name = "Google ADK"
    package = "google-adk"
    cannot: ClassVar = {"window_20": "no windows", "pop": "no such call", "replace_20": "no such call"}
    remarks: ClassVar = {
        "append": "reads and rewrites the whole session: its cost grows with the history; no bound",
        "append_ten": "ten calls, each rewriting the whole session; no bound",
        "read_20": "reads all",
        "clear": "no such call: deletes the session, creates it again and appends",
        "list_user": "SCAN of every key",
    }

    async def open(self) -> None:
        self.client = open_client(self.server, self.database, decode_responses=True)
        self.service = RedisSessionService(RedisSessionServiceConfig(ttl_seconds=TTL), self.client)

    async def close(self) -> None:
        await self.client.aclose()

    async def write_template(self) -> None:
        await self.create(TEMPLATE)
        for _ in range(HISTORY):
            await self.append_one(TEMPLATE)
        self.template: Any = self.raw.get(_key(TEMPLATE))

    def reset(self, sessions: Sequence[str]) -> None:
        with self.raw.pipeline(transaction=False) as pipeline:
            for session in sessions:
                pipeline.set(_key(session), self.template.replace(TEMPLATE.encode(), session.encode(), 1), ex=TTL)
            pipeline.execute()

    def length(self, session: str) -> int:
        return len(Session.model_validate_json(self.raw.get(_key(session))).events)

    async def populate(self, sessions: int, per_user: int) -> None:
        with self.raw.pipeline(transaction=False) as pipeline:
            for number in range(sessions):
                user, name = user_name(number // per_user), f"s{number}"
                shell = Session(id=name, app_name=APP, user_id=user).model_dump_json()
                pipeline.set(_key(name, user), shell, ex=TTL)
            pipeline.execute()

    async def append_one(self, session: str) -> None:
        # A shell of a session is enough for it to append to, and spares the read of the whole beforehand.
        shell = Session(id=session, app_name=APP, user_id=USER)
        await self.service.append_event(shell, _event())

    async def append_ten(self, session: str) -> None:
        for _ in range(10):
            await self.append_one(session)

    async def read_20(self, session: str) -> Any:
        return await self._read(session, GetSessionConfig(num_recent_events=20))

    async def read_100(self, session: str) -> Any:
        return await self._read(session, None)

    async def clear(self, session: str) -> None:
        await self.service.delete_session(app_name=APP, user_id=USER, session_id=session)
        await self.create(session)
        await self.append_one(session)

    async def create(self, session: str) -> None:
        await self.service.create_session(app_name=APP, user_id=USER, session_id=session, state={"name": "Order 4711"})

    async def list_user(self, user: str) -> Any:
        return (await self.service.list_sessions(app_name=APP, user_id=user)).sessions

    def texts(self, history: Any) -> list[str]:
        return [event.content.parts[0].text for event in history]

    async def _read(self, session: str, config: GetSessionConfig | None) -> Any:
        found = await self.service.get_session(app_name=APP, user_id=USER, session_id=session, config=config)
        return found.events


def _key(session: str, user: str = USER) -> str:
    return f"adk:session:{APP}:{user}:{session}"


def _event() -> Event:
    content = types.Content(role="user", parts=[types.Part(text=next_text())])
    return Event(author="user", invocation_id="i", content=content)
