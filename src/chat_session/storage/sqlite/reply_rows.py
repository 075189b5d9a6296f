"""The row of a session's last reply."""

import sqlite3
from typing import NamedTuple

from chat_session.clock import now_ms
from chat_session.storage.contract import ReplyState
from chat_session.storage.sqlite.queries import SQL


class ReplyRow(NamedTuple):
    """As it is stored. ``length``: of the text, in bytes."""

    reply_id: str
    epoch: int
    state: str
    author: str | None
    reason: str | None
    seq: int | None
    deadline: int
    length: int

    def find_end(self, epoch: int) -> str | None:
        """Why it is over, None if it grows. ``epoch``: the session's now. One that is committed: "committed"."""
        if self.state == "committed":
            return "committed"
        if self.state != "growing" or self.reason is not None:
            return self.reason or "expired"
        if self.epoch != epoch:
            return "taken_over"
        return None if self.deadline > now_ms() else "expired"

    def shows(self, length: int) -> bool:
        """Whether so many bytes are kept, and no more. So it is until the deadline, even after a stop or a takeover."""
        return self.state == "growing" and self.deadline > now_ms() and 0 < length == self.length


def find_reply(db: sqlite3.Connection, session_id: str) -> ReplyRow | None:
    row = db.execute(SQL["find_reply"], (session_id,)).fetchone()
    if row is None:
        return None
    reply_id, epoch, state, author, reason, seq, deadline, length = row
    return ReplyRow(
        reply_id.decode(errors="replace"),
        epoch,
        state.decode(errors="replace"),
        None if author is None else author.decode(errors="replace"),
        None if reason is None else reason.decode(errors="replace"),
        seq,
        deadline,
        length,
    )


def end_reply(db: sqlite3.Connection, row: ReplyRow, session_id: str, epoch: int, reason: str) -> None:
    """Without a message, and with all that is kept of it. ``reason``: if it is not over for another one already."""
    if row.state == "growing":
        db.execute(SQL["abort_reply"], (row.find_end(epoch) or reason, session_id))


def observe_reply(
    db: sqlite3.Connection, session_id: str, epoch: int, after: tuple[str, int], size: int
) -> ReplyState | None:
    """For a watcher that has ``after``: so many bytes of that reply. At most ``size`` bytes of text."""
    row = find_reply(db, session_id)
    if row is None:
        return None
    end = row.find_end(epoch)
    if end == "committed":
        return ReplyState(row.reply_id, "committed", row.author, seq=row.seq or 0)
    if end is not None:
        return ReplyState(row.reply_id, "aborted", row.author, reason=end)
    offset = after[1] if after[0] == row.reply_id else 0
    [text] = db.execute(SQL["find_reply_text"], (offset + 1, size, session_id)).fetchone()
    return ReplyState(row.reply_id, "growing", row.author, offset=offset, text=text or b"")  # NULL of an empty one
