"""Reading a history from Redis: the facts of the session and LRANGE in one transaction.

So no payload passes through a script: 100 messages of 1 MiB block a server for 430 ms in a script, for 31 ms in LRANGE.
"""

from typing import Any, NamedTuple, cast

from chat_session.errors import SessionNotFound, StoreCorrupt
from chat_session.message import Message
from chat_session.storage.codec import decode_message
from chat_session.storage.redis.codec import decode_number
from chat_session.storage.redis.keys import SessionKeys
from chat_session.storage.redis.net.commands import Call, Command, PlainCommand, ReadTransaction
from chat_session.storage.redis.net.decoders import integer, optional_texts, refuse, texts
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import sessions as scripts

MAX_TRIES = 3  # of a page, while others append; then the script reads it in one step


class Page(NamedTuple):
    """Stored messages, the first of them with the sequence number ``first``."""

    first: int
    elements: list[bytes]

    def decode(self) -> list[Message]:
        return [decode_message(element, seq) for seq, element in enumerate(self.elements, self.first)]


class _Facts(NamedTuple):
    """How many messages are retained, the newest sequence number given out, and elements that were asked for."""

    length: int
    last: int
    elements: list[bytes]


class HistoryReader:
    """Reads the history of one session. Raises SessionNotFound, StoreCorrupt."""

    def __init__(self, executor: CommandExecutor, session_id: str, keys: SessionKeys) -> None:
        self._executor = executor
        self._session_id = session_id
        self._keys = keys

    async def newest(self, name: str, limit: int) -> Page:
        """The newest ``limit`` messages. One round trip."""
        found = await self._read(name, -limit, -1, self._script(limit, None, None))
        return found if isinstance(found, Page) else Page(found.last - len(found.elements) + 1, found.elements)

    async def window(self, name: str, limit: int, before: int | None, after: int | None) -> Page:
        """As SessionStore.get_history. Two round trips, or one if there is nothing to read."""
        facts = await self._read_facts(name)
        for _ in range(MAX_TRIES):
            first, end = _find_range(facts, limit, before, after)
            if first > end:
                return Page(first, [])
            script = self._script(limit, before, after)
            found = await self._read(name, first - facts.last - 1, end - facts.last - 1, script)
            if isinstance(found, Page):
                return found
            if found.last == facts.last and len(found.elements) == end - first + 1:
                return Page(first, found.elements)
            facts = found
        return await self._executor.run(name, self._script(limit, before, after))

    async def _read_facts(self, name: str) -> _Facts:
        commands: list[Command[Any]] = [
            PlainCommand((b"HMGET", self._keys.meta, b"userId", b"messageCount"), _two_texts),
            PlainCommand((b"LLEN", self._keys.history), integer),
        ]
        found, length = await self._executor.run_all(name, commands)
        return self._facts(found, length, [])

    async def _read(self, name: str, start: int, stop: int, script: Call[Page]) -> _Facts | Page:
        """``start`` and ``stop`` count from the newest, which is -1. ``script``: for where a transaction is refused."""

        def decode(reply: Any) -> _Facts | Page:
            if type(reply) is not list or len(reply) != 3:  # noqa: PLR2004
                refuse(reply)
            return self._facts(_two_texts(reply[0]), integer(reply[1]), texts(reply[2]))

        commands = (
            (b"HMGET", self._keys.meta, b"userId", b"messageCount"),
            (b"LLEN", self._keys.history),
            (b"LRANGE", self._keys.history, start, stop),
        )
        fallback = cast(Call[_Facts | Page], script)
        return await self._executor.run(name, ReadTransaction(commands, decode, fallback))

    def _script(self, limit: int, before: int | None, after: int | None) -> Call[Page]:
        call = scripts.get_history(self._session_id, self._keys, limit=limit, before=before, after=after)
        return Call(call.script, call.keys, call.args, lambda reply: Page(*call.decode(reply)))

    def _facts(self, found: list[bytes | None], length: int, elements: list[bytes]) -> _Facts:
        user_id, counted = found
        if user_id is None:
            raise SessionNotFound(self._session_id)
        try:
            count = decode_number(b"0" if counted is None else counted)
        except ValueError:
            problem = "has a messageCount that cannot be read"
            raise StoreCorrupt(self._keys.meta.decode(), problem, session_id=self._session_id) from None
        return _Facts(length, max(count, length), elements)  # another program may have pushed, uncounted


def _find_range(facts: _Facts, limit: int, before: int | None, after: int | None) -> tuple[int, int]:
    """The first and the last sequence number to be read; the first is higher if there is nothing."""
    last = min(facts.last, facts.last if before is None else before - 1)
    first = max(facts.last - facts.length + 1, (after or 0) + 1)
    if before is not None or after is None:
        first = max(first, last - limit + 1)
    return first, min(last, first + limit - 1)


def _two_texts(reply: Any) -> list[bytes | None]:
    return optional_texts(reply, 2)
