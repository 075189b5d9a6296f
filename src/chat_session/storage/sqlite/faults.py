"""Turns SQLite's errors into the errors of this package."""

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
    sqlite3.SQLITE_BUSY: (
        StoreUnavailable,
        "The file was locked by another process for too long. Find out what else writes to it.",
    ),
    sqlite3.SQLITE_LOCKED: (
        StoreUnavailable,
        "The table was locked by another connection for too long. Find out what else uses the file.",
    ),
    sqlite3.SQLITE_FULL: (StoreFull, "Make room on the disk. Reads still work."),
    sqlite3.SQLITE_IOERR: (StoreFull, "The disk is full or failing. The log of the operating system says more."),
    sqlite3.SQLITE_READONLY: (StoreReadOnly, "Give this user the right to write to the file and to its folder."),
    sqlite3.SQLITE_PERM: (StoreDenied, "Give this user the right to read and write the file."),
    sqlite3.SQLITE_CANTOPEN: (StoreDenied, "Check that the folder exists and that this user may write to it."),
    sqlite3.SQLITE_NOTADB: (StoreIncompatible, "The file is not an SQLite database. Name another file."),
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
        kind, advice = _KINDS.get(code, (StoreUnavailable, "Check that the file and its disk can be used."))
        explained = kind(f"{name} failed on {path}: {str(error).rstrip('.')}. {advice}")
    explained.__cause__ = error
    return explained
