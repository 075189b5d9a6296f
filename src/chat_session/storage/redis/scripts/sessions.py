"""The scripts of sessions as typed calls. A test holds each function against its script's header."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from chat_session.storage.codec import EncodedMessage
from chat_session.storage.redis.keys import IndexEntry, SessionKeys, members_and_orders
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.decoders import integer, optional_text, pair, refuse, stored_hash, text, texts
from chat_session.storage.redis.net.wire import Arg
from chat_session.storage.redis.scripts.loading import load
from chat_session.storage.redis.scripts.status import (
    Facts,
    Reply,
    SessionReply,
    nothing,
    one,
)

Stored = tuple[int, bytes | None]  # a message's seq; what is stored, if its id was known


def create_session(
    session_id: str,
    keys: SessionKeys,
    entries: Sequence[IndexEntry],
    *,
    token: str,
    ttl: int,
    created_ms: int,
    new_agent: str,
    first_seq: int,
    fields: Mapping[str, bytes],
    elements: Sequence[EncodedMessage],
) -> Call[bytes]:
    """The deadline. Raises SessionExists."""
    begin = (token, ttl, created_ms, new_agent, first_seq, 2 * len(fields))
    args = (*begin, *members_and_orders(entries), *_flat(fields), *chain.from_iterable(elements))
    decode = SessionReply(one(text), session_id, keys)
    return Call(load("create_session"), (*keys, *[entry.key for entry in entries]), args, decode)


def append_messages(
    session_id: str,
    keys: SessionKeys,
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    epoch: int | None,
    elements: Sequence[EncodedMessage],
) -> Call[list[Stored]]:
    args = (now, default_ttl, max_history, _optional(epoch), *chain.from_iterable(elements))
    decode = SessionReply(partial(_stored, len(elements)), session_id, keys, epoch)
    return Call(load("append_messages"), keys, args, decode)


def get_history(
    session_id: str, keys: SessionKeys, *, limit: int, before: int | None, after: int | None
) -> Call[tuple[int, list[bytes]]]:
    """The seq of the first message, and the messages."""
    decode = SessionReply(_seq_and_texts, session_id, keys)
    args = (limit, _optional(before), _optional(after))
    return Call(load("get_history"), (keys.meta, keys.history), args, decode)


def switch_agent(
    session_id: str,
    keys: SessionKeys,
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    new_agent: str,
    expect: int | str | None,
    token: str,
    answered_below: int,
    elements: Sequence[EncodedMessage],
) -> Call[tuple[int, int]]:
    """The new epoch, and how many notes were newly stored."""
    begin = (now, default_ttl, max_history, new_agent, _optional(expect), token, answered_below)
    decode = SessionReply(_two_integers, session_id, keys, expect)
    return Call(load("switch_agent"), keys, (*begin, *chain.from_iterable(elements)), decode)


def update_session(
    session_id: str,
    keys: SessionKeys,
    *,
    max_entries: int,
    max_bytes: int,
    reserved: Iterable[str],
    removed: Sequence[str],
    changes: Mapping[str, bytes],
) -> Call[Any]:
    """The fields of the session, as HGETALL gives them."""
    names = f" {' '.join(reserved)} "
    args = (max_entries, max_bytes, names, len(removed), *removed, *_flat(changes))
    decode = SessionReply(one(stored_hash), session_id, keys)
    return Call(load("update_session"), (keys.meta,), args, decode)


def delete_session(keys: SessionKeys, entries: Sequence[IndexEntry], *, user_id: str) -> Call[int | None]:
    """How many keys were removed; 0 if it is gone; None if the id was given to another user meanwhile."""
    decode = Reply(one(integer), {b"GONE": lambda _: 0, b"MOVED": nothing})
    args: tuple[Arg, ...] = (user_id, *[entry.member for entry in entries])
    return Call(load("delete_session"), (*keys, *[entry.key for entry in entries]), args, decode)


def extend_session(session_id: str, keys: SessionKeys, *, now: str, default_ttl: int) -> Call[None]:
    decode = SessionReply(nothing, session_id, keys)
    return Call(load("extend_session"), keys, (now, default_ttl), decode)


def set_ttl(keys: SessionKeys, deadlines: Sequence[bytes], *, session_id: str, ttl: int) -> Call[bytes]:
    """The deadline. ``deadlines``: the indexes in which the session's entry has it as its score."""
    decode = SessionReply(one(text), session_id, keys)
    return Call(load("set_ttl"), (*keys, *deadlines), (session_id, ttl), decode)


def remove_orphan(keys: SessionKeys) -> Call[int]:
    """How many keys were removed."""
    return Call(load("remove_orphan"), keys, (), Reply(one(integer)))


def _seq_and_texts(facts: Facts) -> tuple[int, list[bytes]]:
    return pair(facts, integer, texts)


def _two_integers(facts: Facts) -> tuple[int, int]:
    return pair(facts, integer, integer)


def _stored(count: int, facts: Facts) -> list[Stored]:
    if len(facts) != 2 * count:
        refuse(facts)
    return [(integer(seq), optional_text(stored)) for seq, stored in zip(facts[::2], facts[1::2], strict=True)]


def _flat(fields: Mapping[str, bytes]) -> Iterable[Arg]:
    return chain.from_iterable(fields.items())


def _optional(value: int | str | None) -> Arg:
    return "" if value is None else value
