"""For values that may be None, but not in the test at hand."""

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value. Fails if it is None."""
    assert value is not None
    return value
