"""What one writes first: RPUSH, LTRIM and EXPIRE in a pipeline of redis-py."""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar

from benchmarks.messages import HISTORY, TTL, next_text
from benchmarks.peers.protocol import TEMPLATE, Peer, open_client


class Pipeline(Peer):
    name = "redis-py, RPUSH LTRIM EXPIRE"
    package = "redis"
    bounded = True
    cannot: ClassVar = {"window_20": "no windows", "create": "no sessions", "list_user": "no users"}
    remarks: ClassVar = {"pop": "then RPOP", "replace_20": "DEL first, in the same step", "clear": "DEL first"}

    async def open(self) -> None:
        self.client: Any = open_client(self.server, self.database)

    async def close(self) -> None:
        await self.client.aclose()

    async def write_template(self) -> None:
        await self._append(TEMPLATE, HISTORY)

    def keys(self, session: str) -> tuple[str, ...]:
        return (f"history:{session}",)

    def length(self, session: str) -> int:
        return int(self.raw.llen(f"history:{session}"))

    async def append_one(self, session: str) -> None:
        await self._append(session, 1)

    async def append_ten(self, session: str) -> None:
        await self._append(session, 10)

    async def read_20(self, session: str) -> Any:
        return await self._read(session, 20)

    async def read_100(self, session: str) -> Any:
        return await self._read(session, 100)

    async def pop(self, session: str) -> Any:
        await self._append(session, 1)
        return [json.loads(await self.client.rpop(f"history:{session}"))]

    async def replace_20(self, session: str) -> None:
        key = f"history:{session}"
        async with self.client.pipeline(transaction=True) as pipeline:
            pipeline.delete(key)
            pipeline.rpush(key, *_elements(20))
            pipeline.expire(key, TTL)
            await pipeline.execute()

    async def clear(self, session: str) -> None:
        await self.client.delete(f"history:{session}")
        await self._append(session, 1)

    def texts(self, history: Any) -> list[str]:
        return [message["text"] for message in history]

    async def _append(self, session: str, count: int) -> None:
        key = f"history:{session}"
        async with self.client.pipeline(transaction=True) as pipeline:
            pipeline.rpush(key, *_elements(count))
            pipeline.ltrim(key, -HISTORY, -1)
            pipeline.expire(key, TTL)
            await pipeline.execute()

    async def _read(self, session: str, limit: int) -> Any:
        return [json.loads(element) for element in await self.client.lrange(f"history:{session}", -limit, -1)]


def _elements(count: int) -> list[str]:
    return [
        json.dumps({"from": "user", "text": next_text(), "timestamp": datetime.now(UTC).isoformat()})
        for _ in range(count)
    ]
