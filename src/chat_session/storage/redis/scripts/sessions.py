"""The scripts of sessions as typed calls. A test holds each function against its script's header."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

from chat_session.checks import encode_value
from chat_session.storage.codec import EncodedMessage
from chat_session.storage.redis.keys import IndexEntry, SessionKeys, members_and_orders
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.decoders import integer, pair, refuse, stored_hash, text, texts
from chat_session.storage.redis.net.wire import Arg
from chat_session.storage.redis.scripts.appended import Stored, read_stored
from chat_session.storage.redis.scripts.changes import write_changes
from chat_session.storage.redis.scripts.loading import load
from chat_session.storage.redis.scripts.status import (
    Facts,
    Reply,
    SessionReply,
    nothing,
    one,
)


def create_session(
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
) -> Call[Any]:
    """None if it was created; else the fields of the session that has the id, as HGETALL gives them."""
    begin = (token, ttl, created_ms, new_agent, first_seq, 2 * len(fields))
    args = (*begin, *members_and_orders(entries), *_flat(fields), *chain.from_iterable(elements))
    decode: Reply[Any] = Reply(_created, {b"EXISTS": one(stored_hash)})
    return Call(load("create_session"), (*keys, *[entry.key for entry in entries]), args, decode)


def append_messages(
    session_id: str,
    keys: SessionKeys,
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    epoch: int | None,
    noted: int | str,
    elements: Sequence[EncodedMessage],
) -> Call[list[Stored] | None]:
    """None if the session's entry in the index of turns has to be written first."""
    args = (now, default_ttl, max_history, _optional(epoch), noted, *chain.from_iterable(elements))
    decode = SessionReply(_stored_if_noted(elements), session_id, keys, epoch, codes={b"UNNOTED": nothing})
    return Call(load("append_messages"), keys, args, decode)


def get_history(
    session_id: str, keys: SessionKeys, *, limit: int, before: int | None, after: int | None
) -> Call[tuple[int, list[bytes]]]:
    """The seq of the first message, and the messages."""
    decode = SessionReply(_seq_and_texts, session_id, keys)
    args = (limit, _optional(before), _optional(after))
    return Call(load("get_history"), (keys.meta, keys.history), args, decode)


def find_message(session_id: str, keys: SessionKeys, *, id: bytes) -> Call[tuple[int, bytes] | None]:  # noqa: A002
    """Its seq and its element; None if it is not retained. ``id``: as in EncodedMessage."""
    decode = SessionReply(lambda facts: pair(facts, integer, text), session_id, keys, codes={b"MISSING": nothing})
    return Call(load("find_message"), (keys.meta, keys.history, keys.ids), (id,), decode)


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
) -> Call[tuple[int, int, int, int]]:
    """The new epoch, how many notes were newly stored; 1 if the desk has handled it, 1 if it has turns."""
    begin = (now, default_ttl, max_history, new_agent, _optional(expect), token, answered_below)
    decode = SessionReply(_four_integers, session_id, keys, expect)
    return Call(load("switch_agent"), keys, (*begin, *chain.from_iterable(elements)), decode)


def update_session(
    session_id: str,
    keys: SessionKeys,
    *,
    max_entries: int,
    max_bytes: int,
    reserved: str,
    token: str,
    answered_below: int,
    expected: Mapping[str, Any],
    changes: Mapping[str, Any],
) -> Call[Any]:
    """The fields of the session, as HGETALL gives them. ``token``: empty if nothing is expected.

    Raises MetadataConflict.
    """
    args = (max_entries, max_bytes, reserved, token, answered_below, *_expected(expected), *write_changes(changes))
    decode = SessionReply(one(stored_hash), session_id, keys)
    return Call(load("update_session"), (keys.meta,), args, decode)


def append_conditionally(
    session_id: str,
    keys: SessionKeys,
    states: Sequence[bytes],
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    epoch: int | None,
    expect_seq: int | None,
    expect_revision: int | None,
    max_entries: int,
    max_bytes: int,
    reserved: str,
    token: str,
    answered_below: int,
    noted: int | str,
    expected: Mapping[str, Any],
    changes: Sequence[Mapping[str, Any]],
    elements: Sequence[EncodedMessage],
) -> Call[list[Stored] | None]:
    """As ``append_messages``. ``changes``: of the metadata, then of each state.

    Raises SequenceConflict, MetadataConflict, too.
    """
    begin = (now, default_ttl, max_history, _optional(epoch), _optional(expect_seq), _optional(expect_revision))
    limits = (max_entries, max_bytes, reserved, token, answered_below, noted)
    merged = chain.from_iterable(map(write_changes, changes))
    args = (*begin, *limits, *_expected(expected), *merged, *chain.from_iterable(elements))
    decode = SessionReply(_stored_if_noted(elements), session_id, keys, epoch, codes={b"UNNOTED": nothing})
    return Call(load("append_conditionally"), (*keys, *states), args, decode)


def increment(
    session_id: str,
    keys: SessionKeys,
    *,
    name: str,
    by: int,
    max_entries: int,
    max_bytes: int,
    reserved: str,
    token: str,
    answered_below: int,
) -> Call[int | None]:
    """The new number; None if the entry or the sum is not a whole number within 2^53."""
    args = (name, by, max_entries, max_bytes, reserved, token, answered_below)
    decode = SessionReply(one(_signed), session_id, keys, codes={b"NUMBER": nothing})
    return Call(load("increment"), (keys.meta,), args, decode)


