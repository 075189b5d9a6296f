"""This package, through what an application calls."""

import asyncio
from collections.abc import Sequence
from typing import Any

from benchmarks.messages import HISTORY, TTL, next_text
from benchmarks.peers.protocol import WINDOW_TOKENS, Peer, user_name
from chat_session import SessionManager


class Ours(Peer):
    name = "chat-session"
    package = "chat-session"
    bounded = True

    async def open(self) -> None:
        self.manager = SessionManager.from_url(
            self.server.unix_url(self.database), max_message_history=HISTORY, default_session_ttl=TTL
        )

    async def close(self) -> None:
        await self.manager.close()

    async def fill(self, sessions: Sequence[str]) -> None:
        async def fill_one(session: str) -> None:
            await self.manager.create_session("someone", session_id=session)
            await self.manager.add_messages(session, [_message() for _ in range(HISTORY)])

        for start in range(0, len(sessions), 100):
            await asyncio.gather(*map(fill_one, sessions[start : start + 100]))

    def length(self, session: str) -> int:
        return int(self.raw.llen(f"session:{session}:history"))

    async def populate(self, sessions: int, per_user: int) -> None:
        numbers = iter(range(sessions))

        async def create_some() -> None:
            for number in numbers:
                await self.manager.create_session(user_name(number // per_user))

        await asyncio.gather(*(create_some() for _ in range(128)))

    async def append_one(self, session: str) -> None:
        await self.manager.add_message(session, _message())

    async def append_ten(self, session: str) -> None:
        await self.manager.add_messages(session, [_message() for _ in range(10)])

    async def read_20(self, session: str) -> Any:
        return await self.manager.get_history(session, 20)

    async def read_100(self, session: str) -> Any:
        return await self.manager.get_history(session, 100)

    async def window_20(self, session: str) -> Any:
        return await self.manager.get_window(session, messages=20, tokens=WINDOW_TOKENS)

    async def pop(self, session: str) -> Any:
        await self.append_one(session)
        return await self.manager.pop_messages(session)

    async def replace_20(self, session: str) -> None:
        await self.manager.replace_history(session, [_message() for _ in range(20)])

    async def clear(self, session: str) -> None:
        await self.manager.clear_history(session)
        await self.append_one(session)

    async def create(self, session: str) -> None:
        await self.manager.create_session("someone", {"name": "Order 4711"}, session_id=session)

    async def list_user(self, user: str) -> Any:
        return await self.manager.get_user_sessions(user)

    def texts(self, history: Any) -> list[str]:
        return [message.text for message in history]


def _message() -> dict[str, Any]:
    return {"from": "user", "text": next_text()}
