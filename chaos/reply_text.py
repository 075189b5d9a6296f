"""What a reply of the fault tests says: a text without end that follows from the id of the reply."""

import random
from functools import lru_cache
from zlib import crc32

from chaos.history import text_of

# One to four bytes a code point, and signs of several code points.
WORDS = ("plain ", "naïve ", "Grüße ", "日本語 ", "\N{SLIGHTLY SMILING FACE}", "\N{MUSICAL SYMBOL G CLEF}", "नमस्ते ")
STEP = 64  # words


@lru_cache(maxsize=4096)
def beginning_of(session: str, reply_id: str, words: int) -> str:
    """The text of the reply as far as so many words."""
    rng = random.Random(reply_id)
    return f"{text_of(session, reply_id)} " + "".join(rng.choice(WORDS) for _ in range(words))


def is_part_of(session: str, reply_id: str, offset: int, size: int, checksum: int) -> bool:
    """Whether the ``size`` bytes of this reply that begin at ``offset`` have that checksum, as crc32 computes it."""
    words = STEP
    while len(text := beginning_of(session, reply_id, words).encode()) < offset + size:
        words *= 2
    return crc32(text[offset : offset + size]) == checksum
