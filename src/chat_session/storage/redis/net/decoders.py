"""Decoders for the replies of plain commands, in RESP2 and RESP3. They raise UnexpectedReply."""

from collections.abc import Callable
from math import isnan
from typing import Any, NoReturn, TypeVar

from chat_session.storage.redis.net.commands import UnexpectedReply

T = TypeVar("T")


def refuse(reply: Any) -> NoReturn:
    raise UnexpectedReply(type(reply).__name__)


def integer(reply: Any) -> int:
    return reply if type(reply) is int else refuse(reply)


def text(reply: Any) -> bytes:
    return reply if type(reply) is bytes else refuse(reply)


def optional_text(reply: Any) -> bytes | None:
    return reply if reply is None or type(reply) is bytes else refuse(reply)


def texts(reply: Any) -> list[bytes]:
    if type(reply) is list and [*map(type, reply)].count(bytes) == len(reply):
        return reply
    refuse(reply)


def optional_texts(reply: Any, count: int) -> list[bytes | None]:
    """A list of exactly so many."""
    if type(reply) is list and len(reply) == count and all(part is None or type(part) is bytes for part in reply):
        return reply
    refuse(reply)


def stored_hash(reply: Any) -> Any:
    """HGETALL, as a mapping or flat. Its parts are checked where they are decoded."""
    return reply if type(reply) is list or type(reply) is dict else refuse(reply)


def fields(reply: Any) -> dict[bytes, bytes]:
    """A hash: a map in RESP3, flat in RESP2."""
    flat = [part for pair in reply.items() for part in pair] if type(reply) is dict else texts(reply)
    if len(flat) % 2:
        refuse(reply)
    names = texts(flat)
    return dict(zip(names[::2], names[1::2], strict=True))


def score(reply: Any) -> bytes | None:
    """As the server writes it: a number in RESP3, text in RESP2."""
    if reply is None or (type(reply) is bytes and _is_number(reply)):
        return reply
    return repr(reply).encode() if type(reply) is float else refuse(reply)


def scores(reply: Any) -> list[tuple[bytes, bytes]]:
    """Members with their scores: flat in RESP2, in pairs in RESP3."""
    if type(reply) is not list:
        refuse(reply)
    if not reply or type(reply[0]) is not list:
        return flat_scores(reply)
    for pair in reply:
        if type(pair) is not list or [*map(type, pair)] != [bytes, float]:
            refuse(reply)
    return [(member, repr(number).encode()) for member, number in reply]


def flat_scores(reply: Any) -> list[tuple[bytes, bytes]]:
    """As a script passes them on."""
    flat = texts(reply)
    if len(flat) % 2 or not all(map(_is_number, flat[1::2])):
        refuse(reply)
    return list(zip(flat[::2], flat[1::2], strict=True))


def moment(reply: Any) -> tuple[int, int]:
    """TIME: seconds and microseconds."""
    seconds, microseconds = pair(reply, whole, whole)
    return seconds, microseconds


def whole(reply: Any) -> int:
    """A number without a sign, as text. Milliseconds have 13 digits."""
    if type(reply) is bytes and reply.isdigit() and len(reply) <= 16:  # noqa: PLR2004
        return int(reply)
    refuse(reply)


def whole_score(reply: Any) -> int:
    """A score that is a moment or a place: between 0 and 2^53. One that is damaged is the nearest that may be."""
    number = score(reply)
    return int(min(max(float(number), 0.0), 2.0**53)) if number is not None else refuse(reply)


def paired(flat: list[bytes], size: int = 2) -> list[tuple[bytes, ...]]:
    """``size`` of them together, one after the other."""
    return list(zip(*[iter(flat)] * size, strict=True)) if len(flat) % size == 0 else refuse(flat)


def pair(reply: Any, first: Callable[[Any], T], second: Callable[[Any], Any]) -> tuple[T, Any]:
    if type(reply) is not list or len(reply) != 2:  # noqa: PLR2004
        refuse(reply)
    return first(reply[0]), second(reply[1])


def scan_of(items: Callable[[Any], T]) -> Callable[[Any], tuple[bytes, T]]:
    """The cursor and the items of SCAN and its kind."""
    return lambda reply: pair(reply, text, items)


def _is_number(written: bytes) -> bool:
    try:
        return not isnan(float(written))
    except ValueError:
        return False
