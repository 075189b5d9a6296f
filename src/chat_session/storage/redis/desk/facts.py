"""What the desk reads of a session's meta hash, and writes to it."""

from collections.abc import Mapping
from typing import NamedTuple

from chat_session.clock import to_us
from chat_session.desk_status import DeskFacts, current_facts, decode_facts, encode_facts
from chat_session.errors import StoreCorrupt
from chat_session.handoff import Read
from chat_session.session import DESK, Session
from chat_session.storage.redis.codec import decode_meta

_DESK = DESK.encode()


class Found(NamedTuple):
    """A session as a step found it."""

    session: Session
    stored: bytes  # the facts as they are stored, empty if there are none
    ttl: bytes  # as it is stored, empty if it is not
    facts: DeskFacts  # as they are now
    is_bypassed: bool  # the agent was switched without the desk since the facts were stored
    now: int

    def read(self, presence: int) -> Read:
        session = self.session
        return Read(session.session_id, self.facts, session.agent_epoch, self.now, presence)

    @property
    def stored_ttl(self) -> int | None:
        """None: never expires. The desk may have raised it."""
        is_raised = self.facts.own_ttl is not None and self.ttl == b"%d" % (self.facts.desk_ttl or 0)
        return self.facts.desk_ttl if is_raised else self.session.ttl

    def lives_too_short(self, waiting_ttl: int) -> bool:
        """Whether people depend on it, and it was not the desk that gave it its ttl: it was restored, or switched."""
        stored = self.stored_ttl
        return self.facts.state != "open" and self.facts.own_ttl is None and stored is not None and stored < waiting_ttl

    @property
    def created(self) -> int:
        return to_us(self.session.created_at)


def find(key: bytes, fields: Mapping[bytes, bytes], now: int, default_ttl: int) -> Found:
    """Raises StoreCorrupt."""
    session = decode_meta(key, fields, default_ttl)
    if session is None:
        raise StoreCorrupt(key.decode(errors="replace"), "has no userId any more")
    stored = fields.get(_DESK, b"")
    known = decode_facts(stored) if stored else None
    facts = current_facts(known, session.current_agent, session.agent_epoch, session.agent_switched_at)
    return Found(session, stored, fields.get(b"ttl", b""), facts, known is not None and known is not facts, now)


def encode_rest(facts: DeskFacts) -> bytes:
    """What follows the stamp in the JSON."""
    return encode_facts(facts).removeprefix(b'{"stamp":%d' % facts.stamp)