def assign_session(
    session_id: str, keys: SessionKeys, entries: Sequence[IndexEntry], *, user_id: str, new_user: str, max_former: int
) -> Call[Any]:
    """The fields of the session; None if the id was given to another user meanwhile. ``entries``: old, then new."""
    args: tuple[Arg, ...] = (user_id, new_user, max_former, *[entry.member for entry in entries])
    decode = SessionReply(one(stored_hash), session_id, keys, codes={b"MOVED": nothing})
    return Call(load("assign_session"), (keys.meta, *[entry.key for entry in entries]), args, decode)


def replace_elements(
    session_id: str,
    keys: SessionKeys,
    *,
    now: str,
    default_ttl: int,
    epoch: int | None,
    newest: int | None,
    token: str,
    answered_below: int,
    tag: str,
    changes: Sequence[tuple[int, str, bytes]],
) -> Call[bool]:
    """False if one of them is not as it was read any more. ``changes``: seq, SHA-1 of the old element, the new one."""
    begin = (now, default_ttl, _optional(epoch), _optional(newest), token, answered_below, tag)
    decode = SessionReply(_true, session_id, keys, epoch, codes={b"CHANGED": lambda _: False})
    args: list[Arg] = [part for change in changes for part in change]
    return Call(load("replace_elements"), keys, (*begin, *args), decode)


def replace_history(
    session_id: str,
    keys: SessionKeys,
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    epoch: int | None,
    expect_seq: int | None,
    expect_revision: int | None,
    token: str,
    answered_below: int,
    tag: str,
    elements: Sequence[EncodedMessage],
) -> Call[tuple[int, int, int]]:
    """How many messages were removed, the last sequence number now, and how many of the messages were stored."""
    expected = (_optional(epoch), _optional(expect_seq), _optional(expect_revision))
    begin = (now, default_ttl, max_history, *expected, token, answered_below, tag)
    decode = SessionReply(_three_integers, session_id, keys, epoch)
    return Call(load("replace_history"), keys, (*begin, *chain.from_iterable(elements)), decode)


def delete_session(
    session_id: str,
    keys: SessionKeys,
    draft: bytes,
    entries: Sequence[IndexEntry],
    *,
    user_id: str,
    expect_revision: int | None,
) -> Call[int | None]:
    """How many keys were removed; 0 if it is gone; None if the id was given to another user meanwhile."""
    codes = {b"GONE": lambda _: 0, b"MOVED": nothing}
    decode = SessionReply(one(integer), session_id, keys, codes=codes)
    args: tuple[Arg, ...] = (user_id, _optional(expect_revision), *[entry.member for entry in entries])
    return Call(load("delete_session"), (*keys, draft, *[entry.key for entry in entries]), args, decode)


def check_epoch(session_id: str, keys: SessionKeys, *, epoch: int) -> Call[None]:
    decode = SessionReply(nothing, session_id, keys, epoch)
    return Call(load("check_epoch"), (keys.meta,), (epoch,), decode)


def extend_session(session_id: str, keys: SessionKeys, *, now: str, default_ttl: int) -> Call[None]:
    decode = SessionReply(nothing, session_id, keys)
    return Call(load("extend_session"), keys, (now, default_ttl), decode)


def set_ttl(
    keys: SessionKeys, deadlines: Sequence[bytes], *, session_id: str, ttl: int, waiting_ttl: int
) -> Call[tuple[int, bytes]]:
    """The ttl that the session has then, and its user. ``deadlines``: the indexes in which it is by its deadline."""
    decode = SessionReply(lambda facts: pair(facts, integer, text), session_id, keys)
    return Call(load("set_ttl"), (*keys, *deadlines), (session_id, ttl, waiting_ttl), decode)


def remove_orphan(keys: SessionKeys) -> Call[int]:
    """How many keys were removed."""
    return Call(load("remove_orphan"), keys, (), Reply(one(integer)))


def _seq_and_texts(facts: Facts) -> tuple[int, list[bytes]]:
    return pair(facts, integer, texts)


def _four_integers(facts: Facts) -> tuple[int, int, int, int]:
    if len(facts) != 4:  # noqa: PLR2004
        refuse(facts)
    return integer(facts[0]), integer(facts[1]), integer(facts[2]), integer(facts[3])


def _three_integers(facts: Facts) -> tuple[int, int, int]:
    if len(facts) != 3:  # noqa: PLR2004
        refuse(facts)
    return integer(facts[0]), integer(facts[1]), integer(facts[2])


def _stored_if_noted(elements: Sequence[EncodedMessage]) -> Callable[[Facts], list[Stored] | None]:
    return partial(read_stored, len(elements))


def _created(facts: Facts) -> None:
    one(text)(facts)


def _signed(reply: Any) -> int:
    written = text(reply)
    return int(written) if written.removeprefix(b"-").isdigit() else refuse(reply)


def _true(facts: Facts) -> bool:
    nothing(facts)
    return True


def _expected(expected: Mapping[str, Any]) -> list[Arg]:
    """As include/expect.lua takes them."""
    written: dict[str, bytes] = {
        name: b"" if value is None else b"=" + encode_value(value) for name, value in expected.items()
    }
    return [len(expected), *_flat(written)]


def _flat(fields: Mapping[str, bytes]) -> Iterable[Arg]:
    return chain.from_iterable(fields.items())


def _optional(value: int | str | None) -> Arg:
    return "" if value is None else value
