"""The database file: created for its owner only, refused if it is another program's, and watched while it is open."""

import os
import sqlite3
import stat
from contextlib import closing, suppress
from importlib.resources.abc import Traversable
from pathlib import Path

from chat_session.errors import StoreIncompatible
from chat_session.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS, Execute, migrate


class DatabaseFile:
    """``mode`` as in SQLite's own URIs: rwc creates a missing file, rw needs an existing one, ro only reads."""

    def __init__(self, path: str, mode: str = "rwc", migrations: Traversable = MIGRATIONS) -> None:
        self.path = path
        self.in_memory = path == ":memory:"
        self._mode = mode
        self._migrations = migrations
        self._identity: tuple[int, int] | None = None  # device and inode, once it is open

    def open(self, timeout: float, execute_when_free: Execute) -> sqlite3.Connection:
        """A connection that is ready for use, with the latest schema.

        Raises StoreIncompatible, with nothing changed, for a file of another program or of a later release.
        """
        if not self.in_memory:
            self._prepare()
        target = self.path if self.in_memory else f"{self._uri}?mode={self._mode}"
        connection = sqlite3.connect(
            target, uri=not self.in_memory, isolation_level=None, timeout=timeout, check_same_thread=False
        )
        try:
            connection.text_factory = bytes  # decoded row by row, so that one bad text damages one row only
            connection.execute("PRAGMA synchronous=FULL")
            read_only = self._mode == "ro"
            migrate(connection, self.path, execute_when_free, read_only=read_only, folder=self._migrations)
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == b"delete" and not read_only:
                execute_when_free(connection, "PRAGMA journal_mode=WAL")
            if not self.in_memory:
                self._identity = self._identity or self._read_identity()
        except BaseException:
            connection.close()
            raise
        return connection

    def check_in_place(self) -> None:
        """Raises StoreIncompatible if the path no longer leads to the file that was opened."""
        if self._identity is not None and self._read_identity() != self._identity:
            raise StoreIncompatible(
                f"{self.path} was removed or replaced while it was open, and nothing more is written to it. "
                "Make a new SessionManager to use the file that has this name now."
            )

    def _prepare(self) -> None:
        self.check_in_place()
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            if self._mode != "rwc":
                raise StoreIncompatible(f"There is no file {self.path}. Check its name.") from None
            found = None
        if found is None:  # for its owner only; SQLite gives the files beside it the same rights
            with suppress(OSError):  # SQLite will report the problem with a better error
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        elif stat.S_ISREG(found.st_mode) and found.st_size:
            self._refuse_foreign()

    def _refuse_foreign(self) -> None:
        """Reads the header before the file is opened for use, because that could already change it.

        SQLite reads it, not this process: when a process closes a file it loses all its locks on it, also those of
        its other connections. Another process would then take the database for unused and delete the journal, with
        all that is written to it from then on. What looks damaged may be in the middle of a checkpoint, so that is
        left to the connection to come.
        """
        with closing(sqlite3.connect(f"{self._uri}?mode=ro&immutable=1", uri=True)) as connection:
            try:
                application_id = connection.execute("PRAGMA application_id").fetchone()[0]
            except sqlite3.DatabaseError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:
                    return
                if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                    raise
                text = f"{self.path} is not an SQLite database. Name another file."
                raise StoreIncompatible(text) from None
        if application_id != APPLICATION_ID:
            raise StoreIncompatible(
                f"{self.path} is the database of another program and was not changed. Name another file."
            )

    @property
    def _uri(self) -> str:
        return Path(self.path).absolute().as_uri()

    def _read_identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - before each commit: a Path would take three times as long
        except OSError:
            return None
        return found.st_dev, found.st_ino
