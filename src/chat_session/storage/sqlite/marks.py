"""A look at the file: what has changed in the sessions that somebody listens to, and what was told."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from chat_session.clock import now_ms
from chat_session.storage.sqlite.lifetimes import NEWS_KEPT
from chat_session.storage.sqlite.queries import SQL
from chat_session.storage.sqlite.rows import decode_text

GONE = 0  # the mark of a session that does not live


class Question(NamedTuple):
    """``since``: read the news behind this one, and none from before the moment ``from_ms``.

    ``some``: the sessions to look at. ``all``: those to look at if another connection has committed since ``version``;
    None: do not ask for that.
    """

    some: Sequence[str]
    all: Sequence[str] | None
    version: int | None
    since: int
    from_ms: int


class Seen(NamedTuple):
    version: int
    marks: Mapping[str, int]  # another one whenever something has changed that a feed tells
    news: Sequence[tuple[int, str, bytes]]  # number, session, what was told


def look(db: sqlite3.Connection, question: Question) -> Seen:
    [version] = db.execute("PRAGMA data_version").fetchone()
    session_ids = question.some
    if question.all is not None and version != question.version:
        session_ids = question.all
    news = db.execute(SQL["read_news"], (question.since, question.from_ms)).fetchall()
    return Seen(
        version,
        _read_marks(db, session_ids) if session_ids else {},
        [(number, decode_text(session_id), told) for number, session_id, told in news],
    )


def _read_marks(db: sqlite3.Connection, session_ids: Sequence[str]) -> dict[str, int]:
    """About 2 ms for 1,000."""
    marks = dict.fromkeys(session_ids, GONE)
    asked = {"session_ids": msgspec.json.encode(session_ids).decode(), "now": now_ms()}
    for row in db.execute(SQL["read_marks"], asked):
        marks[decode_text(row[0])] = hash(row)
    return marks


def tell(db: sqlite3.Connection, session_id: str, news: bytes) -> None:
    """For all who listen, in this process and in others, which read it within ``NEWS_KEPT`` milliseconds."""
    db.execute(SQL["delete_old_news"], (now_ms() - NEWS_KEPT,))
    db.execute(SQL["insert_news"], (session_id, news, now_ms()))
