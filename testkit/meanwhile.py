"""What other processes do while a call is under way. The test's own event loop stands still until it is done."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any

from chat_session import Desk, SessionManager
from testkit.backends import ServerBackend

Act = Callable[[SessionManager, Desk], Coroutine[Any, Any, Any]]


def do_meanwhile(backend: ServerBackend, act: Act) -> None:
    """Run ``act`` in a thread of its own, with a manager of its own that goes directly to the server."""
    failures: list[BaseException] = []

    async def run() -> None:
        async with backend.open() as manager:
            await act(manager, Desk(manager))

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failures.append(error)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
