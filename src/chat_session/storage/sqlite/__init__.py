"""The embedded store: one SQLite file, or memory."""

from chat_session.storage.sqlite.store import SqliteOptions as SqliteOptions
from chat_session.storage.sqlite.store import SqliteStore as SqliteStore
