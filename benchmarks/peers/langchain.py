"""langchain-community: RedisChatMessageHistory. It is synchronous: many tasks are as many threads.

One object opens two clients and asks the server for INFO; here all of them are given one client, which
spares it that.
"""

import warnings
from typing import Any, ClassVar

from langchain_core.messages import HumanMessage

from benchmarks.messages import HISTORY, TTL, next_text
from benchmarks.peers.protocol import TEMPLATE, Peer, open_blocking_client

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from langchain_community.chat_message_histories import RedisChatMessageHistory


class LangChain(Peer):
    name = "langchain-community"
    package = "langchain-community"
    blocking = True
    cannot: ClassVar = {
        "window_20": "no windows",
        "pop": "no such call",
        "create": "made by the first append",
        "list_user": "no users",
    }
    remarks: ClassVar = {
        "append": "synchronous, in threads; LPUSH, then EXPIRE; no bound",
        "append_ten": "synchronous; ten calls; no bound",
        "read_20": "synchronous, in threads; reads all",
        "read_100": "synchronous, in threads",
        "replace_20": "synchronous, in threads; clear, then one call for each message",
        "clear": "synchronous, in threads",
    }

    async def open(self) -> None:
        self.client = open_blocking_client(self.server, self.database)
        self.histories: dict[str, RedisChatMessageHistory] = {}

    async def close(self) -> None:
        self.client.close()

    async def write_template(self) -> None:
        for _ in range(HISTORY):
            self.append_one(TEMPLATE)

    def keys(self, session: str) -> tuple[str, ...]:
        return (f"message_store:{session}",)

    def length(self, session: str) -> int:
        return int(self.raw.llen(f"message_store:{session}"))

    def append_one(self, session: str) -> None:
        self._history(session).add_message(HumanMessage(next_text()))

    def append_ten(self, session: str) -> None:
        self._history(session).add_messages([HumanMessage(next_text()) for _ in range(10)])

    def read_20(self, session: str) -> Any:
        return self._history(session).messages[-20:]

    def read_100(self, session: str) -> Any:
        return self._history(session).messages

    def replace_20(self, session: str) -> None:
        history = self._history(session)
        history.clear()
        history.add_messages([HumanMessage(next_text()) for _ in range(20)])

    def clear(self, session: str) -> None:
        self._history(session).clear()
        self.append_one(session)

    def texts(self, history: Any) -> list[str]:
        return [message.content for message in history]

    def _history(self, session: str) -> RedisChatMessageHistory:
        if session not in self.histories:
            history = RedisChatMessageHistory(session, url=self.server.unix_url(self.database), ttl=TTL)
            history.redis_client.close()
            history.redis_client = self.client
            self.histories[session] = history
        return self.histories[session]
