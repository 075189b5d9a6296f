"""Which session an entry is in: the framework asks for entries by their ids alone."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from chat_session import Inspector, Session, SessionManager, StoreCorrupt
from chat_session.adapters.pydantic_ai.log import Log
from chat_session.adapters.pydantic_ai.record import StoredRecord, read_stored
from chat_session.paging import MAX_LIMIT

MAX_NOTED = 10_000  # entries whose session is remembered


class Found(msgspec.Struct, frozen=True):
    """The session of an entry, and its log. ``is_part``: only its newest messages were read."""

    session: Session
    log: Log
    is_part: bool

    @property
    def stored(self) -> StoredRecord | None:
        return read_stored(self.session)


class Places:
    """The mapping lives as long as the session, since it is the session: an id that was not met lately is searched.

    The framework never asks so: it reads the record first, whose entries are noted. An application does that keeps
    the ids of entries for itself.
    """

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._noted: OrderedDict[str, str] = OrderedDict()

    def note(self, session_id: str, entries: Iterable[str | None]) -> None:
        for entry in entries:
            if entry is not None:
                self._noted[entry] = session_id
                self._noted.move_to_end(entry)
        while len(self._noted) > MAX_NOTED:
            self._noted.popitem(last=False)

    async def find(self, entry: str, size: int = MAX_LIMIT) -> Found | None:
        """Reads ``size`` messages, more if it must. If a session mentions the entry and it was trimmed: its log."""
        mention = None
        noted = self._noted.get(entry)
        if noted is not None:
            mention = await self.read(noted, size)
            if mention is not None and entry not in mention.log and mention.is_part:
                mention = await self.read(noted, MAX_LIMIT)
            if mention is not None and entry in mention.log:
                return mention
            if mention is not None and not _mentions(mention, entry):
                mention = None
        async for session in Inspector(self._manager).scan_sessions():
            if isinstance(session, StoreCorrupt) or session.session_id == noted:
                continue
            found = await self.read(session.session_id, MAX_LIMIT)
            if found is not None and entry in found.log:
                self.note(session.session_id, [entry])
                return found
            if found is not None and _mentions(found, entry):
                mention = found
        return mention

    async def read(self, session_id: str, size: int = MAX_LIMIT) -> Found | None:
        """One round trip. None: no session, or one that is being deleted."""
        session, messages = await asyncio.gather(
            self._manager.get_session(session_id),
            self._manager.get_history(session_id, size, include_internal=True),
        )
        stored = None if session is None else read_stored(session)
        if session is None or (stored is not None and stored.deleted):
            return None
        return Found(session, Log(messages, stored), len(messages) == size < MAX_LIMIT)


def _mentions(found: Found, entry: str) -> bool:
    if found.stored is None:
        return False
    record = found.stored.to_native()
    return entry in (record.head_id, record.forked_at, *record.branches)
