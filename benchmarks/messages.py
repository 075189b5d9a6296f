"""What is sent: the same text to everyone, about 250 bytes of JSON as this package stores it."""

import itertools

HISTORY = 100  # messages in a full history
TTL = 86_400  # seconds

_FILLER = (
    "I have looked at the order you mean; it left our house on Monday and should be with you by Friday. "
    "Shall I send the tracking number?"
)
_numbers = itertools.count(1)


def next_number() -> int:
    return next(_numbers)


def next_text() -> str:
    """142 characters of ASCII; no two alike, for peers that tell messages apart by their content."""
    return f"{next(_numbers):08d} {_FILLER}"
