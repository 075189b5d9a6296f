"""Counts created sessions for the figures of the desk, without a command for each creation."""

import asyncio
from collections import Counter
from contextlib import suppress

from redis.exceptions import NoPermissionError

from chat_session.clock import now_us
from chat_session.desk_figures import bucket_of, oldest_bucket
from chat_session.storage.redis.net.commands import PlainCommand
from chat_session.storage.redis.net.decoders import integer
from chat_session.storage.redis.net.executor import CommandExecutor

CLOSE_TIMEOUT = 0.2  # seconds
INTERVAL = 1.0  # seconds between two writes


class CreationCounter:
    """Adds up what this process has created, and writes it at most once a second.

    Each is sent once: what was not written when the process ends early, or when the server does not answer, is lost to
    the figures.
    """

    def __init__(self, executor: CommandExecutor, key: bytes) -> None:
        self._executor = executor
        self._key = key
        self._pending = Counter[int]()
        self._task: asyncio.Task[None] | None = None
        self.is_off = False  # as soon as it is known that the user has no right to the keys of the desk

    def add(self, created: int) -> None:
        """A session was created, ``created`` microseconds after the beginning of 2025."""
        if self.is_off or bucket_of(created) < oldest_bucket(now_us()):
            return
        self._pending[bucket_of(created)] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_soon())

    async def flush(self) -> None:
        """Write what is pending now."""
        pending, self._pending = self._pending, Counter[int]()
        if not pending:
            return
        commands = [
            PlainCommand((b"HINCRBY", self._key, f"{bucket}:created", count), integer)
            for bucket, count in pending.items()
        ]
        replies = await self._executor.try_once(commands)
        self.is_off = any(isinstance(reply, NoPermissionError) for reply in replies)

    async def close(self) -> None:
        """Write what is pending, if the server answers at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.flush()

    async def _write_soon(self) -> None:
        await asyncio.sleep(INTERVAL)
        await self.flush()
