"""Every key, as a function. Nothing else joins a key.

The names are the specification's. "tagged" puts the session id in braces, so that on a cluster all
keys of one session share a slot.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple
from zlib import crc32

from chat_session.session import is_session_id
from chat_session.storage.redis.net.wire import Arg

Layout = Literal["plain", "tagged"]

# Of the index of deadlines. Plain: 60,000 entries each at a million sessions. Tagged, for clusters: at a hundred
# million sessions 22 MiB each, which managed clusters still move between nodes; of 16 each would be 346 MiB.
BUCKETS: dict[Layout, int] = {"plain": 16, "tagged": 256}

_STATE = re.compile(rb"(?:^|:)state:(?:user|app):")
_DESK_HASHES = (b"entries", b"claims", b"operators", b"counts")
_TYPES = {b"meta": b"hash", b"agent": b"string", b"history": b"list", b"ids": b"hash", b"draft": b"string"}


class SessionKeys(NamedTuple):
    """What one session is stored in."""

    meta: bytes
    agent: bytes
    history: bytes
    ids: bytes


_PARTS = (*SessionKeys._fields, "draft")


class DeskKeys(NamedTuple):
    """What the desk is kept in apart from the sessions, in one slot. include/place.lua says what each one holds."""

    queue: bytes
    teams: bytes
    entries: bytes
    seats: bytes
    claims: bytes
    leases: bytes
    presence: bytes
    operators: bytes
    lapsed: bytes
    idle: bytes
    counts: bytes


class Order(StrEnum):
    """What gives an index entry its score. The scripts take it in this form."""

    DEADLINE = "deadline"  # the moment at which the session must be checked, in milliseconds
    CREATION = "creation"  # the moment of the session's creation, in microseconds


class IndexEntry(NamedTuple):
    """A member of a sorted set, and what its score there is."""

    key: bytes
    member: bytes
    order: Order


class SessionEntries(NamedTuple):
    """The index entries of a session. The first says when it must be checked; the others follow what is found."""

    due: IndexEntry  # in a bucket of the index of deadlines
    user: IndexEntry  # in the list of its user

    @property
    def others(self) -> tuple[IndexEntry, ...]:
        return self[1:]


class Keys:
    """The keys of one store; ``prefix`` goes before every one of them."""

    def __init__(self, prefix: str = "", layout: Layout = "plain") -> None:
        self.prefix = prefix
        self.layout = layout
        opening, closing = ("{", "}") if layout == "tagged" else ("", "")
        self._session = f"{prefix}session:{opening}%s{closing}:%s"
        self._before, self._after = f"{prefix}session:{opening}".encode(), f"{closing}:".encode()

    def session(self, session_id: str) -> SessionKeys:
        head = self._head(session_id)
        return SessionKeys(head + b"meta", head + b"agent", head + b"history", head + b"ids")

    def meta(self, session_id: str) -> bytes:
        return self._head(session_id) + b"meta"

    def draft(self, session_id: str) -> bytes:
        """String: the text of a reply that grows. It lives as long as the turn in which it is written."""
        return self._head(session_id) + b"draft"

    def feed(self, session_id: str) -> bytes:
        """Not a key but a channel: what tells of the session's changes. The scripts form it in include/notify."""
        return self._head(session_id) + b"feed"

    def desk_feed(self) -> bytes:
        """The channel of the desk's changes."""
        return f"{self.prefix}{{desk}}:feed".encode()

    def _head(self, session_id: str) -> bytes:
        return self._before + session_id.encode() + self._after

    def user(self, user_id: str) -> bytes:
        """Sorted set: session id by the moment of its creation, in microseconds."""
        return f"{self.prefix}user:{user_id}:sessions".encode()

    def state(self, scope: str) -> bytes:
        """Hash: the entries of ``user:<id>`` or ``app:<name>``."""
        return f"{self.prefix}state:{scope}".encode()

    def due(self, session_id: str) -> bytes:
        """Sorted set: ``due_member`` by the moment at which the session must be checked, in milliseconds."""
        return self.due_bucket(crc32(session_id.encode()) % BUCKETS[self.layout])

    def due_bucket(self, number: int) -> bytes:
        return f"{self.prefix}sessions:due:{number}".encode()

    def due_buckets(self) -> list[bytes]:
        return [self.due_bucket(number) for number in range(BUCKETS[self.layout])]

    def entries(self, session_id: str, user_id: str) -> SessionEntries:
        due = IndexEntry(self.due(session_id), due_member(session_id, user_id), Order.DEADLINE)
        return SessionEntries(due, IndexEntry(self.user(user_id), session_id.encode(), Order.CREATION))

    def desk(self) -> DeskKeys:
        return DeskKeys(*(f"{self.prefix}{{desk}}:{name}".encode() for name in DeskKeys._fields))

    def check(self, session_id: str) -> bytes:
        """Sorted set: session id by the moment at which its place in the desk must be checked, in milliseconds."""
        return self.check_bucket(crc32(session_id.encode()) % BUCKETS[self.layout])

    def check_bucket(self, number: int) -> bytes:
        return f"{self.prefix}sessions:desk:{number}".encode()

    def check_buckets(self) -> list[bytes]:
        return [self.check_bucket(number) for number in range(BUCKETS[self.layout])]

    def turns(self, session_id: str) -> bytes:
        """Sorted set: session id by the moment from which it may wait for a worker, in milliseconds."""
        return self.turn_bucket(crc32(session_id.encode()) % BUCKETS[self.layout])

    def turn_bucket(self, number: int) -> bytes:
        return f"{self.prefix}sessions:turns:{number}".encode()

    def turn_buckets(self) -> list[bytes]:
        return [self.turn_bucket(number) for number in range(BUCKETS[self.layout])]

    def any_session(self) -> bytes:
        """A glob that matches every session's keys, for operators' scans. A prefix has no glob characters."""
        return (self._session % ("*", "*")).encode()

    def parse_session_id(self, key: bytes) -> str | None:
        """The session that a key found by a scan would belong to; None for a key that is none of ours."""
        head, tail = (self._session % ("\n", "")).split("\n")
        name, _, part = key.decode(errors="replace").removeprefix(head).rpartition(tail)
        return name if part in _PARTS and is_session_id(name) else None


def members_and_orders(entries: Iterable[IndexEntry]) -> list[Arg]:
    """As the scripts take them."""
    return [part for entry in entries for part in (entry.member, entry.order.value)]


def expected_type(key: bytes) -> bytes:
    """What TYPE must say of one of our keys."""
    if b"{desk}:" in key and key.rpartition(b":")[2] in _DESK_HASHES:
        return b"hash"
    is_state = _STATE.search(key) and not key.endswith(b":sessions")
    return b"hash" if is_state else _TYPES.get(key.rpartition(b":")[2], b"zset")


def due_member(session_id: str, user_id: str) -> bytes:
    """Names the session and its user, so that a sweep finds both index entries. A session id has no slash."""
    return f"{session_id}/{user_id}".encode()


def parse_due_member(member: bytes) -> tuple[str, str] | None:
    """Session and user; None if it names none."""
    try:
        session_id, slash, user_id = member.decode().partition("/")
    except UnicodeDecodeError:
        return None
    return (session_id, user_id) if slash and is_session_id(session_id) else None
