"""The schema of the file. Its version is the number of the last migration that ran, stored as ``user_version``."""

import sqlite3
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from chat_session.errors import StoreIncompatible

APPLICATION_ID = 0x43685365  # "ChSe", at offset 68 of the file: it belongs to this package
MIGRATIONS = files(__package__) / "migrations"

Execute = Callable[[sqlite3.Connection, str], object]  # run a statement as soon as no other process holds the file


def migrate(
    connection: sqlite3.Connection,
    path: str,
    execute_when_free: Execute,
    *,
    read_only: bool = False,
    folder: Traversable = MIGRATIONS,
) -> None:
    """Bring a new or an older file to the latest version.

    All pending migrations run in one transaction: if one fails or the process is killed, the file is as before. Any
    number of processes may do this at once. Raises StoreIncompatible, with nothing changed, for a newer file and for
    an older one that may only be read.
    """
    migrations = find_migrations(folder)
    latest = max(migrations)
    version = _read_version(connection, path, latest)
    if version == latest:  # the usual case takes no write lock
        return
    if read_only:
        raise StoreIncompatible(
            f"{path} has schema {version}, and this release needs schema {latest}. "
            "Open it once for writing, without mode=ro, to upgrade it."
        )
    execute_when_free(connection, "BEGIN IMMEDIATE")
    try:
        version = _read_version(connection, path, latest)  # another process may have been faster
        for number in range(version + 1, latest + 1):
            for statement in _split(migrations[number].read_text("utf-8")):
                connection.execute(statement)
        if version < latest:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={latest}")
        execute_when_free(connection, "COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def find_migrations(folder: Traversable = MIGRATIONS) -> dict[int, Traversable]:
    """The files by number: 1 is ``0001_….sql``. A migration must not begin or commit a transaction."""
    return {int(file.name[:4]): file for file in folder.iterdir() if file.name.endswith(".sql")}


def _read_version(connection: sqlite3.Connection, path: str, latest: int) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > latest:
        raise StoreIncompatible(
            f"{path} was written by a later release (schema {version}, known {latest}). Upgrade chat-session."
        )
    return version


def _split(script: str) -> Iterator[str]:
    """The statements one by one: ``executescript`` would commit what was done before it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    yield statement  # a last one without a semicolon; an empty text does nothing
