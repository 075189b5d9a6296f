"""The state of users and applications in the embedded store."""

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from chat_session.checks import check_metadata_size
from chat_session.errors import StoreCorrupt
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.worker import Worker


class SqliteState:
    """Keeps StateStore's promises."""

    def __init__(self, reader: Worker, writer: Worker) -> None:
        self._reader = reader
        self._writer = writer

    async def get_state(self, scope: str) -> dict[str, Any]:
        return await self._reader.call(read_state, scope)

    async def update_state(self, scope: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        return await self._writer.call(merge_state, scope, changes)

    async def delete_state(self, scope: str) -> int:
        return await self._writer.call(delete_state, scope)


def read_state(db: sqlite3.Connection, scope: str) -> dict[str, Any]:
    rows = db.execute(SQL["read_state"], (scope,)).fetchall()
    try:
        return {name.decode(): msgspec.json.decode(value) for name, value in rows}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, AttributeError):
        raise StoreCorrupt(f"state {scope}", "has an entry that cannot be read") from None


def merge_state(db: sqlite3.Connection, scope: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {name: value for name, value in {**read_state(db, scope), **changes}.items() if value is not None}
    check_metadata_size(merged)
    for name, value in changes.items():
        if value is None:
            db.execute(SQL["delete_state_entry"], (scope, name))
        else:
            db.execute(SQL["save_state"], (scope, name, msgspec.json.encode(value)))
    return merged


def delete_state(db: sqlite3.Connection, scope: str) -> int:
    return db.execute(SQL["delete_state"], (scope,)).rowcount
