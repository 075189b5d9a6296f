"""Counts the tries of a call that reads, and changes what it read if nobody was faster."""

import asyncio
import itertools
from collections.abc import Iterator

from chat_session.errors import StoreUnavailable


def count_tries(name: str, timeout: float, obstacle: str, session_id: str | None = None) -> Iterator[int]:
    """1, 2, 3, …; raises StoreUnavailable when ``timeout`` seconds, the time of a call, are over.

    ``obstacle``: what happened each time.
    """
    started = asyncio.get_running_loop().time()
    for attempt in itertools.count(1):
        yield attempt
        elapsed = asyncio.get_running_loop().time() - started
        if elapsed >= timeout:
            text = (
                f"{name} failed after {attempt} attempts in {elapsed:.1f} s: {obstacle} each time. "
                "Nothing was changed; try again when fewer callers change the same at once."
            )
            raise StoreUnavailable(text, session_id=session_id, attempts=attempt, elapsed=elapsed)
