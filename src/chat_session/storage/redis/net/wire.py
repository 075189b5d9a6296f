"""A command in the bytes in which it travels, and which of its replies is the result."""

from collections.abc import Sequence
from typing import Any

import hiredis
from msgspec import Struct
from redis.exceptions import RedisError

Arg = bytes | str | int


class WireCommand(Struct, frozen=True, gc=False):
    """A command as bytes. ``writes``: replicas may be waited for.

    ``replies``: how many the server gives. The first error among them is the result, else the last.
    """

    data: bytes
    writes: bool
    replies: int = 1


def pack_command(words: Sequence[Arg]) -> bytes:
    data: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub knows one-element tuples only
    return data


def choose_reply(replies: Sequence[Any]) -> Any:
    """The first error among them, or in the last of them, else the last."""
    last = replies[-1]
    parts = last if isinstance(last, list) else ()
    return next((part for part in (*replies, *parts) if isinstance(part, RedisError)), last)
