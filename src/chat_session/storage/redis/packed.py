"""A command in the bytes in which it travels, and what of its replies is the answer."""

from collections.abc import Sequence
from typing import Any

import hiredis
from msgspec import Struct
from redis.exceptions import RedisError


class Packed(Struct, frozen=True, gc=False):
    """A command as it goes over the wire. ``writes``: replicas may be waited for.

    ``replies``: how many the server gives; the first error is the answer, else the last.
    """

    data: bytes
    writes: bool
    replies: int = 1


def pack_words(words: tuple[bytes | str | int, ...]) -> bytes:
    data: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub knows one-element tuples only
    return data


def answer_of(replies: Sequence[Any]) -> Any:
    """The first error among them, or in the last of them, else the last."""
    last = replies[-1]
    parts = last if isinstance(last, list) else ()
    return next((part for part in (*replies, *parts) if isinstance(part, RedisError)), last)
