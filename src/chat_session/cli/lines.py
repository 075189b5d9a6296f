"""The lines of a file, plain or gzip, one at a time and never blocking the event loop."""

import asyncio
import errno
import os
import stat
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from chat_session.cli.bounds import MAX_LINE_BYTES
from chat_session.errors import InvalidInput

MAX_TEXT_BYTES = 64 * 1024 * 1024  # what MAX_MESSAGE_BYTES may be at most
_PIECE = 16 * 1024  # that may be 8,000 bad lines; a signal is heard after each piece
_GZIP = b"\x1f\x8b"
_GZIP_FORMAT = 31  # zlib's window bits for it


class Line(NamedTuple):
    """``raw``: without its end; of a line that is too large only the beginning that shows it."""

    number: int
    raw: bytearray


class DamagedFile(Exception):
    """The file cannot be read further than the line before ``number``."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.number = number


class Source:
    """Bytes of a file, or of standard input for "-". ``position``: bytes read so far; ``size``: None if unknown.

    A pipe or a terminal is waited for on the event loop, so that a signal is heard meanwhile.
    Raises OSError for what is not there or is a directory.
    """

    def __init__(self, path: str) -> None:
        self.position = 0
        self._owned = path != "-"
        # O_NONBLOCK: opening a named pipe must not wait for its writer with signals unheard.
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)) if self._owned else 0
        found = os.fstat(self._fd)
        if stat.S_ISDIR(found.st_mode):
            self.close()
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        self.size = found.st_size if stat.S_ISREG(found.st_mode) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._owned:
            os.close(self._fd)

    async def read(self) -> bytes:
        """The next piece; empty at the end."""
        while True:
            if self.size is None:
                await _wait_until_readable(self._fd)
            with suppress(BlockingIOError):
                piece = os.read(self._fd, _PIECE)
                self.position += len(piece)
                return piece


async def read_text(source: Source) -> str:
    """All of it, without the line break at its end. Raises InvalidInput for what is no text or no message's."""
    pieces = []
    while (piece := await source.read()) and source.position <= MAX_TEXT_BYTES:
        pieces.append(piece)
    if piece:
        raise InvalidInput("text", f"at most {MAX_TEXT_BYTES:,} bytes", f"at least {MAX_TEXT_BYTES + 1:,} bytes")
    try:
        text = b"".join(pieces).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("text", "UTF-8", f"a byte at position {error.start:,} that is not") from None
    return text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")


async def read_lines(source: Source) -> AsyncGenerator[Line]:
    """Every line that is not blank, with its number from 1. Raises DamagedFile where it breaks off."""
    splitter = _Splitter()
    number = 0
    try:
        async for piece in _unpacked(source):
            for raw in splitter.feed(piece):
                number += 1
                if raw and not raw.isspace():
                    yield Line(number, raw)
            await asyncio.sleep(0)
    except (zlib.error, EOFError) as error:
        reason = "The gzip data is cut off" if isinstance(error, EOFError) else f"The gzip data is damaged ({error})"
        raise DamagedFile(number + 1, reason) from None
    except OSError as error:
        raise DamagedFile(number + 1, f"The file cannot be read further: {error.strerror}") from None
    for raw in splitter.finish():
        if not raw.isspace():
            yield Line(number + 1, raw)


async def _unpacked(source: Source) -> AsyncGenerator[bytes]:
    head = await source.read()
    while len(head) == 1 and (more := await source.read()):
        head += more
    inflater = _Inflater() if head.startswith(_GZIP) else None
    while head:
        if inflater is None:
            yield head
        else:
            for piece in inflater.feed(head):
                yield piece
        head = await source.read()
    if inflater is not None:
        yield inflater.finish()


class _Inflater:
    """Unpacks gzip in pieces of bounded size, however well it was packed; several members in a row, too."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_FORMAT)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            if self._member.eof:
                packed = packed.lstrip(b"\0")  # padding, as tape and some tools leave it
                if not packed:
                    return
                self._member = zlib.decompressobj(_GZIP_FORMAT)
            yield self._member.decompress(packed, _PIECE)
            packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    def finish(self) -> bytes:
        """What is left. Raises EOFError if the data ends before it should."""
        left = self._member.flush()
        if not self._member.eof:
            raise EOFError
        return left


class _Splitter:
    """Cuts pieces into lines. Of a line that is too long only as much is kept as shows it."""

    def __init__(self) -> None:
        self._line = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytearray]:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            self._keep(end)
            yield self._take()
        self._keep(rest)

    def finish(self) -> Iterator[bytearray]:
        if self._line:
            yield self._take()

    def _keep(self, part: bytes) -> None:
        if len(self._line) <= MAX_LINE_BYTES:
            self._line += part

    def _take(self) -> bytearray:
        line, self._line = self._line, bytearray()
        return line


async def _wait_until_readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(fd, readable.set)
    except (PermissionError, NotImplementedError):  # a device that is always ready; Windows
        return
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)
