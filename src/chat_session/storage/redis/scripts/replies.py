"""The scripts of streaming replies as typed calls. A test holds each function against its script's header.

A reply is committed by ``turns.append_in_turn``.
"""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import NoReturn

from chat_session.errors import InvalidInput
from chat_session.storage.codec import EncodedMessage
from chat_session.storage.redis.keys import SessionKeys
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.decoders import integer
from chat_session.storage.redis.net.wire import Arg
from chat_session.storage.redis.scripts.appended import Stored, read_stored
from chat_session.storage.redis.scripts.loading import load
from chat_session.storage.redis.scripts.status import Facts, Reply, SessionReply, nothing, one


def begin_reply(
    session_id: str, keys: SessionKeys, draft: bytes, *, token: str, reply_id: str, author: bytes
) -> Call[None]:
    """Raises TurnLost, InvalidInput."""
    decode: SessionReply[None] = SessionReply(nothing, session_id, keys, codes={b"GROWS": _refuse_second})
    return Call(load("begin_reply"), (keys.meta, draft), (token, reply_id, author), decode)


def write_reply(
    session_id: str, keys: SessionKeys, draft: bytes, *, token: str, reply_id: str, offset: int, text: bytes
) -> Call[int]:
    """The length that is there then. Raises TurnLost."""
    decode = SessionReply(one(integer), session_id, keys)
    return Call(load("write_reply"), (keys.meta, draft), (token, reply_id, offset, text), decode)


def abort_reply(keys: SessionKeys, draft: bytes, *, reply_id: str, reason: str) -> Call[None]:
    return Call(load("abort_reply"), (keys.meta, draft), (reply_id, reason), Reply(nothing))


def commit_partial(
    session_id: str,
    keys: SessionKeys,
    draft: bytes,
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    reply_id: str,
    length: int,
    reason: str,
    elements: Sequence[EncodedMessage],
) -> Call[list[Stored] | None]:
    """None if the reply has ended, or has another text. Raises MessageConflict."""
    begin = (now, default_ttl, max_history, reply_id, length, reason)
    args: tuple[Arg, ...] = (*begin, *chain.from_iterable(elements))
    decode: SessionReply[list[Stored] | None] = SessionReply(
        partial(read_stored, len(elements)), session_id, keys, codes={b"OVER": nothing}
    )
    return Call(load("commit_partial"), (*keys, draft), args, decode)


def _refuse_second(facts: Facts) -> NoReturn:
    nothing(facts)
    raise InvalidInput("reply_id", "that of the reply that grows in this turn, which is one at a time", "another one")
