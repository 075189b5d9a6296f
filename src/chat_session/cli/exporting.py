"""Exports living sessions, and never leaves half a file under the name that was asked for."""

import asyncio
import errno
import gzip
import os
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from chat_session.cli.transcripts import write_transcript
from chat_session.manager import SessionManager
from chat_session.message import MAX_LIMIT
from chat_session.session import Session

_READS = 16  # histories read together: at most 16 of 100 messages of 256 KiB are held
_PIPE_BYTES = 4096  # what a pipe that is ready takes without making us wait: PIPE_BUF


async def export_lines(manager: SessionManager, user: str | None) -> AsyncGenerator[tuple[bytes, int]]:
    """A line for every living session, or for those of ``user``, with the number of its messages."""
    batch: list[Session] = []
    async for session in each_once(manager, user):
        batch.append(session)
        if len(batch) == _READS:
            for line in await asyncio.gather(*(_export(manager, each) for each in batch)):
                if line is not None:
                    yield line
            batch.clear()
    for line in await asyncio.gather(*(_export(manager, each) for each in batch)):
        if line is not None:
            yield line


async def each_once(manager: SessionManager, user: str | None = None) -> AsyncGenerator[Session]:
    """Every living session, or those of ``user``."""
    if user is not None:
        for session in await manager.get_user_sessions(user):
            yield session
        return
    seen: set[str] = set()  # a scan may give a session twice; 150 MB at a million sessions
    async for session in manager.scan_sessions():
        if session.session_id not in seen:
            seen.add(session.session_id)
            yield session


async def _export(manager: SessionManager, session: Session) -> tuple[bytes, int] | None:
    history = await manager.get_history(session.session_id, MAX_LIMIT)
    if not history and session.message_count and not await manager.is_session_active(session.session_id):
        return None  # it died since the scan saw it
    return write_transcript(session, history), len(history)


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
        raise OSError(errno.EINVAL, "not a file; leave it out and redirect standard output instead", str(path))
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
