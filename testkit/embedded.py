"""The embedded store from inside: its feed, and its file as another program changes it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from chat_session import SessionManager
from testkit.backends import store_of

Open = Callable[..., SessionManager]


def feed_of(manager: SessionManager) -> Any:
    return store_of(manager).feed


def change(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(statement, values)
        db.commit()
