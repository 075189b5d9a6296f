"""Microsoft agent-framework: RedisHistoryProvider, with its own bound of messages."""

from typing import Any, ClassVar

from agent_framework import Message
from agent_framework.redis import RedisHistoryProvider

from benchmarks.messages import HISTORY, next_text
from benchmarks.peers.protocol import TEMPLATE, Peer, open_client


class AgentFramework(Peer):
    name = "agent-framework"
    package = "agent-framework-redis"
    bounded = True
    cannot: ClassVar = {
        "window_20": "no windows",
        "pop": "no such call",
        "create": "made by the first append",
        "list_user": "no users",
    }
    remarks: ClassVar = {
        "append": "reads all before each write, trims in a second step",
        "read_20": "reads all",
        "replace_20": "clear, then save_messages, which reads before it writes",
        "clear": "the append reads before it writes",
    }

    async def open(self) -> None:
        self.client = open_client(self.server, self.database, decode_responses=True)
        self.provider = RedisHistoryProvider(redis_client=self.client, application_id="bench", max_messages=HISTORY)

    async def close(self) -> None:
        await self.client.aclose()

    async def write_template(self) -> None:
        await self.provider.save_messages(TEMPLATE, [_message() for _ in range(HISTORY)])
        [key] = self.raw.keys("*")  # the form of its keys is its own affair
        assert isinstance(key, bytes)
        self.template = key.decode()

    def keys(self, session: str) -> tuple[str, ...]:
        return (self.template.replace(TEMPLATE, session),)

    def length(self, session: str) -> int:
        return int(self.raw.llen(*self.keys(session)))

    async def append_one(self, session: str) -> None:
        await self.provider.save_messages(session, [_message()])

    async def append_ten(self, session: str) -> None:
        await self.provider.save_messages(session, [_message() for _ in range(10)])

    async def read_20(self, session: str) -> Any:
        return (await self.provider.get_messages(session))[-20:]

    async def read_100(self, session: str) -> Any:
        return await self.provider.get_messages(session)

    async def replace_20(self, session: str) -> None:
        await self.provider.clear(session)
        await self.provider.save_messages(session, [_message() for _ in range(20)])

    async def clear(self, session: str) -> None:
        await self.provider.clear(session)
        await self.append_one(session)

    def texts(self, history: Any) -> list[str]:
        return [message.text for message in history]


def _message() -> Message:
    return Message("user", [next_text()])
