"""What a line of an import may need: it is looked at before it is decoded, so that no file takes over 200 MiB."""

import re
from itertools import islice

MAX_LINE_BYTES = 8 * 1024 * 1024  # decoded and sent it takes twelve times that, if its texts are ASCII with an emoji
MAX_LINE_PARTS = 500_000  # an empty dict takes 64 bytes, and a nested one over 200; 10,000 messages have 160,000 parts
_PART_BYTES = 100  # of a part, decoded, beside what its text takes
_PART = re.compile(rb'"[^"]*"?|[\[{,]')


class BadLine(Exception):
    """A line is not imported; the text says why, in a sentence or two."""


class LineTooLarge(BadLine):
    """It would take too much memory."""

    def __init__(self, limit: int, unit: str) -> None:
        super().__init__(f"The line has more than {limit:,} {unit}, the limit for one line.")


def weigh_line(raw: bytes | bytearray) -> int:
    """About how many bytes it needs once it is decoded. Raises LineTooLarge."""
    if len(raw) > MAX_LINE_BYTES:
        raise LineTooLarge(MAX_LINE_BYTES, "bytes")
    parts = raw.count(b'"') // 2 + raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if parts > MAX_LINE_PARTS:  # unless they are in texts
        plain = raw.replace(rb"\\", b"").replace(rb"\"", b"")
        parts = sum(1 for _ in islice(_PART.finditer(plain), MAX_LINE_PARTS + 1))
        if parts > MAX_LINE_PARTS:
            raise LineTooLarge(MAX_LINE_PARTS, "strings, commas and brackets")
    return len(raw) + parts * _PART_BYTES
