"""The feed: what happens in a session, as it happens, complete and in order."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import TypeVar

import msgspec

from chat_session.calls import Calls
from chat_session.checks import brief, check_text, has_control_characters
from chat_session.clock import now
from chat_session.errors import CapabilityMissing, InvalidInput, ManagerClosed, SessionNotFound, StoreError
from chat_session.events import Event, Gap, MessageAppended, Reset, SessionDeleted, SessionExpired, Typing
from chat_session.feed_cursor import Cursor
from chat_session.follower import Follower
from chat_session.message import SENDERS, Message
from chat_session.session import Session, check_flag, check_session_id
from chat_session.settings import Settings
from chat_session.storage.contract import Edit, FeedStore, Observation, Position
from chat_session.telemetry.hooks import Hooks

T = TypeVar("T")

MAX_NEWS = 16  # of what is not stored, kept for a watcher that is slow: the newest
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # seconds between two looks while the store is away
_MAX_WHO = 256  # characters


class FeedCalls:
    """What SessionManager offers for watching."""

    _calls: Calls
    _hooks: Hooks
    _settings: Settings

    def watch(
        self, session_id: str, *, after: str | None = None, include_internal: bool = False
    ) -> AsyncGenerator[Event, None]:
        """``async for event in manager.watch(session_id):`` tells what happens in the session, from now on.

        ``after``: the cursor of an event; the feed goes on behind it. First comes a State. Messages come complete and
        in order; where that cannot be, a Gap or a Reset says so. It ends after SessionDeleted, SessionExpired, or
        when the manager is closed. While the store is away it waits. Without ``include_internal`` it tells only what
        the customer may see. A slow reader costs WATCH_BUFFER bytes at most, and slows nobody down.

        Raises InvalidInput at once; SessionNotFound, StoreError from the first step; later a StoreError that no retry
        can repair. One round trip for each change, and a share of one every 2 seconds.
        """
        cursor = None if after is None else Cursor.parse(after)
        follower = Follower(
            check_session_id(session_id), cursor, include_internal=check_flag("include_internal", include_internal)
        )
        return self._watch(follower)

    async def send_typing(self, session_id: str, who: str) -> None:
        """Tell all who watch the session that somebody types. It is not stored, and may be lost.

        ``who``: "user", "assistant", "operator", or an operator's id, which only watchers with ``include_internal`` are
        told; the others are told "operator". Up to 256 characters. One round trip.
        """
        session_id = check_session_id(session_id)
        allowed = f"a sender or an operator's id of 1 to {_MAX_WHO} characters, without control characters"
        text = check_text("who", who, allowed)
        if not 1 <= len(text) <= _MAX_WHO or has_control_characters(text):
            raise InvalidInput("who", allowed, brief(text))
        async with self._calls("tell", session_id):
            await self._feed.tell(session_id, msgspec.json.encode({"typing": text}))

    async def _watch(self, follower: Follower) -> AsyncGenerator[Event, None]:
        feed, size = self._feed, self._settings.watch_buffer
        self._calls.check_usable()
        awakened = Awakened()
        self._calls.before_close.add(awakened.close)
        self._hooks.watch_begun(follower.session_id)
        last: Session | None = None
        try:
            while not awakened.is_closed:
                awakened.is_set.clear()
                seen = await self._observe(follower, size, may_wait=last is not None)
                if seen is None:
                    yield self._ended(follower, last)
                    return
                last = seen.session
                awakened.listen(feed, follower.session_id)  # now that there is such a session, and the store answers
                if follower.begins:
                    follower.begin(seen)
                    continue
                async for event in self._tell(follower, seen, size):
                    self._count(event)
                    yield event
                for news in awakened.take():
                    if (typing := _read_news(follower, news, last)) is not None:
                        yield typing
                if not follower.is_behind(seen, size):
                    await awakened.is_set.wait()
        except ManagerClosed:
            if last is None:
                raise
        finally:
            awakened.stop_listening()
            self._calls.before_close.discard(awakened.close)
            self._hooks.watch_ended(follower.session_id)

    async def _tell(self, follower: Follower, seen: Observation, size: int) -> AsyncIterator[Event]:
        if follower.starts:
            for event in follower.start(seen):
                yield event
        if (reason := follower.find_reset(seen)) is not None:
            for event in follower.reset(seen, reason):
                yield event
            return
        missed = follower.missed_edits(seen)
        for edit in missed:
            async for messages, is_end in self._read_edited(follower, edit, seen, size):
                for event in follower.edited(edit, messages, is_last=is_end and edit is missed[-1]):
                    yield event
        for event in follower.follow(seen):
            yield event

    async def _read_edited(
        self, follower: Follower, edit: Edit, seen: Observation, size: int
    ) -> AsyncIterator[tuple[list[Message], bool]]:
        """What is now in the places that an edit changed, in parts of ``size`` bytes; whether it is the last part."""
        first, last = max(edit.first, seen.first), min(edit.last, follower.cursor.seq)
        while first <= last:
            found = await outlast(self._calls, partial(self._ask, follower.session_id, Position(first - 1), size))
            if found is None or found.incarnation != seen.incarnation or not found.messages:
                break
            messages = [each for each in found.messages if (each.seq or 0) <= last]
            first = (found.messages[-1].seq or 0) + 1
            yield messages, first > last
            if first > last:
                return
        yield [], True

    async def _observe(self, follower: Follower, size: int, *, may_wait: bool) -> Observation | None:
        """The session now. ``may_wait``: go on asking while the store is away. Raises SessionNotFound at first."""
        ask = partial(self._ask, follower.session_id, follower.position, size)
        if may_wait:
            return await outlast(self._calls, ask)
        seen = await ask()
        if seen is None:
            raise SessionNotFound(follower.session_id)
        return seen

    async def _ask(self, session_id: str, position: Position, size: int) -> Observation | None:
        async with self._calls("observe", session_id):
            return await self._feed.observe(session_id, position, size)

    def _ended(self, follower: Follower, last: Session | None) -> Event:
        """Whether a session that is gone was deleted, as far as can be known: its lifetime was not over."""
        kind: type[Event] = SessionDeleted
        if last is not None and last.ttl is not None:
            ttl = last.ttl if last.desk.state == "open" else max(last.ttl, self._settings.waiting_ttl)
            age = (now() - last.last_active_at).total_seconds()
            kind = SessionExpired if age >= ttl else SessionDeleted
        return kind(session_id=follower.session_id, cursor=str(follower.cursor))

    def _count(self, event: Event) -> None:
        if isinstance(event, MessageAppended) and event.message.timestamp is not None:
            delay = (now() - event.message.timestamp).total_seconds()
            self._hooks.delivered(event.session_id, max(delay, 0.0))
        elif isinstance(event, Gap):
            self._hooks.feed_gap(event.session_id, event.to_seq - event.from_seq + 1)
        elif isinstance(event, Reset):
            self._hooks.feed_reset(event.session_id, event.reason)

    @property
    def _feed(self) -> FeedStore:
        feed: FeedStore | None = getattr(self._calls.store, "feed", None)
        if feed is None:
            raise CapabilityMissing("watch")
        return feed


class Awakened:
    """What a watcher that waits is woken by."""

    __slots__ = ("_leave", "_news", "is_closed", "is_set")

    def __init__(self) -> None:
        self.is_set = asyncio.Event()
        self.is_closed = False  # the manager is about to close
        self._news: deque[bytes] | None = None
        self._leave: Callable[[], None] | None = None

    def listen(self, feed: FeedStore, session_id: str | None) -> None:
        """To the session, or the desk; a second call changes nothing."""
        if self._leave is None:
            self._leave = feed.listen(session_id, self.wake)

    def stop_listening(self) -> None:
        if self._leave is not None:
            self._leave()

    def wake(self, news: bytes | None) -> None:
        if news is not None:
            self._news = self._news or deque(maxlen=MAX_NEWS)
            self._news.append(news)
        self.is_set.set()

    def take(self) -> Iterator[bytes]:
        news, self._news = self._news, None
        return iter(news or ())

    async def close(self) -> None:
        self.is_closed = True
        self.is_set.set()


async def outlast(calls: Calls, ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of ``ask``, which is called again as long as the store is away. Raises ManagerClosed."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await ask()
        except StoreError as error:
            if calls.closed:
                raise ManagerClosed from None
            if not error.retryable:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
        pause = min(2 * pause, LONGEST_PAUSE)


def _read_news(follower: Follower, news: bytes, session: Session) -> Typing | None:
    """What was told without being stored. What another program has published is ignored."""
    try:
        who = msgspec.json.decode(news)["typing"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    if not isinstance(who, str):
        return None
    if not follower.include_internal and who not in SENDERS:
        who = "user" if who == session.user_id else "operator"
    return Typing(session_id=follower.session_id, cursor=str(follower.cursor), who=who)
