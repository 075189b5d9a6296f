"""The scripts of index entries as typed calls. A test holds each function against its script's header."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from chat_session.storage.redis.keys import IndexEntry, members_and_orders
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.decoders import flat_scores, integer, pair, refuse, score, text, whole
from chat_session.storage.redis.scripts.loading import load
from chat_session.storage.redis.scripts.status import Facts, Reply, nothing, one

Scores = list[tuple[bytes, bytes]]  # members with their scores


class Entries(NamedTuple):
    """``ahead``: how many are not due. ``read_at``: milliseconds by the server's clock."""

    ahead: int
    due: Scores
    read_at: int


def read_entries(due: bytes, *, lowest: str, skip: int, limit: int) -> Call[Entries]:
    return Call(load("read_entries"), (due,), (lowest, skip, limit), Reply(_entries))


def list_entries(index: bytes, *, direction: str, score: str, member: bytes | str, limit: int) -> Call[Scores]:
    return Call(load("list_entries"), (index,), (direction, score, member, limit), Reply(one(flat_scores)))


def begin_entry(due: bytes, *, member: bytes) -> Call[bytes]:
    """The score by which the entry says that a writer has begun."""
    return Call(load("begin_entry"), (due,), (member,), Reply(one(_finite)))


def finish_entry(due: bytes, *, member: bytes, begun: bytes, verdict: str) -> Call[bytes | None]:
    """The score of an entry that the session is to be asked about; None if all is done."""
    return Call(load("finish_entry"), (due,), (member, begun, verdict), Reply(one(score)))


def change_entry(index: bytes, *, member: bytes | str, seen: bytes, verdict: bytes | str) -> Call[bool]:
    """Whether it was still as it was seen, and was changed."""
    return Call(load("change_entry"), (index,), (member, seen, verdict), Reply(one(_is_one)))


def move_entry(index: bytes, *, member: bytes, seen: bytes, new_member: bytes) -> Call[bool]:
    """Whether it was still as it was seen, and was moved."""
    return Call(load("move_entry"), (index,), (member, seen, new_member), Reply(one(_is_one)))


def add_entry(index: bytes, *, member: bytes, created_ms: int) -> Call[tuple[bytes, bytes | None]]:
    """The score that the entry has, and the one that it had before."""
    return Call(load("add_entry"), (index,), (member, created_ms), Reply(_scores_now_and_before))


def reconcile_entries(meta: bytes, entries: Sequence[IndexEntry], *, user_id: str, dead: str) -> Call[bool]:
    """Whether this call reaped the entries of a dead session."""
    args = (user_id, dead, *members_and_orders(entries))
    decode = Reply(one(_is_one), {b"ALIVE": _alive, b"DEAD": one(_is_one)})
    return Call(load("reconcile_entries"), (meta, *[entry.key for entry in entries]), args, decode)


def _entries(facts: Facts) -> Entries:
    if len(facts) != 3:  # noqa: PLR2004
        refuse(facts)
    return Entries(integer(facts[0]), flat_scores(facts[1]), whole(facts[2]))


def _scores_now_and_before(facts: Facts) -> tuple[bytes, bytes | None]:
    return pair(facts, text, score)


def _finite(reply: Any) -> bytes:
    written = score(reply)
    return written if written is not None and isfinite(float(written)) else refuse(reply)


def _is_one(reply: Any) -> bool:
    return integer(reply) == 1


def _alive(facts: Facts) -> bool:
    nothing(facts)
    return False
