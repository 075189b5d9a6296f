"""The scripts of the feed as typed calls. A test holds each function against its script's header."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from chat_session.storage.redis.keys import DeskKeys, SessionKeys
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.decoders import fields, integer, optional_text, pair, refuse, text, texts
from chat_session.storage.redis.scripts.loading import load
from chat_session.storage.redis.scripts.status import Facts, Reply, SessionReply, nothing, one


class Observed(NamedTuple):
    """A session as it is stored. ``text``: of a reply that grows, from ``offset`` on; None if it is gone."""

    fields: dict[bytes, bytes]
    first: int
    last: int
    expires: bool
    told: bytes | None
    elements: list[bytes]
    offset: int
    text: bytes | None


def observe(
    session_id: str, keys: SessionKeys, draft: bytes, *, seq: int, reply_id: str, offset: int, size: int
) -> Call[Observed | None]:
    """None if there is no such session."""
    decode: SessionReply[Observed | None] = SessionReply(_observed, session_id, keys, codes={b"GONE": nothing})
    return Call(load("observe"), (keys.meta, keys.history, draft), (seq, reply_id, offset, size), decode)


def tell(channel: bytes, *, news: bytes) -> Call[None]:
    return Call(load("tell"), (channel,), (news,), Reply(nothing))


def check_channel(channel: bytes) -> Call[tuple[bytes, bool]]:
    """The command by which it is listened to, and whether the user may."""
    return Call(load("check_channel"), (channel,), (), Reply(_command))


def read_marks(sessions: Sequence[bytes]) -> Call[list[bytes]]:
    """``sessions``: meta, history and draft of each. A mark for each; empty if there is no session."""
    return Call(load("read_marks"), tuple(sessions), (), Reply(one(texts)))


def read_desk_mark(keys: DeskKeys, *, head: int) -> Call[bytes]:
    used = (keys.queue, keys.entries, keys.seats, keys.presence, keys.operators)
    return Call(load("read_desk_mark"), used, (head,), Reply(one(text)))


def _observed(facts: Facts) -> Observed:
    if len(facts) != 8:  # noqa: PLR2004
        refuse(facts)
    stored, first, last, expires, told, elements, offset, written = facts
    return Observed(
        fields(stored),
        integer(first),
        integer(last),
        integer(expires) == 1,
        optional_text(told),
        texts(elements),
        integer(offset),
        optional_text(written),
    )


def _command(facts: Facts) -> tuple[bytes, bool]:
    return pair(facts, text, _is_one)


def _is_one(reply: Any) -> bool:
    return integer(reply) == 1
