"""The status codes with which scripts answer: the one table from code to error."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NoReturn, TypeVar

from msgspec import Struct

from chat_session.checks import refuse_large_metadata
from chat_session.errors import (
    AgentConflict,
    MessageConflict,
    MetadataConflict,
    SequenceConflict,
    SessionNotFound,
    StoreCorrupt,
    TurnLost,
)
from chat_session.storage.codec import decode_id
from chat_session.storage.redis.keys import SessionKeys
from chat_session.storage.redis.net.decoders import integer, refuse, text

T = TypeVar("T")

Facts = list[Any]  # what follows a status code


class Reply(Struct, Generic[T], frozen=True, gc=False):
    """Decodes the reply of a script: what follows OK, or one of the script's own ``codes``."""

    ok: Callable[[Facts], T]
    codes: Mapping[bytes, Callable[[Facts], T]] = {}

    def __call__(self, reply: Any) -> T:
        if type(reply) is not list or not reply:
            refuse(reply)
        if reply[0] == b"OK":
            return self.ok(reply[1:])
        decode = self.codes.get(reply[0]) if type(reply[0]) is bytes else None
        return refuse(reply) if decode is None else decode(reply[1:])


class SessionReply(Struct, Generic[T], frozen=True, gc=False):
    """Decodes the reply of a script on a session: what follows OK, or one of the script's own ``codes``; else it
    raises the error for the status code.

    ``expected``: the epoch or the agent that the caller saw. Raises SessionNotFound, AgentConflict, MessageConflict,
    SequenceConflict, MetadataConflict, TurnLost, StoreCorrupt, InvalidInput.
    """

    ok: Callable[[Facts], T]
    session_id: str
    keys: SessionKeys
    expected: int | str | None = None
    codes: Mapping[bytes, Callable[[Facts], T]] = {}

    def __call__(self, reply: Any) -> T:
        if type(reply) is list and reply:
            if reply[0] == b"OK":
                return self.ok(reply[1:])
            if type(reply[0]) is bytes and reply[0] in self.codes:
                return self.codes[reply[0]](reply[1:])
        return self._refuse(reply)

    def _refuse(self, reply: Any) -> NoReturn:
        match reply:
            case [b"GONE"]:
                raise SessionNotFound(self.session_id)
            case [b"STALE", epoch, agent]:
                current = text(agent).decode(errors="replace")
                raise AgentConflict(self.session_id, self.expected or 0, integer(epoch), current)
            case [b"LOST", reason]:
                raise TurnLost(self.session_id, text(reason).decode(errors="replace"))
            case [b"CONFLICT", written]:
                raise MessageConflict(self.session_id, decode_id(text(written)))
            case [b"CORRUPT", field]:
                raise self._corrupt(text(field).decode(errors="replace"))
            case [b"SEQUENCE", last_seq, revision]:
                raise SequenceConflict(self.session_id, integer(last_seq), integer(revision))
            case [b"DIFFERS", name]:
                raise MetadataConflict(self.session_id, text(name).decode())
            case [b"FULL", entries, size, *state]:
                argument = "metadata" if not state or integer(state[0]) == 0 else "state"
                refuse_large_metadata(integer(entries), integer(size), argument)
        refuse(reply)

    def _corrupt(self, field: str) -> StoreCorrupt:
        key, problem = self.keys.meta, f"has a {field} that cannot be read"
        if field == "ids":
            key, problem = self.keys.ids, "has an entry that is not the number and fingerprint of a message"
        return StoreCorrupt(key.decode(), problem, session_id=self.session_id)


def nothing(facts: Facts) -> None:
    if facts:
        refuse(facts)


def one(decode: Callable[[Any], T]) -> Callable[[Facts], T]:
    """Exactly one fact follows."""
    return lambda facts: decode(facts[0]) if len(facts) == 1 else refuse(facts)
