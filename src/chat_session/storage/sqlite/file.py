"""The database file: created for its owner alone, refused if it is another program's, and watched while it is open."""

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from chat_session.errors import StoreIncompatible

APPLICATION_ID = 0x43685365  # "ChSe", at offset 68 of the file: whose it is
SCHEMA_VERSION = 1

Execute = Callable[[sqlite3.Connection, str], None]  # a statement, as soon as no other process holds the file


class DatabaseFile:
    """``mode`` as in SQLite's own URIs: rwc creates a missing file, rw wants one that exists, ro reads only."""

    def __init__(self, path: str, mode: str = "rwc") -> None:
        self.path = path
        self.in_memory = path == ":memory:"
        self._mode = mode
        self._identity: tuple[int, int] | None = None  # device and inode, once it is open

    def open(self, timeout: float, execute_when_free: Execute) -> sqlite3.Connection:
        """A connection to it, set up. Raises StoreIncompatible for another program's file, which is not changed."""
        if not self.in_memory:
            self._prepare()
        target = self.path if self.in_memory else f"{Path(self.path).absolute().as_uri()}?mode={self._mode}"
        connection = sqlite3.connect(
            target, uri=not self.in_memory, isolation_level=None, timeout=timeout, check_same_thread=False
        )
        try:
            connection.text_factory = bytes  # decoded row by row: one bad text is the damage of one row
            connection.execute("PRAGMA synchronous=FULL")
            if self._read_version(connection) < SCHEMA_VERSION:  # else nothing here takes the write lock
                self._set_up(connection, execute_when_free)
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == b"delete" and self._mode != "ro":
                execute_when_free(connection, "PRAGMA journal_mode=WAL")
            if not self.in_memory:
                self._identity = self._identity or self._look()
        except BaseException:
            connection.close()
            raise
        return connection

    def check_in_place(self) -> None:
        """Raises StoreIncompatible if the name no longer belongs to the file that was opened."""
        if self._identity is not None and self._look() != self._identity:
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
        if found is None:  # for its owner alone; SQLite gives the files beside it the same rights
            with suppress(OSError):  # which SQLite tells better
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        elif stat.S_ISREG(found.st_mode) and found.st_size:
            self._refuse_foreign()

    def _refuse_foreign(self) -> None:
        """By its first bytes, before SQLite opens it: that could already change it."""
        with Path(self.path).open("rb") as file:
            header = file.read(100)
        if not header.startswith(b"SQLite format 3\0"):
            raise StoreIncompatible(f"{self.path} is not an SQLite database. Name another file.")
        if int.from_bytes(header[68:72]) != APPLICATION_ID:
            raise StoreIncompatible(
                f"{self.path} is the database of another program and was not changed. Name another file."
            )

    def _read_version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StoreIncompatible(
                f"{self.path} was written by a later release (schema {version}, known {SCHEMA_VERSION}). "
                "Upgrade chat-session."
            )
        return version

    def _set_up(self, connection: sqlite3.Connection, execute_when_free: Execute) -> None:
        """All in one transaction, so that no other process sees half of it."""
        execute_when_free(connection, "BEGIN IMMEDIATE")
        try:
            if self._read_version(connection) < SCHEMA_VERSION:  # another process may have been faster
                for statement in (files(__package__) / "schema.sql").read_text("utf-8").split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            execute_when_free(connection, "COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - at each commit: a Path would take three times as long
        except OSError:
            return None
        return found.st_dev, found.st_ino
