"""SQLite's errors, told apart and turned into ours."""

import sqlite3

from chat_session.errors import (
    ChatSessionError,
    StoreCorrupt,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreIncompatible,
    StoreReadOnly,
    StoreUnavailable,
)

_KINDS: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailable, "another process held the file too long; see what else writes to it"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailable, "another connection held the table too long"),
    sqlite3.SQLITE_FULL: (StoreFull, "make room on the disk; reads still work"),
    sqlite3.SQLITE_IOERR: (StoreFull, "the disk is full or failing; see the system's log"),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, "give this user the right to write the file and its folder"),
    sqlite3.SQLITE_PERM: (StoreDenied, "give this user the right to read and write the file"),
    sqlite3.SQLITE_CANTOPEN: (StoreDenied, "see that the folder exists and this user may write in it"),
    sqlite3.SQLITE_NOTADB: (StoreIncompatible, "the file is not an SQLite database; name another"),
}


def explain(error: Exception, path: str, name: str) -> ChatSessionError:
    """The error to raise for ``error`` in operation ``name`` on the file ``path``."""
    if isinstance(error, ChatSessionError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code of an extended one
    if code == sqlite3.SQLITE_CORRUPT:
        explained: ChatSessionError = StoreCorrupt(path, f"is damaged ({error})")
    elif not isinstance(error, (sqlite3.Error, OSError)):
        explained = StoreCorrupt(path, f"holds something that {name} cannot read ({type(error).__name__})")
    else:
        kind, advice = _KINDS.get(code, (StoreUnavailable, "see whether the file can be used at all"))
        explained = kind(f"{path} failed {name}: {error}; {advice}")
    explained.__cause__ = error
    return explained
