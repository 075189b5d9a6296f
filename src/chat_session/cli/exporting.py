"""Exports living sessions, and never leaves half a file under the name that was asked for."""

import asyncio
import errno
import gzip
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

from chat_session.cli.output import escape_for_terminal
from chat_session.cli.transcripts import write_transcript
from chat_session.errors import StoreCorrupt
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.message import RETRACTED
from chat_session.session import Session

_READS = 16  # histories read together: at most 16 of 100 messages of 256 KiB are held
_PAGE = 500  # of a user's sessions
_PIPE_BYTES = 4096  # what a pipe that is ready takes without making us wait: PIPE_BUF


class Exported(NamedTuple):
    """The line of a session, and how many messages are in it."""

    session_id: str
    line: bytes
    messages: int


async def export_lines(manager: SessionManager, user: str | None) -> AsyncGenerator[Exported | StoreCorrupt]:
    """A line for every living session, or for those of ``user``; the error of one that cannot be read."""
    batch: list[Session] = []
    async with aclosing(each_once(manager, user)) as found:
        async for session in found:
            if isinstance(session, StoreCorrupt):
                yield session
                continue
            batch.append(session)
            if len(batch) == _READS:
                for exported in await _export_together(manager, batch):
                    yield exported
                batch.clear()
    for exported in await _export_together(manager, batch):
        yield exported


async def each_once(manager: SessionManager, user: str | None = None) -> AsyncGenerator[Session | StoreCorrupt]:
    """Every living session, or those of ``user``; the error of one that cannot be read."""
    seen: set[str] = set()  # a scan may give a session twice; 150 MB at a million sessions
    scan = Inspector(manager).scan_sessions() if user is None else _each_of(manager, user)
    async for found in scan:
        name = f"/{found.key}" if isinstance(found, StoreCorrupt) else found.session_id  # an id has no slash
        if name not in seen:
            seen.add(name)
            yield found


async def _each_of(manager: SessionManager, user: str) -> AsyncGenerator[Session | StoreCorrupt]:
    cursor: str | None = None
    while True:
        page = await manager.list_user_sessions(user, limit=_PAGE, cursor=cursor)
        for session in page.sessions:
            yield session
        for damage in page.damaged:
            yield damage
        cursor = page.cursor
        if cursor is None:
            return


async def _export_together(manager: SessionManager, sessions: Sequence[Session]) -> list[Exported | StoreCorrupt]:
    lines = await asyncio.gather(*(_export(manager, session) for session in sessions))
    return [line for line in lines if line is not None]


async def _export(manager: SessionManager, session: Session) -> Exported | StoreCorrupt | None:
    try:
        history = await Inspector(manager).get_stored_history(session.session_id)
        if not history and session.message_count and not await manager.is_session_active(session.session_id):
            return None  # it died since the scan saw it
    except StoreCorrupt as damage:
        return damage
    messages = sum(message.type != RETRACTED for message in history)
    return Exported(session.session_id, write_transcript(session, history), messages)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when the block ends well; until then what had the name keeps it.

    A name that ends in .gz is packed. Only its owner may read it: it holds what people said.
    Raises OSError, also for a name that is taken by something other than a file.
    """
    target = path.resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "It is not a file. Redirect the standard output to it instead.", str(path))
    try:
        descriptor, beside = tempfile.mkstemp(".part", f".{target.name}.", target.parent)
    except OSError as error:
        error.filename = str(path)  # the name that the user knows
        raise
    part = Path(beside)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(path.stem, "wb", fileobj=raw, compresslevel=6) as packed:
                    yield cast("IO[bytes]", packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


async def write_to_stdout(line: bytes) -> None:
    """Write when the reader is ready, so that a signal is heard while it is not. Raises BrokenPipeError."""
    fd = sys.stdout.fileno()
    line = escape_for_terminal(line, sys.stdout)
    for start in range(0, len(line), _PIPE_BYTES):
        piece = line[start : start + _PIPE_BYTES]
        while piece:
            await _wait_until_writable(fd)
            piece = piece[os.write(fd, piece) :]


async def _wait_until_writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    try:
        loop.add_writer(fd, writable.set)
    except (PermissionError, NotImplementedError):  # a file, always ready; Windows
        return
    try:
        await writable.wait()
    finally:
        loop.remove_writer(fd)
