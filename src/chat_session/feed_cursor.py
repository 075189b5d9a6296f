"""Where a watcher is in a feed, as text that a client can keep."""

import re
from hashlib import blake2b
from typing import NamedTuple

from chat_session.checks import brief
from chat_session.errors import InvalidInput
from chat_session.storage.contract import Position

ENDED = -1  # the offset in a reply whose end was told

_FORM = re.compile(
    r"([0-9a-f]{0,16})\.(\d{1,16})\.([0-9a-f]{0,8})"  # the message
    r"\.(\d{1,16})\.([\w-]{0,32})"  # the revision
    r"\.([\w-]{0,64})\.(-1|\d{1,16})"  # the reply
)


class Cursor(NamedTuple):
    """``message``: a hash of the id of the message with ``seq``, to notice that another one has its place now."""

    incarnation: str
    seq: int = 0
    message: str = ""
    revision: int = 0
    tag: str = ""  # of that revision
    reply_id: str = ""
    offset: int = ENDED

    @classmethod
    def parse(cls, text: object) -> "Cursor":
        """Raises InvalidInput."""
        found = _FORM.fullmatch(text) if isinstance(text, str) and text.isascii() else None
        if found is None:
            raise InvalidInput("after", "the cursor of an event of this feed", brief(text))
        incarnation, seq, message, revision, tag, reply_id, offset = found.groups()
        return cls(incarnation, int(seq), message, int(revision), tag, reply_id, int(offset))

    @property
    def position(self) -> Position:
        return Position(self.seq, self.reply_id, max(self.offset, 0))

    def __str__(self) -> str:
        return ".".join(map(str, self))


def hash_id(message_id: str | None) -> str:
    return blake2b((message_id or "").encode(errors="surrogatepass"), digest_size=4).hexdigest()
