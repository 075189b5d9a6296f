"""What operators ask of the embedded store: lists over all users, and a diagnosis."""

from collections.abc import AsyncIterator, Sequence

from chat_session.errors import StoreCorrupt
from chat_session.results import SessionPage
from chat_session.session import Agent, Session
from chat_session.storage.contract import Finding
from chat_session.storage.cursors import read_cursor
from chat_session.storage.sqlite.doctor import diagnose, remove_orphans
from chat_session.storage.sqlite.lists import list_sessions, scan_sessions
from chat_session.storage.sqlite.worker import Worker

BATCH = 500  # sessions that a scan reads in one transaction


class SqliteOperator:
    """Keeps OperatorStore's promises."""

    def __init__(self, reader: Worker, writer: Worker) -> None:
        self._reader = reader
        self._writer = writer

    async def list_sessions(self, limit: int, cursor: str | None, agent: Agent | None) -> SessionPage:
        last = "" if cursor is None else read_cursor("all", cursor, 1)[0]
        return await self._reader.call(list_sessions, limit, last, agent)

    async def scan_sessions(self) -> AsyncIterator[Sequence[Session | StoreCorrupt]]:
        last: str | None = ""
        while last is not None:
            found, last = await self._reader.call(scan_sessions, last, BATCH)
            yield found

    async def diagnose(self, *, repair: bool) -> list[Finding]:
        findings = await self._reader.call(diagnose)
        if repair and any(finding.repair for finding in findings):
            removed = await self._writer.run("diagnose", remove_orphans)
            repaired = Finding("ok", "orphans", f"Found {removed:,} messages without a session. They were removed.")
            findings = [repaired if finding.repair else finding for finding in findings]
        return findings
