"""Tokens by which a script knows a repeated call, and what it may forget of those before."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from chat_session.errors import Conflict, SessionNotFound


class Token(NamedTuple):
    text: str  # "<id>.<number>"
    number: int
    answered_below: int  # the calls of this id with lower numbers have been answered, and are not repeated


class Tokens:
    """Numbers the calls of one manager that are not repeatable by themselves.

    A call that ends without an answer may still be under way. Then the next calls get a new id, so that nothing of the
    old one is forgotten before its time.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._id = secrets.token_urlsafe(6)  # 8 characters
        self._next = 1
        self._open: dict[int, None] = {}  # in the order of their numbers

    def take(self) -> Token:
        number, self._next = self._next, self._next + 1
        self._open[number] = None
        return Token(f"{self._id}.{number}", number, next(iter(self._open)))

    @contextmanager
    def answering(self, token: Token) -> Iterator[None]:
        """Surrounds the call of ``token``, to know how it ends."""
        try:
            yield
        except (SessionNotFound, Conflict):  # answers, too
            self.answered(token)
            raise
        except BaseException:
            self.lost()
            raise
        self.answered(token)

    def lost(self) -> None:
        """A call ended without an answer: it may still be under way."""
        self._begin()

    def answered(self, token: Token) -> None:
        """It is not repeated any more, so scripts may forget it."""
        if token.text.startswith(self._id):
            self._open.pop(token.number, None)
