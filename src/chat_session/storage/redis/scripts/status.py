"""The status codes with which scripts answer: the one table from code to error."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from chat_session.checks import refuse_large_metadata
from chat_session.errors import AgentConflict, MessageConflict, SessionExists, SessionNotFound, StoreCorrupt
from chat_session.storage.codec import decode_id
from chat_session.storage.redis.keys import SessionKeys
from chat_session.storage.redis.net.decoders import integer, refuse, text

T = TypeVar("T")

Facts = list[Any]  # what follows a status code


def unwrap_reply(ok: Callable[[Facts], T], **codes: Callable[[Facts], T]) -> Callable[[Any], T]:
    """A decoder for a script that has no session: what follows OK, or one of its own ``codes``."""
    table: Mapping[bytes, Callable[[Facts], T]] = {b"OK": ok, **{code.encode(): make for code, make in codes.items()}}
    return partial(_unwrap, table)


def unwrap_session_reply(
    ok: Callable[[Facts], T],
    session_id: str,
    keys: SessionKeys,
    expected: int | str | None = None,
    **codes: Callable[[Facts], T],
) -> Callable[[Any], T]:
    """As ``unwrap_reply``, and raises the error for a status code of a session.

    ``expected``: the epoch or the agent that the caller saw. Raises SessionNotFound, SessionExists, AgentConflict,
    MessageConflict, StoreCorrupt, InvalidInput.
    """
    return partial(_unwrap_session, unwrap_reply(ok, **codes), session_id, keys, expected)


def nothing(facts: Facts) -> None:
    if facts:
        refuse(facts)


def one(decode: Callable[[Any], T]) -> Callable[[Facts], T]:
    """Exactly one fact follows."""
    return lambda facts: decode(facts[0]) if len(facts) == 1 else refuse(facts)


def two(facts: Facts, first: Callable[[Any], Any], second: Callable[[Any], Any]) -> tuple[Any, Any]:
    return (first(facts[0]), second(facts[1])) if len(facts) == 2 else refuse(facts)  # noqa: PLR2004


def _unwrap(table: Mapping[bytes, Callable[[Facts], T]], reply: Any) -> T:
    if type(reply) is not list or not reply or type(reply[0]) is not bytes:
        refuse(reply)
    decode = table.get(reply[0])
    return refuse(reply) if decode is None else decode(reply[1:])


def _unwrap_session(
    decode: Callable[[Any], T], session_id: str, keys: SessionKeys, expected: int | str | None, reply: Any
) -> T:
    match reply:
        case [b"GONE"]:
            raise SessionNotFound(session_id)
        case [b"EXISTS"]:
            raise SessionExists(session_id)
        case [b"STALE", epoch, agent]:
            raise AgentConflict(session_id, expected or 0, integer(epoch), text(agent).decode(errors="replace"))
        case [b"CONFLICT", written]:
            raise MessageConflict(session_id, decode_id(text(written)))
        case [b"CORRUPT", field]:
            name = text(field).decode(errors="replace")
            key, problem = keys.meta, f"has a {name} that cannot be read"
            if name == "ids":
                key, problem = keys.ids, "has an entry that is not the number and fingerprint of a message"
            raise StoreCorrupt(key.decode(), problem, session_id=session_id)
        case [b"FULL", entries, size]:
            refuse_large_metadata(integer(entries), integer(size))
    return decode(reply)
