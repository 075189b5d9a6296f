"""What scripts that append messages say of each."""

from chat_session.storage.redis.net.decoders import integer, optional_text, refuse
from chat_session.storage.redis.scripts.status import Facts

Stored = tuple[int, bytes | None]  # a message's seq; what is stored, if its id was known


def read_stored(count: int, facts: Facts) -> list[Stored]:
    """As include/check.lua answers."""
    if len(facts) != 2 * count:
        refuse(facts)
    return [(integer(seq), optional_text(stored)) for seq, stored in zip(facts[::2], facts[1::2], strict=True)]
