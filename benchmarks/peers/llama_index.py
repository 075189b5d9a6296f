"""LlamaIndex: RedisChatStore, its async methods."""

from typing import Any, ClassVar

from llama_index.core.llms import ChatMessage
from llama_index.storage.chat_store.redis import RedisChatStore

from benchmarks.messages import HISTORY, TTL, next_text
from benchmarks.peers.protocol import TEMPLATE, Peer, open_blocking_client, open_client, user_name


class LlamaIndex(Peer):
    name = "LlamaIndex"
    package = "llama-index-storage-chat-store-redis"
    cannot: ClassVar = {"window_20": "no windows", "create": "no sessions"}
    remarks: ClassVar = {
        "append": "RPUSH, then EXPIRE; no bound",
        "append_ten": "ten calls; no bound",
        "read_20": "reads all",
        "pop": "RPOP in a thread; gives bytes, not a message",
        "replace_20": "DEL, then RPUSH and EXPIRE for each message: 42 commands",
        "list_user": "no users: KEYS * in a thread, the caller looks for a prefix, keys only",
    }

    async def open(self) -> None:
        self.client = open_client(self.server, self.database)
        self.blocking_client = open_blocking_client(self.server, self.database)
        self.store = RedisChatStore(redis_client=self.blocking_client, aredis_client=self.client, ttl=TTL)

    async def close(self) -> None:
        await self.client.aclose()
        self.blocking_client.close()

    async def write_template(self) -> None:
        for _ in range(HISTORY):
            await self.append_one(TEMPLATE)

    def keys(self, session: str) -> tuple[str, ...]:
        return (session,)

    def length(self, session: str) -> int:
        return int(self.raw.llen(session))

    async def populate(self, sessions: int, per_user: int) -> None:
        element = ChatMessage(role="user", content=next_text()).model_dump_json()
        with self.raw.pipeline(transaction=False) as pipeline:
            for number in range(sessions):
                pipeline.rpush(f"{user_name(number // per_user)}:{number}", element)
            pipeline.execute()

    async def append_one(self, session: str) -> None:
        await self.store.async_add_message(session, ChatMessage(role="user", content=next_text()))

    async def append_ten(self, session: str) -> None:
        for _ in range(10):
            await self.append_one(session)

    async def read_20(self, session: str) -> Any:
        return (await self.store.aget_messages(session))[-20:]

    async def read_100(self, session: str) -> Any:
        return await self.store.aget_messages(session)

    async def pop(self, session: str) -> Any:
        await self.append_one(session)
        return [await self.store.adelete_last_message(session)]

    async def replace_20(self, session: str) -> None:
        await self.store.aset_messages(session, [ChatMessage(role="user", content=next_text()) for _ in range(20)])

    async def clear(self, session: str) -> None:
        await self.store.adelete_messages(session)
        await self.append_one(session)

    async def list_user(self, user: str) -> Any:
        return [key for key in await self.store.aget_keys() if key.startswith(f"{user}:")]

    def texts(self, history: Any) -> list[str]:
        messages = (ChatMessage.model_validate_json(each) if isinstance(each, bytes) else each for each in history)
        return [message.content or "" for message in messages]
