"""How a page's cursor is written: opaque text that says where the next page begins."""

import base64
import binascii
from collections.abc import Sequence

import msgspec

from chat_session.checks import brief
from chat_session.errors import InvalidInput

_VERSION = 1


def write_cursor(kind: str, *place: str) -> str:
    """``kind``: which list it belongs to; ``place``: of the last entry that was read."""
    return base64.urlsafe_b64encode(msgspec.json.encode([_VERSION, kind, *place])).decode().rstrip("=")


def read_cursor(kind: str, cursor: str, length: int) -> Sequence[str]:
    """The ``length`` parts of its place. Raises InvalidInput for a cursor that no page of this list gave."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        version, name, *place = msgspec.json.decode(
            base64.b64decode(padded, b"-_", validate=True), type=list[int | str]
        )
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        version, name, place = None, None, []
    if (version, name, len(place)) != (_VERSION, kind, length) or not all(isinstance(part, str) for part in place):
        raise InvalidInput("cursor", "a cursor that a page of this list gave, or None", brief(cursor))
    return [str(part) for part in place]
