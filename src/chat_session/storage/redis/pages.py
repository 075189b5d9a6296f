"""Sessions in pages: those of one user, and all there are."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from chat_session.checks import brief
from chat_session.errors import InvalidInput, StoreCorrupt
from chat_session.results import SessionPage
from chat_session.session import Agent, Session, is_session_id
from chat_session.storage.cursors import read_cursor, write_cursor
from chat_session.storage.redis.codec import decode_meta
from chat_session.storage.redis.index.entries import Index, UserEntry
from chat_session.storage.redis.keys import Keys, parse_due_member
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import scores, stored_hash
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import index as scripts

BATCH = 500  # entries per round trip of a scan: each costs the server a few microseconds
MAX_WIDTH = 64  # buckets that are read at once, when those before had little
MAX_READ = 1000  # sessions that one page reads in search of those of an agent


class _Place(NamedTuple):
    """The entry that was read last."""

    score: str
    member: bytes  # any: an entry may be damaged

    def written(self) -> tuple[str, str]:
        return self.score, self.member.decode("latin-1")

    @classmethod
    def read(cls, score: str, member: str) -> "_Place":
        try:
            if _SCORE.fullmatch(score):
                float(score)
                return cls(score, member.encode("latin-1"))
        except ValueError:
            pass
        raise _another()


_START = _Place("", b"")
_SCORE = re.compile(r"-?(inf|[0-9.]+(e[+-]?[0-9]+)?)")  # as servers write them


class SessionPages:
    """Reads the index, then the sessions it names."""

    def __init__(self, executor: CommandExecutor, keys: Keys, index: Index, default_ttl: int) -> None:
        self._executor = executor
        self._keys = keys
        self._index = index
        self._default_ttl = default_ttl

    async def page_of_user(self, user_id: str, limit: int, cursor: str | None) -> SessionPage:
        key = self._keys.user(user_id)
        place = _START if cursor is None else _read_place("user", cursor)
        sessions: list[Session] = []
        damaged: list[StoreCorrupt] = []
        while True:
            wanted = limit - len(sessions) - len(damaged)
            entries = await self._read_newest(key, place, wanted)
            ids = [member.decode(errors="replace") for member, _ in entries]
            read = await self._read_sessions("list_user_sessions", [(session_id, user_id) for session_id in ids])
            dead = []
            for session_id, (_, score), session in zip(ids, entries, read, strict=True):
                if isinstance(session, Session):
                    sessions.append(session)
                elif session is not None:
                    damaged.append(session)
                elif is_session_id(session_id):
                    dead.append(UserEntry(session_id, user_id, score))
                else:
                    problem = f"has the entry {brief(session_id)}, which is no session id"
                    damaged.append(StoreCorrupt(key.decode(), problem))
            await self._index.mark_dead("list_user_sessions", dead)
            if len(entries) < wanted:
                return SessionPage(sessions, None, damaged)
            before, place = place, _Place(entries[-1][1].decode(), entries[-1][0])
            if len(sessions) + len(damaged) >= limit:
                return SessionPage(sessions, write_cursor("user", *place.written()), damaged)
            if place == before:
                raise StoreCorrupt(key.decode(), "gives the same entries again when those behind them are asked for")

    async def _read_newest(self, key: bytes, place: _Place, limit: int) -> scripts.Scores:
        """The entries behind a place; the first page needs no script to find it."""
        if place == _START:
            command = PlainCommand((b"ZREVRANGE", key, 0, limit - 1, b"WITHSCORES"), scores)
            return await self._executor.run("list_user_sessions", command)
        call = scripts.list_entries(key, direction="descending", score=place.score, member=place.member, limit=limit)
        return await self._executor.run("list_user_sessions", call)

    async def page_of_all(self, limit: int, cursor: str | None, agent: Agent | None) -> SessionPage:
        """Bucket by bucket, in each the one that may end soonest first."""
        buckets = self._keys.due_buckets()
        number, place = (0, _START) if cursor is None else _read_bucket("all", cursor, buckets)
        sessions: list[Session] = []
        damaged: list[StoreCorrupt] = []
        budget = max(limit, MAX_READ) if agent else limit
        width = 1
        while number < len(buckets):
            wanted = min(limit - len(sessions) - len(damaged), budget)
            if wanted <= 0:
                return SessionPage(sessions, write_cursor("all", str(number), *place.written()), damaged)
            members, passed, place = await self._read_buckets(buckets[number : number + width], place, wanted)
            names = [name for member in members if (name := parse_due_member(member))]
            for session in await self._read_sessions("list_sessions", names):
                if isinstance(session, StoreCorrupt):
                    damaged.append(session)
                elif session is not None and agent in (None, session.current_agent):
                    sessions.append(session)
            budget -= len(members)
            number += passed
            width = min(2 * width, MAX_WIDTH)
        return SessionPage(sessions, None, damaged)

    async def _read_buckets(
        self, buckets: Sequence[bytes], place: _Place, limit: int
    ) -> tuple[list[bytes], int, _Place]:
        """Members from behind a place in the first bucket; how many buckets were read to their ends, and the place."""
        calls = [
            scripts.list_entries(bucket, direction="ascending", score=score, member=member, limit=limit)
            for bucket, (score, member) in zip(buckets, [place, *[_START] * len(buckets)], strict=False)
        ]
        members: list[bytes] = []
        for passed, entries in enumerate(await self._executor.run_all("list_sessions", calls)):
            room = limit - len(members)
            members += [member for member, _ in entries[:room]]
            if len(entries) >= room:
                member, score = entries[room - 1]
                return members, passed, _Place(score.decode(), member)
        return members, len(buckets), _START

    async def scan(self) -> AsyncIterator[Sequence[Session | StoreCorrupt]]:
        for due in self._keys.due_buckets():
            async for found in self._executor.scan("scan_sessions", (b"ZSCAN", due), b"COUNT", BATCH, items=scores):
                names = dict.fromkeys(name for member, _ in found if (name := parse_due_member(member)))
                sessions = await self._read_sessions("scan_sessions", list(names))
                yield [session for session in sessions if session is not None]

    async def _read_sessions(self, name: str, names: Sequence[tuple[str, str]]) -> list[Session | StoreCorrupt | None]:
        """The sessions of these ids and users; None for a dead one, the error for one that cannot be read."""
        keys = [self._keys.meta(session_id) for session_id, _ in names]
        reads = [PlainCommand((b"HGETALL", key), stored_hash) for key in keys]
        replies = await self._executor.run_all(name, reads, keep_corrupt=True)
        found: list[Session | StoreCorrupt | None] = []
        for (session_id, user_id), key, reply in zip(names, keys, replies, strict=True):
            try:
                if isinstance(reply, StoreCorrupt):
                    raise reply
                session = self.decode(key, reply)
            except StoreCorrupt as error:
                error.session_id = session_id
                found.append(error.with_traceback(None))
            else:
                found.append(session if session is not None and session.user_id == user_id else None)
        return found

    def decode(self, key: bytes, reply: Any) -> Session | None:
        """The session in the reply to HGETALL of its meta key; None if it does not live."""
        return decode_meta(key, reply, self._default_ttl)


def _read_place(kind: str, cursor: str) -> _Place:
    score, member = read_cursor(kind, cursor, 2)
    return _Place.read(score, member)


def _read_bucket(kind: str, cursor: str, buckets: Sequence[bytes]) -> tuple[int, _Place]:
    number, score, member = read_cursor(kind, cursor, 3)
    if not (number.isascii() and number.isdecimal() and len(number) <= len(str(len(buckets)))):
        raise _another()
    if int(number) >= len(buckets):
        raise _another()
    return int(number), _Place.read(score, member) if score else _START


def _another() -> InvalidInput:
    return InvalidInput("cursor", "a cursor that a page of this list gave, or None", "another")
