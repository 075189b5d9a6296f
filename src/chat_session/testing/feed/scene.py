"""What the tests of the feed share: a watcher that keeps what it was told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from chat_session.desk import Desk
from chat_session.events import DeskSnapshot, Event, MessageAppended, State, Typing
from chat_session.manager import SessionManager

E = TypeVar("E", bound=Event)

PATIENCE = 20.0  # seconds; a change is told within 2 if no notification arrives


class Watch:
    """``async with Watch(manager, "s") as watch:`` begins when the State has come. It keeps all events."""

    first: type[Event] = State

    def __init__(self, manager: SessionManager, session_id: str = "s", **options: Any) -> None:
        self.events: list[Event] = []
        self._manager, self._session_id, self._options = manager, session_id, options
        self._changed = asyncio.Event()
        self._found = 0  # how many events were looked at by ``next``

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await self.next(self.first)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def next(self, kind: type[E], when: Callable[[E], bool] = lambda _: True) -> E:
        """Wait for the next event of this kind; those before it are passed over. Raises what the feed raised."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self._changed.clear()
                while self._found < len(self.events):
                    event = self.events[self._found]
                    self._found += 1
                    if isinstance(event, kind) and when(event):
                        return event
                if self._task.done():
                    await self._task
                    raise AssertionError(f"the feed ended without {kind.__name__}: {self.names}")
                await self._changed.wait()

    async def see_typing(self, who: str, shown: str) -> None:
        """Send it until it is told as ``shown``: it may be lost as long as the watcher is not subscribed."""
        told = asyncio.create_task(self.next(Typing, lambda event: event.who == shown))
        while not told.done():
            await self._manager.send_typing(self._session_id, who)
            await asyncio.wait([told], timeout=0.05)
        await told

    async def end(self) -> None:
        """Wait until the feed has ended by itself."""
        await asyncio.wait_for(asyncio.shield(self._task), PATIENCE)

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    @property
    def texts(self) -> list[str]:
        """Of the messages that were appended."""
        return [event.message.text or "" for event in self.events if isinstance(event, MessageAppended)]

    def _open(self) -> AsyncIterator[Event]:
        return self._manager.watch(self._session_id, **self._options)

    async def _run(self) -> None:
        try:
            async for event in self._open():
                self.events.append(event)
                self._changed.set()
        finally:
            self._changed.set()


class DeskWatch(Watch):
    """As Watch, of the feed of the desk. It begins when the DeskSnapshot has come."""

    first = DeskSnapshot

    def _open(self) -> AsyncIterator[Event]:
        return Desk(self._manager).watch(**self._options)


async def read_until(manager: SessionManager, kind: type[E], session_id: str = "s", **options: Any) -> list[Event]:
    """Watch until an event of this kind has come; all up to it."""
    found: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        async for event in manager.watch(session_id, **options):
            found.append(event)
            if isinstance(event, kind):
                return found
    raise AssertionError(f"the feed ended without {kind.__name__}: {[event.name for event in found]}")


async def say(manager: SessionManager, *texts: str, session_id: str = "s", **fields: Any) -> None:
    """Append messages of the customer, one after the other."""
    for text in texts:
        await manager.add_message(session_id, {"from": "user", "text": text, **fields})


async def create(manager: SessionManager, session_id: str = "s", **options: Any) -> None:
    await manager.create_session("u", session_id=session_id, **{"ttl": 600, **options})


async def last_cursor(manager: SessionManager, session_id: str = "s", **options: Any) -> str:
    """The cursor of a feed that begins now."""
    [state] = await read_until(manager, State, session_id, **options)
    return state.cursor
