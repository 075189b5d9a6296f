"""What is valid of the arguments by which a list or a history is read in parts."""

from chat_session.checks import check_integer, check_text
from chat_session.errors import InvalidInput

MAX_LIMIT = 10_000
_MAX_CURSOR = 2048


def check_limit(value: object, argument: str = "limit") -> int:
    return check_integer(argument, value, 1, MAX_LIMIT, f"a whole number from 1 to {MAX_LIMIT:,}")


def check_cursor(value: object) -> str | None:
    """A cursor as a page gave it. What it says is the store's to check."""
    allowed = "a cursor that a page gave, or None"
    if value is None:
        return None
    if isinstance(value, str) and len(value) > _MAX_CURSOR:
        raise InvalidInput("cursor", allowed, f"{len(value):,} characters")
    return check_text("cursor", value, allowed)


def check_window(before: object, after: object) -> tuple[int | None, int | None]:
    """Two sequence numbers, exclusive, with room between them; None is open."""
    allowed = "a sequence number, or None"
    low = None if after is None else check_integer("after", after, 0, 2**53 - 1, allowed)
    high = None if before is None else check_integer("before", before, 0, 2**53 - 1, allowed)
    if low is not None and high is not None and low >= high:
        raise InvalidInput("after", f"lower than 'before', which is {high}", str(low))
    return high, low
