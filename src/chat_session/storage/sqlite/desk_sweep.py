"""What the sweeps of the desk look for, and what they do with a session that they find.

The sessions are found in pages by a reader. Each is then changed by a job of its own, which reads it again: a session
that cannot be read stops no other, and no transaction holds the file for long.
"""

import sqlite3
from typing import NamedTuple

from chat_session.clock import now_us, to_us
from chat_session.handoff import Step, adopt, hand_back_if_silent, lapse, last_sign
from chat_session.storage.codec import decode_message
from chat_session.storage.sqlite.counts import forget_counts
from chat_session.storage.sqlite.desk_rows import require_desk_row
from chat_session.storage.sqlite.desk_steps import DeskRules, sweep_step
from chat_session.storage.sqlite.presences import forget_operators
from chat_session.storage.sqlite.queries import SQL

PAGE = 200  # sessions
NEWEST = 50  # messages in which an operator's is looked for


class Left(NamedTuple):
    """A session whose operator is away, as bytes that may be damaged. ``presence``: of when the session was taken."""

    operator_id: bytes
    session_id: bytes
    presence: int


class Silent(NamedTuple):
    """A session whose operator has given no sign since ``sign``."""

    sign: int
    session_id: bytes


def find_left(db: sqlite3.Connection, after: Left) -> list[Left]:
    values = {"operator": after.operator_id, "session_id": after.session_id, "limit": PAGE}
    return [Left(*row) for row in db.execute(SQL["list_left_sessions"], values).fetchall()]


def return_left(db: sqlite3.Connection, left: Left, rules: DeskRules) -> bool:
    """Whether it went back to the queue by this call."""
    operator_id = left.operator_id.decode()
    return sweep_step(db, left.session_id.decode(), Step("lapse", lapse(operator_id, left.presence)), rules)


def find_silent(db: sqlite3.Connection, after: Silent, hand_back_after: float) -> list[Silent]:
    until = now_us() - round(hand_back_after * 1_000_000)
    values = {"until": until, "sign": after.sign, "session_id": after.session_id, "limit": PAGE}
    return [Silent(*row) for row in db.execute(SQL["list_silent_sessions"], values).fetchall()]


def hand_back_silent(db: sqlite3.Connection, silent: Silent, rules: DeskRules) -> bool:
    """Whether it went back to the AI by this call.

    A message that an operator sent without the desk is a sign, too. It is noted for the next sweeps.
    """
    hand_back_after = rules.options.hand_back_after
    if hand_back_after is None:
        return False
    session_id, moment = silent.session_id.decode(), now_us()
    since = last_sign(require_desk_row(db, session_id).read(moment).facts)
    newest = _find_newest_sign(db, session_id)
    if newest is not None and newest > since and newest > moment - hand_back_after * 1_000_000:
        db.execute(SQL["save_sign"], (min(newest, moment), session_id))
        return False
    return sweep_step(db, session_id, Step("hand_back", hand_back_if_silent(hand_back_after)), rules)


def _find_newest_sign(db: sqlite3.Connection, session_id: str) -> int | None:
    """When an operator last wrote something to the customer."""
    rows = db.execute(SQL["history_backwards"], (session_id, 0, 2**63 - 1, NEWEST)).fetchall()
    messages = [decode_message(element, seq) for seq, element in rows]
    signs = [message for message in messages if message.sender == "operator" and not message.internal]
    return max((to_us(message.timestamp) for message in signs if message.timestamp is not None), default=None)


def find_bypassed(db: sqlite3.Connection, after: bytes) -> list[bytes]:
    """Sessions whose agent or ttl was changed by a process that knows no desk."""
    return [session_id for [session_id] in db.execute(SQL["list_bypassed_sessions"], (after, PAGE)).fetchall()]


def adopt_bypassed(db: sqlite3.Connection, session_id: bytes, rules: DeskRules) -> bool:
    return sweep_step(db, session_id.decode(), Step("adopt", adopt), rules)


def forget_old(db: sqlite3.Connection) -> None:
    """Counts of more than a day ago, and operators who were not seen for 30 days."""
    forget_counts(db, now_us())
    forget_operators(db, now_us())
