"""For the doctor: sessions of the desk, and entries there, that no sweep would look after."""

from collections.abc import AsyncIterator, Sequence

from chat_session.storage.redis.desk.entries import DeskEntries
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import fields, score
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts.desk import plan_check

BATCH = 500


class UncheckedSessions:
    """Finds them, and plans their checks: the next sweep corrects what it finds."""

    def __init__(self, executor: CommandExecutor, keys: Keys, entries: DeskEntries) -> None:
        self._executor = executor
        self._keys = keys
        self._entries = entries.keys.entries

    async def find(self, session_ids: Sequence[str]) -> list[str]:
        """Those of these sessions of the desk without a planned check."""
        reads = [PlainCommand((b"ZSCORE", self._keys.check(each), each), score) for each in session_ids]
        planned = await self._executor.run_all("diagnose", reads)
        return [session_id for session_id, at in zip(session_ids, planned, strict=True) if at is None]

    async def find_entries(self) -> AsyncIterator[list[str]]:
        """The sessions of the entries without a planned check, in batches."""
        scan = self._executor.scan("diagnose", (b"HSCAN", self._entries), b"COUNT", BATCH, items=fields)
        async for found in scan:
            yield await self.find([session_id.decode(errors="replace") for session_id in found])

    async def plan(self, session_id: str) -> None:
        call = plan_check(self._keys.check(session_id), member=session_id, after_ms=0)
        await self._executor.run("diagnose", call)
