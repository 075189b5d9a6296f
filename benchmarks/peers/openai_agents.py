"""openai-agents: RedisSession. A session object per call, as a request handler makes one; one client for all."""

from typing import Any, ClassVar

from agents.extensions.memory import RedisSession

from benchmarks.messages import HISTORY, TTL, next_text
from benchmarks.peers.protocol import TEMPLATE, Peer, open_client


class OpenAIAgents(Peer):
    name = "openai-agents"
    package = "openai-agents"
    cannot: ClassVar = {"window_20": "no windows", "create": "made by the first append", "list_user": "no users"}
    remarks: ClassVar = {
        "append": "WATCH and try again; no bound",
        "pop": "add_items with WATCH, then RPOP",
        "replace_20": "clear_session, then add_items: two steps, each with WATCH",
        "clear": "two steps, each with WATCH",
    }

    async def open(self) -> None:
        self.client = open_client(self.server, self.database)

    async def close(self) -> None:
        await self.client.aclose()

    async def write_template(self) -> None:
        await self._session(TEMPLATE).add_items([_item() for _ in range(HISTORY)])

    def keys(self, session: str) -> tuple[str, ...]:
        return (f"agents:session:{session}", f"agents:session:{session}:messages")

    def length(self, session: str) -> int:
        return int(self.raw.llen(f"agents:session:{session}:messages"))

    async def append_one(self, session: str) -> None:
        await self._session(session).add_items([_item()])

    async def append_ten(self, session: str) -> None:
        await self._session(session).add_items([_item() for _ in range(10)])

    async def read_20(self, session: str) -> Any:
        return await self._session(session).get_items(20)

    async def read_100(self, session: str) -> Any:
        return await self._session(session).get_items(100)

    async def pop(self, session: str) -> Any:
        await self.append_one(session)
        return [await self._session(session).pop_item()]

    async def replace_20(self, session: str) -> None:
        opened = self._session(session)
        await opened.clear_session()
        await opened.add_items([_item() for _ in range(20)])

    async def clear(self, session: str) -> None:
        await self._session(session).clear_session()
        await self.append_one(session)

    def texts(self, history: Any) -> list[str]:
        return [item["content"] for item in history]

    def _session(self, session: str) -> RedisSession:
        return RedisSession(session, redis_client=self.client, ttl=TTL)


def _item() -> Any:
    return {"role": "user", "content": next_text()}
