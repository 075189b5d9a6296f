"""Imports lines, several sessions at a time, so that doing it again stores nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from types import EllipsisType

import msgspec

from chat_session.cli.bounds import BadLine, weigh_line
from chat_session.cli.lines import DamagedFile, Line
from chat_session.cli.runner import task_group
from chat_session.cli.transcripts import Entry, Transcript, read_transcript
from chat_session.errors import Conflict, InvalidInput, MessageConflict, SessionExists, SessionNotFound, StoreCorrupt
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.session import Session

SLOTS = 16  # sessions under way: a round trip to Redis is then shared by 16 scripts
_SLOT_BYTES = 512 * 1024  # a line that weighs more takes a slot for each: of the largest there is one at a time
_CALL_MESSAGES = 1000
SHOWN_LINES = 20  # bad lines that are reported one by one

Report = Callable[[int, str], None]


class Tally(msgspec.Struct, rename="camel"):
    """What an import did so far.

    ``duplicates``: messages that were stored before; ``messages_dropped``: the oldest, for MAX_MESSAGE_HISTORY.
    """

    lines: int = 0
    sessions_created: int = 0
    sessions_existing: int = 0
    messages_stored: int = 0
    duplicates: int = 0
    messages_dropped: int = 0
    bad_lines: int = 0


class TooMany(BadLine):
    """A session would hold more messages than the store retains."""

    def __init__(self, messages: int, bound: int) -> None:
        super().__init__(
            f"The session would hold {messages} messages, but MAX_MESSAGE_HISTORY is {bound}. "
            "Raise it, or pass --trim to drop the oldest messages."
        )


class Importer:
    """Stores each line's session with its messages, in the order of the line.

    An exported session is restored with its messages in one step; to another the messages are appended.

    Lines of one session are imported in the order of the file, others side by side. A line is
    checked whole before anything of it is stored; a bad one is reported with its number.

    Run again, also after kill -9 at any moment, it goes on where it stopped. A session that is
    there already keeps its metadata, agent and ttl, and must be the same user's. Of its messages
    those that are retained must be equal to the line's, unless they were retracted, and are not sent again,
    nor are those before the first of them: they were stored, and trimmed since. If none of the line's messages
    is retained, they are all sent where nothing was ever trimmed; they count as stored where an
    exported session, known by its creation time, has been counted beyond them. In the remaining
    case nobody can tell whether they were stored once: the line is reported and nothing is added,
    for a guess would lose messages or double them.

    Sent to a session that is there, a message that could not be read gets the type "damaged", and of one that was
    retracted nothing is stored.

    A line whose session would hold more than MAX_MESSAGE_HISTORY messages is reported and nothing of it
    is stored; with ``trim`` the oldest messages are dropped and counted.
    """

    def __init__(
        self, manager: SessionManager, *, user: str | None, ttl: int | EllipsisType | None, trim: bool, report: Report
    ) -> None:
        self.tally = Tally()
        self._manager = manager
        self._user = user
        self._ttl = ttl
        self._trim = trim
        self._bound = manager.settings.max_message_history
        self._report = report
        self._slots = asyncio.Semaphore(SLOTS)
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def run(self, lines: AsyncIterator[Line]) -> None:
        """Import all lines. Raises StoreError, with the other lines under way cancelled."""
        async with task_group() as group:
            try:
                async for line in lines:
                    await self._begin(line, group)
            except DamagedFile as damage:
                self._refuse(damage.number, f"{damage}. What was read before it was imported.")

    async def _begin(self, line: Line, group: asyncio.TaskGroup) -> None:
        try:
            slots = min(SLOTS, 1 + weigh_line(line.raw) // _SLOT_BYTES)
        except BadLine as error:
            self._refuse(line.number, str(error))
            return
        for _ in range(slots):
            await self._slots.acquire()
        try:
            transcript = read_transcript(line.raw, self._user, self._manager.settings.limits)
        except (BadLine, InvalidInput) as error:
            self._release(slots)
            self._refuse(line.number, str(error))
            return
        session_id = transcript.session_id
        earlier = self._under_way.get(session_id)
        task = group.create_task(self._import(line.number, transcript, earlier))
        self._under_way[session_id] = task
        task.add_done_callback(lambda task: self._end(session_id, task, slots))
        await asyncio.sleep(0)  # begin before the next line is read: 5,000 messages take 40 ms to check

    def _release(self, slots: int) -> None:
        for _ in range(slots):
            self._slots.release()

    def _end(self, session_id: str, task: asyncio.Task[None], slots: int) -> None:
        self._release(slots)
        if self._under_way.get(session_id) is task:
            del self._under_way[session_id]

    async def _import(self, number: int, transcript: Transcript, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        try:
            fitting = self._fit(transcript)
            await self._append(transcript.session_id, await self._open(fitting))
        except (BadLine, InvalidInput, Conflict, SessionNotFound, StoreCorrupt) as error:
            self._refuse(number, str(error))
        else:
            self.tally.duplicates += transcript.repeated
            self.tally.messages_dropped += _count(transcript.entries) - _count(fitting.entries)
            self.tally.lines += 1

    def _refuse(self, number: int, reason: str) -> None:
        self.tally.lines += 1
        self.tally.bad_lines += 1
        if self.tally.bad_lines <= SHOWN_LINES:
            self._report(number, reason)

    def _fit(self, transcript: Transcript) -> Transcript:
        """The line as it can be stored. Raises TooMany."""
        held, bound = len(transcript.entries), self._bound_of(transcript.restored)
        if held <= bound:
            return transcript
        if not self._trim:
            raise TooMany(held, bound)
        return msgspec.structs.replace(transcript, entries=transcript.entries[-bound:])

    async def _open(self, transcript: Transcript) -> Sequence[Entry]:
        """Make the session, or find it; the entries to be sent."""
        session_id, manager = transcript.session_id, self._manager
        try:
            missing = await self._create(transcript)
        except SessionExists:
            stored = await manager.get_session(session_id)
            if stored is None:
                raise SessionNotFound(session_id) from None  # it died between the two calls
        else:
            self.tally.sessions_created += 1
            return missing
        if stored.user_id != transcript.user_id:
            raise BadLine(f"The stored session belongs to user {stored.user_id!r}, not to {transcript.user_id!r}.")
        history = await Inspector(manager).get_stored_history(session_id)
        missing = _without_retracted(_find_missing(transcript, stored, history))
        bound = self._bound_of(stored)
        surplus = len(history) + len(missing) - bound if missing else 0
        if surplus > 0 and not self._trim:
            raise TooMany(len(history) + len(missing), bound)
        self.tally.messages_dropped += max(0, surplus)
        self.tally.sessions_existing += 1
        self.tally.duplicates += _count(transcript.entries) - len(missing)
        return missing

    def _bound_of(self, session: Session | None) -> int:
        return self._bound if session is None or session.max_history is None else session.max_history

    async def _create(self, transcript: Transcript) -> Sequence[Entry]:
        """Make the session; the entries that are not in it yet. Raises SessionExists."""
        manager, entries = self._manager, transcript.entries
        if transcript.restored is None:
            user_id, metadata, session_id = transcript.user_id, transcript.metadata, transcript.session_id
            await manager.create_session(user_id, metadata, session_id=session_id, ttl=self._ttl)
            return _without_retracted(entries)
        await Inspector(manager).restore_session(transcript.restored, [entry.sent for entry in entries])
        self.tally.messages_stored += _count(entries)
        return ()

    async def _append(self, session_id: str, entries: Sequence[Entry]) -> None:
        for start in range(0, len(entries), _CALL_MESSAGES):
            sent = [entry.appended for entry in entries[start : start + _CALL_MESSAGES]]
            results = await self._manager.add_messages(session_id, sent)
            known = sum(result.duplicate for result in results)
            self.tally.duplicates += known
            self.tally.messages_stored += len(results) - known


def _without_retracted(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Of a retracted message nothing is left that could be appended."""
    return [entry for entry in entries if not entry.is_retracted]


def _count(entries: Sequence[Entry]) -> int:
    return len(_without_retracted(entries))


def _find_missing(transcript: Transcript, stored: Session, history: Sequence[Message]) -> Sequence[Entry]:
    """The entries that an existing session lacks; see the class. Raises MessageConflict, BadLine."""
    entries = transcript.entries
    retained = {message.id: message for message in history}
    known = [i for i, entry in enumerate(entries) if entry.id in retained]
    for i in known:
        if not entries[i].is_stored_as(retained[entries[i].id]):
            raise MessageConflict(transcript.session_id, entries[i].id)
    if known:
        return [entry for entry in entries[known[0] :] if entry.id not in retained]
    restored = transcript.restored
    is_same = restored is not None and restored.created_at == stored.created_at
    before = restored.message_count - len(entries) if restored is not None and is_same else 0
    oldest = history[0].seq or 0 if history else stored.message_count + 1
    if oldest <= before + 1 or not entries:
        return entries
    if is_same and stored.message_count >= before + len(entries):
        return []
    raise BadLine(
        f"The stored session has had {stored.message_count:,} messages and holds none of the line's. "
        "Whether these were stored once cannot be known, so nothing was added."
    )
