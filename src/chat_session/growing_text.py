"""The text of a reply that grows, and the task that sends it to the store in batches."""

import asyncio
from collections.abc import Awaitable, Callable

from chat_session.errors import SessionNotFound, StoreError, TurnLost

MAX_WAITING = 64 * 1024  # bytes that may wait to be sent
SHORTEST, LONGEST = 0.02, 0.1  # seconds between two deltas of a reply
MAX_RATE = 2000  # deltas a second of one process, until each reply waits for LONGEST
AFTER_FAULT = 1.0  # seconds; the store's own retries are over by then
MAX_FLUSHES = 3  # after a failover some text may be missing in the store, and is sent again


class Pace:
    """How often each reply is sent: the more replies grow in this process, the less often."""

    def __init__(self) -> None:
        self.growing = 0

    @property
    def interval(self) -> float:
        """Seconds between two deltas of a reply."""
        return min(max(self.growing / MAX_RATE, SHORTEST), LONGEST)


PACE = Pace()  # of this process


class GrowingText:
    """``send`` puts bytes at an offset and gives the length that is there then; ``lose`` is told of a lost turn.

    A fault of the store is no end: the same text is sent again later. ``shown``: bytes that are known to be there.
    ``failure``: why nothing is sent any more.
    """

    def __init__(
        self, session_id: str, send: Callable[[int, bytes], Awaitable[int]], lose: Callable[[TurnLost], None]
    ) -> None:
        self.written = bytearray()
        self.shown = 0
        self.failure: Exception | None = None
        self._session_id = session_id
        self._send, self._lose = send, lose
        self._changed, self._moved = asyncio.Event(), asyncio.Event()
        self._is_sending = self._is_ending = False
        self._sender: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sender = asyncio.create_task(self._send_batches())

    def add(self, text: bytes) -> None:
        """Whole code points, which are sent together."""
        self.written += text
        if len(self.written) > self.shown:
            self._changed.set()

    async def wait_for_room(self) -> None:
        """Until less than 64 KiB wait. Raises what ended the sending."""
        while self.failure is None and len(self.written) - self.shown > MAX_WAITING:
            self._moved.clear()
            await self._moved.wait()
        if self.failure is not None:
            raise self.failure

    def fail(self, failure: Exception) -> None:
        """Nothing more can be written. What is under way goes on."""
        self.failure = self.failure or failure
        self._moved.set()

    def stop(self) -> None:
        """Begin no other delta. One that is under way goes on."""
        self._is_ending = True
        if self._sender is not None and not self._is_sending:
            self._sender.cancel()

    async def finish(self) -> None:
        """``stop``, and wait for the delta that is under way: then ``shown`` is true."""
        self.stop()
        if self._sender is not None:
            await asyncio.wait([self._sender])

    def cancel(self) -> None:
        """Wait for nothing any more."""
        if self._sender is not None:
            self._sender.cancel()

    async def flush(self) -> None:
        """Send what is left, at once. After ``finish``. Raises what the store raises."""
        for _ in range(MAX_FLUSHES):
            if self.shown < len(self.written):
                await self._send_rest()

    async def _send_batches(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_ending:
            await self._changed.wait()
            self._changed.clear()
            began, pause = loop.time(), PACE.interval
            self._is_sending = True
            try:
                await self._send_rest()
            except StoreError:
                pause = AFTER_FAULT
            except (TurnLost, SessionNotFound) as error:
                lost = error if isinstance(error, TurnLost) else TurnLost(self._session_id, "expired")
                self.fail(lost)
                self._lose(lost)
                return
            except Exception as error:
                self.fail(error)
                return
            finally:
                self._is_sending = False
            if self.shown < len(self.written):
                self._changed.set()
            if not self._is_ending:
                await asyncio.sleep(began + pause - loop.time())

    async def _send_rest(self) -> None:
        """One delta. If the store has less than was thought, the next one begins there."""
        offset = self.shown
        length = await self._send(offset, bytes(self.written[offset:]))
        self.shown = min(length, len(self.written))
        self._moved.set()
