"""The floor: the same scripts, sent by bare redis-py. No checks, no values, no batching, no retries that are safe."""

import uuid
from hashlib import sha1
from typing import Any, ClassVar

from benchmarks.messages import HISTORY, TTL, next_number, next_text
from benchmarks.peers.protocol import TEMPLATE, Peer, open_client
from chat_session import SessionManager
from chat_session.storage.redis.keys import IndexEntry, Order, SessionKeys
from chat_session.storage.redis.messages import is_tombstone
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.scripts import sessions as scripts
from chat_session.storage.redis.scripts.loading import load

SCRIPTS = ("append_messages", "get_history", "create_session", "replace_elements", "replace_history")
NOW = "2026-01-31T08:00:00.000Z"
TOMBSTONE = b'{"id":"x","from":"user","text":"","timestamp":"%b","type":"retracted"}' % NOW.encode()


class Floor(Peer):
    name = "redis-py, same scripts"
    package = "redis"
    bounded = True
    cannot: ClassVar = {"window_20": "no windows", "list_user": "not one script"}
    remarks: ClassVar = {
        "read_20": "gives bytes, not messages",
        "read_100": "gives bytes, not messages",
        "pop": "three scripts: append, read the last, put a tombstone in its place",
    }

    async def open(self) -> None:
        self.client: Any = open_client(self.server, self.database)
        for name in SCRIPTS:
            await self.client.script_load(load(name).text)

    async def close(self) -> None:
        await self.client.aclose()

    async def write_template(self) -> None:
        async with SessionManager.from_url(self.server.unix_url(self.database), default_session_ttl=TTL) as manager:
            await manager.create_session("someone", session_id=TEMPLATE)
        await self._append(TEMPLATE, HISTORY)

    def keys(self, session: str) -> tuple[str, ...]:
        return tuple(f"session:{session}:{part}" for part in ("meta", "agent", "history", "ids"))

    def length(self, session: str) -> int:
        return int(self.raw.llen(self.keys(session)[2]))

    async def append_one(self, session: str) -> None:
        await self._append(session, 1)

    async def append_ten(self, session: str) -> None:
        await self._append(session, 10)

    async def read_20(self, session: str) -> Any:
        return (await self._read(session, 20))[1]

    async def read_100(self, session: str) -> Any:
        return (await self._read(session, 100))[1]

    async def pop(self, session: str) -> Any:
        await self._append(session, 1)
        while True:
            seq, [element] = await self._read(session, 1)
            number = next_number()
            call = scripts.replace_elements(
                session,
                SessionKeys(*self._packed_keys(session)),
                now=NOW,
                default_ttl=TTL,
                epoch=None,
                newest=seq,
                token=f"floor.{number}",
                answered_below=number,
                tag="ab",
                changes=[(seq, sha1(element, usedforsecurity=False).hexdigest(), TOMBSTONE)],
            )
            if (await self._send(call))[0] == b"OK":  # else another task appended to the session meanwhile
                return [element]

    async def replace_20(self, session: str) -> None:
        await self._replace(session, 20)

    async def clear(self, session: str) -> None:
        await self._replace(session, 0)
        await self._append(session, 1)

    async def create(self, session: str) -> None:
        await self._run(
            scripts.create_session(
                self._packed_keys(session),  # type: ignore[arg-type]  # any four keys do
                [
                    IndexEntry(b"sessions:due:0", f"{session}/someone".encode(), Order.DEADLINE),
                    IndexEntry(b"user:someone:sessions", session.encode(), Order.CREATION),
                ],
                token=(token := uuid.uuid4().hex[:8]),
                ttl=TTL,
                created_ms=1_800_000_000_000,
                new_agent="ai",
                fields={
                    "userId": b"someone",
                    "sessionId": session.encode(),
                    "createdAt": NOW.encode(),
                    "lastActiveAt": NOW.encode(),
                    "currentAgent": b"ai",
                    "ttl": b"%d" % TTL,
                    "agentEpoch": b"0",
                    "messageCount": b"0",
                    "cs:created": token.encode(),
                    "name": b"Order 4711",
                },
                first_seq=1,
                elements=(),
            )
        )

    def texts(self, history: Any) -> list[str]:
        return [element.decode() for element in history if not is_tombstone(element)]

    async def _append(self, session: str, count: int) -> None:
        call = scripts.append_messages(
            session,
            self._packed_keys(session),  # type: ignore[arg-type]
            now=NOW,
            default_ttl=TTL,
            max_history=HISTORY,
            epoch=None,
            noted="",
            elements=[_element() for _ in range(count)],  # type: ignore[misc]
        )
        await self._run(call)

    async def _read(self, session: str, limit: int) -> Any:
        """The sequence number of the first element, and the elements."""
        keys = SessionKeys(*self._packed_keys(session))
        return (await self._run(scripts.get_history(session, keys, limit=limit, before=None, after=None)))[1:]

    async def _replace(self, session: str, count: int) -> None:
        number = next_number()
        call = scripts.replace_history(
            session,
            SessionKeys(*self._packed_keys(session)),
            now=NOW,
            default_ttl=TTL,
            max_history=HISTORY,
            epoch=None,
            expect_seq=None,
            expect_revision=None,
            token=f"floor.{number}",
            answered_below=number,
            tag="ab",
            elements=[_element() for _ in range(count)],  # type: ignore[misc]
        )
        await self._run(call)

    async def _run(self, call: Call[Any]) -> Any:
        reply = await self._send(call)
        if reply[0] != b"OK":
            raise RuntimeError(f"{call.script.name} answered {reply[0]!r}")
        return reply

    async def _send(self, call: Call[Any]) -> Any:
        return await self.client.execute_command(*call.as_evalsha())

    def _packed_keys(self, session: str) -> tuple[bytes, ...]:
        return tuple(key.encode() for key in self.keys(session))


def _element() -> tuple[bytes, bytes, bytes]:
    name = b"%032x" % next_number()
    json = b'{"id":"%b","from":"user","text":"%b","timestamp":"%b"}' % (name, next_text().encode(), NOW.encode())
    return name, b"0123456789abcdef", json
