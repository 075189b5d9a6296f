"""What the desk has counted, in buckets of five minutes."""

import sqlite3

from chat_session.clock import to_us
from chat_session.desk_figures import Counts, bucket_of, counts_of, oldest_bucket
from chat_session.handoff import Change, Read
from chat_session.session import Session
from chat_session.storage.sqlite.queries import SQL


def add_count(db: sqlite3.Connection, bucket: int, name: str, count: int = 1) -> None:
    db.execute(SQL["add_count"], (bucket, name, count))


def count_step(db: sqlite3.Connection, session: Session, read: Read, change: Change) -> None:
    for bucket, name in counts_of(read, change, to_us(session.created_at)):
        add_count(db, bucket, name)


def count_created(db: sqlite3.Connection, session: Session, moment: int) -> None:
    """One that is stored as it was elsewhere counts if it was created within the last day."""
    bucket = bucket_of(to_us(session.created_at))
    if oldest_bucket(moment) <= bucket <= bucket_of(moment):
        add_count(db, bucket, "created")


def read_counts(db: sqlite3.Connection, moment: int) -> Counts:
    rows = db.execute(SQL["read_counts"], (oldest_bucket(moment),)).fetchall()
    return {(bucket, name.decode(errors="replace")): count for bucket, name, count in rows}


def forget_counts(db: sqlite3.Connection, moment: int) -> None:
    """Those of more than a day ago."""
    db.execute(SQL["delete_old_counts"], (oldest_bucket(moment),))
