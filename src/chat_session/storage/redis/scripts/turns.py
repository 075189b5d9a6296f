"""The scripts of turns as typed calls. A test holds each function against its script's header."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import NoReturn

from chat_session.errors import TurnBusy
from chat_session.storage.codec import EncodedMessage
from chat_session.storage.contract import TurnState
from chat_session.storage.redis.keys import SessionKeys
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.decoders import integer, pair, refuse, text
from chat_session.storage.redis.net.wire import Arg
from chat_session.storage.redis.scripts.appended import Stored, read_stored
from chat_session.storage.redis.scripts.loading import load
from chat_session.storage.redis.scripts.status import Facts, Reply, SessionReply, nothing, one


def take_turn(session_id: str, keys: SessionKeys, draft: bytes, *, token: str, lease_ms: int) -> Call[TurnState]:
    """Raises AgentConflict, TurnBusy."""
    codes = {b"BUSY": partial(_refuse_busy, session_id)}
    decode = SessionReply(_state, session_id, keys, expected="ai", codes=codes)
    return Call(load("take_turn"), (keys.meta, keys.history, draft), (token, lease_ms), decode)


def renew_turn(session_id: str, keys: SessionKeys, draft: bytes, *, token: str, lease_ms: int) -> Call[TurnState]:
    """Raises TurnLost."""
    decode = SessionReply(_state, session_id, keys)
    return Call(load("renew_turn"), (keys.meta, keys.history, draft), (token, lease_ms), decode)


def release_turn(
    session_id: str, keys: SessionKeys, draft: bytes, *, token: str, read_to: int | str, unless_newer: int
) -> Call[tuple[bool, bool]]:
    """Whether it is over, and whether a worker has to find the session. Raises TurnLost."""
    decode = SessionReply(_flags, session_id, keys)
    return Call(load("release_turn"), (keys.meta, keys.history, draft), (token, read_to, unless_newer), decode)


def stop_turn(session_id: str, keys: SessionKeys, draft: bytes) -> Call[tuple[bool, bool]]:
    """Whether there was one, and whether a worker has to find the session."""
    return Call(load("stop_turn"), (keys.meta, keys.history, draft), (), SessionReply(_flags, session_id, keys))


def note_work(index: bytes, *, member: str) -> Call[None]:
    return Call(load("note_work"), (index,), (member,), Reply(nothing))


def check_turn(session_id: str, keys: SessionKeys) -> Call[tuple[str, int]]:
    """``pending``, ``busy``, ``human``, ``idle`` or ``gone``; and the milliseconds that a turn lasts."""
    decode = SessionReply(_kind, session_id, keys, codes={b"GONE": lambda _: ("gone", 0)})
    return Call(load("check_turn"), (keys.meta, keys.history), (), decode)


def append_in_turn(
    session_id: str,
    keys: SessionKeys,
    draft: bytes,
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    token: str,
    read_to: int,
    reply_id: str,
    elements: Sequence[EncodedMessage],
) -> Call[list[Stored]]:
    """``reply_id``: of the streaming reply that ends with its message, or empty. Raises TurnLost, MessageConflict."""
    args: tuple[Arg, ...] = (now, default_ttl, max_history, token, read_to, reply_id, *chain.from_iterable(elements))
    decode: SessionReply[list[Stored]] = SessionReply(partial(read_stored, len(elements)), session_id, keys)
    return Call(load("append_in_turn"), (*keys, draft), args, decode)


def _state(facts: Facts) -> TurnState:
    if len(facts) != 4:  # noqa: PLR2004
        refuse(facts)
    epoch, customer, answered, last = map(integer, facts)
    return TurnState(epoch, customer, None if answered < 0 else answered, last)


def _kind(facts: Facts) -> tuple[str, int]:
    kind, left = pair(facts, text, integer)
    return kind.decode(errors="replace"), left


def _flags(facts: Facts) -> tuple[bool, bool]:
    first, second = pair(facts, integer, integer)
    return first == 1, second == 1


def _refuse_busy(session_id: str, facts: Facts) -> NoReturn:
    raise TurnBusy(session_id, one(integer)(facts) / 1000)
