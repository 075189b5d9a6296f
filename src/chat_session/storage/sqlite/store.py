"""The embedded store, put together from its parts."""

from msgspec import Struct

from chat_session.storage.sqlite.file import DatabaseFile
from chat_session.storage.sqlite.operator import SqliteOperator
from chat_session.storage.sqlite.sessions import SqliteSessions
from chat_session.storage.sqlite.worker import Worker


class SqliteOptions(Struct, frozen=True, kw_only=True):
    """``mode`` as in SQLite's own URIs: rwc creates a missing file, rw wants one that exists, ro reads only."""

    path: str  # ":memory:" for none
    mode: str
    max_history: int
    call_timeout: float  # seconds


class SqliteStore:
    """Sessions in one file, also with several processes on it, or in memory."""

    def __init__(self, options: SqliteOptions) -> None:
        file = DatabaseFile(options.path, options.mode)
        self._writer = Worker(file, "BEGIN IMMEDIATE", options.call_timeout)
        # A database in memory belongs to its connection, so there the writer reads, too.
        self._reader = self._writer if file.in_memory else Worker(file, "BEGIN", options.call_timeout)
        self.sessions = SqliteSessions(self._reader, self._writer, options.max_history)
        self.operator = SqliteOperator(self._reader, self._writer)

    async def close(self) -> None:
        await self._writer.close()
        await self._reader.close()
