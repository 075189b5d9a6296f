"""The feed of the desk: the head of the queue, the operators, and the headlines of the sessions that they have."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from chat_session.desk_results import DeskEntry, Operator
from chat_session.desk_status import OPEN
from chat_session.errors import ManagerClosed
from chat_session.events import DeskChanged, DeskSnapshot, Event, Headline, Presence
from chat_session.feed import Awakened, outlast

if TYPE_CHECKING:
    from chat_session.desk import Desk
    from chat_session.manager import SessionManager

SHORTEST_PAUSE = 0.1  # seconds between two readings of the lists, however often they change


async def watch_desk(manager: "SessionManager", desk: "Desk", limit: int) -> AsyncGenerator[Event, None]:
    """See ``Desk.watch``."""
    calls, feed = manager._calls, manager._feed  # noqa: SLF001 - parts of it
    calls.check_usable()
    awakened = Awakened()
    headlines = Headlines(manager, awakened)
    calls.before_close.add(awakened.close)
    calls.hooks.watch_begun("")
    told: DeskSnapshot | None = None
    try:
        while not awakened.is_closed:
            awakened.is_set.clear()
            if told is None:
                seen = await _read(desk, limit)
                awakened.listen(feed, None)
                yield seen
            else:
                seen = await outlast(calls, partial(_read, desk, limit))
                for event in _compare(told, seen):
                    yield event
                async for event in _find_gone(manager, told, seen):
                    yield event
            told = seen
            async for event in headlines.follow([entry.session_id for entry in seen.assigned]):
                yield event
            await asyncio.sleep(SHORTEST_PAUSE)
            await awakened.is_set.wait()
    except ManagerClosed:
        if told is None:
            raise
    finally:
        awakened.stop_listening()
        headlines.stop()
        calls.before_close.discard(awakened.close)
        calls.hooks.watch_ended("")


class Headlines:
    """The newest message of each session that an operator has. Only what has changed is read again."""

    def __init__(self, manager: "SessionManager", awakened: Awakened) -> None:
        self._manager = manager
        self._awakened = awakened
        self._listening: dict[str, Callable[[], None]] = {}
        self._changed: set[str] = set()
        self._told: dict[str, int] = {}  # sequence numbers

    async def follow(self, session_ids: list[str]) -> AsyncIterator[Event]:
        feed = self._manager._feed  # noqa: SLF001 - a part of it
        for gone in self._listening.keys() - set(session_ids):
            self._listening.pop(gone)()
            self._told.pop(gone, None)
        for session_id in session_ids:
            if session_id not in self._listening:
                self._changed.add(session_id)
                self._listening[session_id] = feed.listen(session_id, self._make_wake(session_id))
        changed, self._changed = self._changed, set()
        for session_id in sorted(changed & self._listening.keys()):
            read = partial(self._manager.get_history, session_id, 1)
            newest = await outlast(self._manager._calls, read)  # noqa: SLF001 - a part of it
            if newest and (newest[0].seq or 0) > self._told.get(session_id, 0):
                self._told[session_id] = newest[0].seq or 0
                yield Headline(session_id=session_id, cursor="", message=newest[0])

    def stop(self) -> None:
        for stop_listening in self._listening.values():
            stop_listening()

    def _make_wake(self, session_id: str) -> Callable[[bytes | None], None]:
        def wake(news: bytes | None) -> None:
            if news is None:
                self._changed.add(session_id)
                self._awakened.is_set.set()

        return wake


async def _read(desk: "Desk", limit: int) -> DeskSnapshot:
    waiting, assigned, operators = await asyncio.gather(desk.waiting(limit=limit), desk.assigned(), desk.operators())
    return DeskSnapshot(session_id="", cursor="", waiting=list(waiting), assigned=assigned, operators=operators)


def _compare(told: DeskSnapshot, seen: DeskSnapshot) -> Iterator[Event]:
    before = _entries(told)
    for session_id, entry in _entries(seen).items():
        if before.get(session_id) != entry:
            yield DeskChanged(session_id=session_id, cursor="", desk=entry)
    present = {operator.operator_id: operator for operator in told.operators}
    for operator in seen.operators:
        known = present.pop(operator.operator_id, None)
        if known is None or _shown(known) != _shown(operator):
            yield Presence(session_id="", cursor="", operator=operator, present=True)
    for operator in present.values():
        yield Presence(session_id="", cursor="", operator=operator, present=False)


async def _find_gone(manager: "SessionManager", told: DeskSnapshot, seen: DeskSnapshot) -> AsyncIterator[Event]:
    """Those that have left the lists. One that only left the head of the queue still waits."""
    for session_id in _entries(told).keys() - _entries(seen).keys():
        session = await outlast(manager._calls, partial(manager.get_session, session_id))  # noqa: SLF001 - a part of it
        if session is None or session.desk.state == "open":
            yield DeskChanged(session_id=session_id, cursor="", desk=OPEN if session is None else session.desk)


def _entries(snapshot: DeskSnapshot) -> dict[str, DeskEntry]:
    return {entry.session_id: entry for entry in (*snapshot.waiting, *snapshot.assigned)}


def _shown(operator: Operator) -> tuple[object, ...]:
    """What is worth telling: a renewed presence is not."""
    return operator.available, operator.capacity, operator.assigned
