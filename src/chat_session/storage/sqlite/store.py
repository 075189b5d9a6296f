"""The embedded store, composed of its parts."""

from msgspec import Struct

from chat_session.desk_options import DeskOptions
from chat_session.storage.sqlite.changes import Changes
from chat_session.storage.sqlite.desk import SqliteDesk
from chat_session.storage.sqlite.desk_steps import DeskRules
from chat_session.storage.sqlite.feed import SqliteFeed
from chat_session.storage.sqlite.file import DatabaseFile
from chat_session.storage.sqlite.listening import Listening
from chat_session.storage.sqlite.operator import SqliteOperator
from chat_session.storage.sqlite.replies import SqliteReplies
from chat_session.storage.sqlite.sessions import SqliteSessions
from chat_session.storage.sqlite.state import SqliteState
from chat_session.storage.sqlite.turns import SqliteTurns
from chat_session.storage.sqlite.worker import Worker


class SqliteOptions(Struct, frozen=True, kw_only=True):
    """``mode`` as in SQLite's own URIs: rwc creates a missing file, rw needs an existing one, ro only reads."""

    path: str  # ":memory:" for no file
    mode: str
    max_history: int
    call_timeout: float  # seconds
    desk: DeskOptions


class SqliteStore:
    """Sessions in one file, which several processes may use at once, or in memory."""

    def __init__(self, options: SqliteOptions) -> None:
        file = DatabaseFile(options.path, options.mode)
        changes = Changes()
        self._writer = Worker(file, "BEGIN IMMEDIATE", options.call_timeout, changes)
        # A database in memory belongs to one connection, so the writer also reads.
        self._reader = self._writer if file.in_memory else Worker(file, "BEGIN", options.call_timeout)
        self.sessions = SqliteSessions(self._reader, self._writer, options.max_history, options.desk.waiting_ttl)
        self.desk = SqliteDesk(self._reader, self._writer, DeskRules(options.desk, options.max_history))
        self.turns = SqliteTurns(self._reader, self._writer, options.max_history)
        self.replies = SqliteReplies(self._writer, options.max_history)
        self.feed = SqliteFeed(self._reader, self._writer, Listening(self._reader, changes))
        self.state = SqliteState(self._reader, self._writer)
        self.operator = SqliteOperator(self._reader, self._writer)

    async def close(self) -> None:
        await self.feed.close()
        await self._writer.close()
        await self._reader.close()
