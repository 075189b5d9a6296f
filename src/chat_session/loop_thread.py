"""The background thread of ``chat_session.blocking``, in which one event loop runs all calls."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

from chat_session.errors import ManagerClosed, UsedAfterFork

T = TypeVar("T")

CANCELLED_WITHIN = 1.0  # seconds for what is cancelled when the loop ends


class LoopThread:
    """An event loop in a thread of its own. A daemon, so that it does not keep the process alive."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._ended = False
        self._thread = threading.Thread(target=self._serve, name="chat-session", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel_others())
        finally:
            self._loop.close()

    @property
    def is_usable(self) -> bool:
        return not self._ended and self._pid == os.getpid()

    def call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function there, with the caller's context variables; its answer.

        So a span that the caller has open is the parent of those of its calls. If the wait is interrupted, it is
        cancelled. Raises ManagerClosed, UsedAfterFork.
        """
        if self._pid != os.getpid():  # the thread did not come along
            raise UsedAfterFork
        if threading.current_thread() is self._thread:
            raise RuntimeError("A blocking manager cannot be called from its own event loop, for example in a hook.")
        if self._ended:
            raise ManagerClosed
        answer = asyncio.run_coroutine_threadsafe(function(*args), self._loop)
        try:
            return answer.result()
        except BaseException as error:
            answer.cancel()
            if isinstance(error, CancelledError) and self._ended:  # another thread has closed the manager
                raise ManagerClosed from None
            raise

    def end(self) -> None:
        """Leave the loop; the thread ends."""
        if not self._ended:
            self._ended = True
            self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self) -> None:
        self._thread.join()

    def end_after(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run this, then leave the loop. Nobody waits for it."""

        async def run() -> None:
            with suppress(Exception):
                await last()
            self._loop.stop()

        if not self._ended:
            self._ended = True
            asyncio.run_coroutine_threadsafe(run(), self._loop)


async def _cancel_others() -> None:
    """What still runs when the loop ends, such as one who waits for work, must not keep its thread waiting for ever."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=CANCELLED_WITHIN)
