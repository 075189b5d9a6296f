"""A turn on a session: what its block does, and the lease that is kept meanwhile."""

import asyncio
import random
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

import msgspec

from chat_session.clock import now
from chat_session.errors import (
    CapabilityMissing,
    ChatSessionError,
    InvalidInput,
    SessionNotFound,
    StoreError,
    TurnBusy,
    TurnLost,
)
from chat_session.message import RETRACTED, Message, Sender, check_message, check_messages, refuse_reserved_type
from chat_session.paging import MAX_LIMIT
from chat_session.replies import Reply
from chat_session.results import AppendResult
from chat_session.session import check_flag
from chat_session.storage.contract import ReplyStore, TurnState

if TYPE_CHECKING:
    from chat_session.manager import SessionManager

MAX_DEBOUNCES = 5  # a round begins after so many times the debounce, even if messages go on coming
LOOK_EVERY = 1.0  # seconds at most between two renewals, which also notice a takeover or a stop
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks for a turn

MessageLike = Message | Mapping[str, Any] | str
_ANSWERING = ("assistant", "operator")


class Turn:
    """A turn on a session. ``messages``: the customer's messages that nobody has answered, oldest first.

    ``missed``: how many messages were trimmed before anybody answered them, whoever wrote them: what is trimmed cannot
    be looked at.

    ``async for messages in turn:`` goes through the rounds: the messages of this one, and again as long as others have
    come meanwhile. It ends in the step that releases the turn because none has. A round is answered by its first reply
    that the customer can see, or when the block is left without an exception.
    """

    def __init__(
        self, manager: "SessionManager", session_id: str, *, lease: float, wait: float, debounce: float
    ) -> None:
        self.session_id = session_id
        self.messages: list[Message] = []
        self.missed = 0
        self.epoch = 0
        self._manager = manager
        self._calls = manager._calls  # noqa: SLF001 - a part of it
        self._store = manager._turns  # noqa: SLF001 - as above
        self._limits = manager._limits  # noqa: SLF001 - as above
        self._token = ""
        self._lease, self._wait, self._debounce = lease, wait, debounce
        self._read_to = 0
        self._is_first_round = True
        self._is_over = False
        self._is_releasing = False
        self._lost: TurnLost | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._keeper: asyncio.Task[None] | None = None
        self._stream: Reply | None = None

    async def __aenter__(self) -> Self:
        self._token = secrets.token_urlsafe(9)
        self._is_first_round, self._is_over, self._lost = True, False, None
        try:
            state = await self._take()
        except asyncio.CancelledError:  # the store may have given it all the same
            await self._release(None)
            raise
        self._calls.hooks.turn_begun(self.session_id)
        try:
            await self._begin_round(state)
        except BaseException:
            await self._release(None)
            raise
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_keeper()
        if self._lost is not None:
            others = self._count_cancellations_by_others()
            if kind is None or issubclass(kind, asyncio.CancelledError):
                raise asyncio.CancelledError if others else self._lost from None
            return
        if not self._is_over:
            await self._release(self._read_to if kind is None else None)

    # What a block does

    @overload
    async def reply(self, message: MessageLike) -> AppendResult: ...  # type: ignore[overload-overlap]  # a text is one message
    @overload
    async def reply(self, message: Sequence[MessageLike]) -> list[AppendResult]: ...
    async def reply(self, message: MessageLike | Sequence[MessageLike]) -> AppendResult | list[AppendResult]:
        """Append as the assistant: a text, a message, or several of them, all or none. One round trip.

        The first one that the customer can see answers the round, in the same step. Raises TurnLost with nothing
        stored; ``record`` still stores what a tool did.
        """
        is_many = isinstance(message, Sequence) and not isinstance(message, (str, bytes))
        given = message if is_many else [message]
        checked = check_messages([_as_message(each, "assistant") for each in given], self._limits)  # type: ignore[union-attr]
        for draft in checked:
            refuse_reserved_type("message", draft.message)
            if draft.message.sender == "user":
                raise InvalidInput("message.from", "another sender than the customer", "'user'")
        drafts = list({draft.message.id: draft for draft in checked}.values())
        self.check_held()
        try:
            self._refuse_if_lost()
            async with self._calls("append_in_turn", self.session_id):
                appended = await self._store.append_in_turn(self.session_id, self._token, drafts, self._read_to)
        except (TurnLost, StoreError) as error:
            error.messages = [draft.message for draft in drafts]
            raise
        if fresh := [done.message.sender for done in appended if not done.duplicate]:
            self._calls.hooks.appended(self.session_id, fresh)
        stored = {done.message.id: done for done in appended}
        results = []
        for draft in checked:
            done = stored[draft.message.id]
            results.append(
                AppendResult(True, done.message.id or "", done.message, done.message.seq or 0, done.duplicate)
            )
            stored[done.message.id] = msgspec.structs.replace(done, duplicate=True)  # for the next of this id
        return results if is_many else results[0]

    def check_held(self) -> None:
        """Raises TurnLost outside of the block, and once the rounds are over."""
        if self._is_over or not self._token:
            raise TurnLost(self.session_id, "released")

    async def record(self, message: MessageLike) -> AppendResult:
        """Store what a tool did, as internal. It is stored even if the turn is lost, so that nothing is done twice."""
        draft = check_message(_as_message(message, "tool"), self._limits)
        return await self._manager.add_message(self.session_id, msgspec.structs.replace(draft.message, internal=True))

    def stream(self, *, author: str | None = None, type: str | None = None, keep_partial: bool = False) -> Reply:  # noqa: A002 - a field's name
        """``async with turn.stream() as reply:`` appends as the assistant what ``await reply.write(…)`` is given.

        Watchers see it grow. Leaving the block stores one message in one round trip; after an exception, or once the
        turn is lost, nothing. ``keep_partial``: then what was said is stored as a message of type "partial", which
        answers nothing; not after a lease that ended. One at a time. Raises TurnLost, InvalidInput.
        """
        replies: ReplyStore | None = getattr(self._calls.store, "replies", None)
        if replies is None:
            raise CapabilityMissing("streaming reply")
        fields = {name: value for name, value in (("author", author), ("type", type)) if value is not None}
        return Reply(self, replies, fields, keep_partial=check_flag("keep_partial", keep_partial))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Message]:
        while True:
            if self._is_over:
                raise StopAsyncIteration
            if self._is_first_round and self.messages:
                self._is_first_round = False
                return self.messages
            self._is_first_round = False
            if await self._release_unless_newer():
                raise StopAsyncIteration
            await self._begin_round(await self._renew())
            if self.messages:
                return self.messages

    # Taking, keeping, releasing

    async def _take(self) -> TurnState:
        loop = asyncio.get_running_loop()
        ends, pause = loop.time() + self._wait, FIRST_PAUSE
        while True:
            try:
                async with self._calls("take_turn", self.session_id):
                    return await self._store.take_turn(self.session_id, self._token, self._lease)
            except TurnBusy:
                left = ends - loop.time()
                if left <= 0:
                    self._calls.hooks.turn_busy(self.session_id)
                    raise
            await asyncio.sleep(min(left, pause * random.uniform(0.5, 1)))  # noqa: S311 - jitter
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _renew(self) -> TurnState:
        async with self._calls("renew_turn", self.session_id):
            return await self._store.renew_turn(self.session_id, self._token, self._lease)

    async def _begin_round(self, state: TurnState) -> None:
        if self._debounce:
            state = await self._wait_for_quiet(state)
        self.epoch, self._read_to = state.epoch, state.last
        after = state.answered
        read = await self._manager._read(self.session_id, MAX_LIMIT, state.last + 1, after or None)  # noqa: SLF001 - a part of it
        if after is None:  # nobody has counted yet
            after = _find_answered(read, state.customer or state.last + 1)
        self.missed = max((read[0].seq or 0) - after - 1, 0) if read else 0
        unanswered = [each for each in read if each.sender == "user" and (each.seq or 0) > after]
        self.messages = [each for each in unanswered if not each.internal and each.type != RETRACTED]

    async def _wait_for_quiet(self, state: TurnState) -> TurnState:
        """Until no customer message has come for the time of the debounce."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + MAX_DEBOUNCES * self._debounce
        quiet_at = loop.time() + self._debounce - await self._find_age(state)
        while (left := min(quiet_at, ends) - loop.time()) > 0:
            await asyncio.sleep(min(left, self._lease / 3))
            seen, state = state.customer, await self._renew()
            if state.customer != seen:
                quiet_at = loop.time() + self._debounce
        return state

    async def _find_age(self, state: TurnState) -> float:
        """Seconds since the newest customer message, by its timestamp. They only decide how long a round waits."""
        newest = await self._manager._read(self.session_id, 1, state.customer + 1, None)  # noqa: SLF001 - a part of it
        if not newest or newest[0].timestamp is None:
            return 0.0
        return min(max((now() - newest[0].timestamp).total_seconds(), 0.0), self._debounce)

    async def _keep(self) -> None:
        """Renew the lease as long as the block runs; cancel the block when the turn is lost."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(min(self._lease / 3, LOOK_EVERY))
            try:
                began = loop.time()
                async with asyncio.timeout_at(renewed + self._lease):
                    await self._renew()
                renewed = began
            except TurnLost as lost:
                return None if self._is_releasing else self._lose(lost)  # a turn that was released is no loss
            except StoreError:  # the store may be back before the lease is over
                pass
            except (SessionNotFound, TimeoutError):
                return self._lose(TurnLost(self.session_id, "expired"))

    def _lose_by_reply(self, lost: TurnLost) -> None:
        if not self._is_releasing and not self._is_over:
            self._lose(lost)

    def _lose(self, lost: TurnLost) -> None:
        if self._lost is not None:
            return
        self._lost = lost
        if self._stream is not None:
            self._stream.lose(lost)
        self._calls.hooks.turn_lost(self.session_id, lost.reason)
        if self._task is not None:
            self._task.cancel()

    def _refuse_if_lost(self) -> None:
        """The block was told so. In the store the turn may go on, after a renewal whose reply was lost."""
        if self._lost is not None:
            raise TurnLost(self.session_id, self._lost.reason)

    def _count_cancellations_by_others(self) -> int:
        """Beside the one by ``_lose``, which is taken back. Both have arrived in the block by now."""
        return 0 if self._task is None else self._task.uncancel() - self._cancelling

    def _stop_keeper(self) -> None:
        """From now on it does not cancel the block. It ends by itself in the next iteration of the loop."""
        if self._keeper is not None:
            self._keeper.cancel()

    async def _release_unless_newer(self) -> bool:
        """Whether the turn is over; the round is marked in any case. Raises TurnLost."""
        self._is_releasing = True
        async with self._calls("release_turn", self.session_id):
            self._is_over = await self._store.release_turn(
                self.session_id, self._token, self._read_to, unless_newer=True
            )
        if self._is_over:
            self._stop_keeper()
        self._is_releasing = False
        return self._is_over

    async def _release(self, read_to: int | None) -> None:
        """Also while the task is being cancelled. After an exception a failure is left to the end of the lease."""

        async def release() -> None:
            try:
                async with self._calls("release_turn", self.session_id):
                    await self._store.release_turn(self.session_id, self._token, read_to, unless_newer=False)
            except TurnLost as lost:
                if self._keeper is not None:  # the block had begun, and no renewal has noticed it
                    self._calls.hooks.turn_lost(self.session_id, lost.reason)
                raise

        self._is_over = True
        releasing = asyncio.ensure_future(release())
        if read_to is not None:
            await asyncio.shield(releasing)
        else:
            with suppress(ChatSessionError):
                await asyncio.shield(releasing)


def _find_answered(messages: Sequence[Message], customer: int) -> int:
    """The sequence number of the newest answer before the customer's newest message, which nobody has answered.

    So a sentence that the desk said in the assistant's name answers no question before it. 0 if there is none.
    """
    answers = [each for each in messages if each.sender in _ANSWERING and not each.internal]
    return max((seq for each in answers if (seq := each.seq or 0) < customer), default=0)


def _as_message(value: object, sender: Sender) -> Message | Mapping[str, Any]:
    """A text, or a mapping without a sender, as a message of ``sender``."""
    if isinstance(value, str):
        return Message(sender=sender, text=value)
    if isinstance(value, Mapping) and "from" not in value and "sender" not in value:
        return {**value, "from": sender}
    return value  # type: ignore[return-value]  # it is checked next
