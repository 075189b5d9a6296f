"""Streaming replies: everyone who watches the session sees the text grow, and at the end it is one message."""

import asyncio
import secrets
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chat_session.checks import check_text
from chat_session.errors import ChatSessionError, InvalidInput, MessageTooLarge, StoreError, TurnLost
from chat_session.growing_text import PACE, GrowingText
from chat_session.message import Draft, check_message, refuse_reserved_type
from chat_session.results import AppendResult
from chat_session.storage.contract import Appended, ReplyStore

if TYPE_CHECKING:
    from chat_session.turns import Turn

PARTIAL = "partial"  # the type of a message that is the beginning of a reply
_FIXED = ("id", "from", "sender", "text", "timestamp", "seq", "author", "answers", "internal")


class Reply:
    """What ``turn.stream`` gives. ``id`` will be that of its message.

    Leaving the block stores one message with the whole text, even if that is empty, and answers the round as
    ``turn.reply`` does. ``result``: what was stored, once the block is left; None if nothing was.
    """

    def __init__(self, turn: "Turn", store: ReplyStore, fields: dict[str, Any], *, keep_partial: bool) -> None:
        self.id = secrets.token_hex(16)
        self.result: AppendResult | None = None
        self._turn = turn
        self._store = store
        self._calls = turn._calls  # noqa: SLF001 - a part of it
        self._limits = turn._limits  # noqa: SLF001 - as above
        self._session_id, self._token = turn.session_id, turn._token  # noqa: SLF001 - as above
        self._fields = fields
        self._keeps_partial = keep_partial
        self._author = self._make_draft("").message.author
        self._text = GrowingText(self._session_id, self._send, self._lose_turn)
        self._is_used = self._grows = False

    @property
    def text(self) -> str:
        """What was written so far."""
        return self._text.written.decode()

    async def write(self, text: str) -> None:
        """Add text. It is sent within 20 to 100 ms, together with what else has come; this call waits for nothing,
        unless 64 KiB wait to be sent.

        Raises TurnLost; MessageTooLarge, with nothing of ``text`` sent, if the reply would get too long.
        """
        added = check_text("text", text, "text").encode()
        self._check_growing()
        await self._text.wait_for_room()
        self._check_growing()
        size, limit = len(self._text.written) + len(added), self._limits.text
        if size > limit:
            raise MessageTooLarge("reply", f"at most {limit:,} bytes as UTF-8", f"{size:,} bytes")
        self._text.add(added)

    def set_fields(self, **fields: Any) -> None:
        """Fields that the message will have: ``type``, ``format``, ``content``, ``calls``, ``tokens``, extra ones.

        The last value of each counts. Raises InvalidInput, MessageTooLarge.
        """
        self._check_growing()
        for name in fields:
            if name in _FIXED:
                raise InvalidInput("fields", "those of a message that may be set while it grows", repr(name))
        before, self._fields = self._fields, {**self._fields, **fields}
        try:
            self._make_draft("")
        except BaseException:
            self._fields = before
            raise

    async def __aenter__(self) -> Self:
        turn = self._turn
        turn.check_held()
        if turn._lost is not None:  # noqa: SLF001 - a part of it
            raise turn._lost  # noqa: SLF001 - as above
        if turn._stream is not None:  # noqa: SLF001 - as above
            raise InvalidInput("stream", "one reply at a time in a turn", "another while one grows")
        if self._is_used:
            raise InvalidInput("reply", "one that has not begun", "one that has ended")
        self._is_used = True
        turn._stream = self  # noqa: SLF001 - as above
        try:
            async with self._calls("begin_reply", self._session_id):
                await self._store.begin_reply(self._session_id, self._token, self.id, self._author)
        except BaseException as error:
            turn._stream = None  # noqa: SLF001 - as above
            if isinstance(error, (asyncio.CancelledError, StoreError)):  # it may have begun all the same
                with suppress(ChatSessionError):
                    await self._shield(self._abort("failed"))
            raise
        self._grows = True
        PACE.growing += 1
        self._calls.hooks.reply_begun(self._session_id)
        self._text.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._grows:
            return
        self._grows = False
        PACE.growing -= 1
        self._turn._stream = None  # noqa: SLF001 - a part of it
        problem, outcome = error or self._text.failure, "failed"
        try:
            if problem is None:
                problem = await self._try_to_commit()
            if problem is None:
                outcome = "committed"
            else:
                outcome = self._find_reason(problem)
                outcome = await self._shield(self._give_up(outcome, problem))
        finally:
            self._text.cancel()
            self._calls.hooks.reply_ended(self._session_id, outcome)
        if error is None and problem is not None:
            raise problem

    def lose(self, lost: TurnLost) -> None:
        """The turn is lost."""
        self._text.fail(lost)

    async def _try_to_commit(self) -> BaseException | None:
        """Store the message, whether all deltas were sent or not. What went wrong; None if nothing did."""
        self._text.stop()
        draft = self._make_draft(self.text)
        read_to = self._turn._read_to  # noqa: SLF001 - a part of it
        try:
            async with self._calls("commit_reply", self._session_id):
                appended = await self._store.commit_reply(self._session_id, self._token, draft, read_to)
        except BaseException as problem:
            if isinstance(problem, (TurnLost, StoreError)):
                problem.messages = [draft.message]
            return problem
        self._set_result(appended)
        return None

    async def _give_up(self, reason: str, problem: BaseException) -> str:
        """End the reply without its message; how it ended. If this fails, it ends with the lease."""
        with suppress(ChatSessionError):
            if self._keeps_partial and not isinstance(problem, StoreError) and await self._commit_partial(reason):
                return PARTIAL
            await self._abort(reason)
        return reason

    async def _commit_partial(self, reason: str) -> bool:
        """Store what the watchers have seen, and while the turn is held all that was written. Whether it was stored."""
        await self._text.finish()
        if reason == "failed":
            with suppress(TurnLost):  # nobody had noticed that yet
                await self._text.flush()
        length = self._text.shown
        if not length:
            return False
        fields = {"type": PARTIAL} if self._author is None else {"type": PARTIAL, "author": self._author}
        draft = self._make_draft(self._text.written[:length].decode(), fields)
        async with self._calls("commit_partial", self._session_id):
            appended = await self._store.commit_partial(self._session_id, draft, length, reason)
        if appended is not None:
            self._set_result(appended)
        return appended is not None

    async def _abort(self, reason: str) -> None:
        async with self._calls("abort_reply", self._session_id):
            await self._store.abort_reply(self._session_id, self.id, reason)

    async def _send(self, offset: int, text: bytes) -> int:
        async with self._calls("write_reply", self._session_id):
            return await self._store.write_reply(self._session_id, self._token, self.id, offset, text)

    def _lose_turn(self, lost: TurnLost) -> None:
        self._turn._lose_by_reply(lost)  # noqa: SLF001 - a part of it

    def _find_reason(self, problem: BaseException) -> str:
        lost = problem if isinstance(problem, TurnLost) else self._turn._lost  # noqa: SLF001 - a part of it
        return lost.reason if lost is not None else "failed"

    def _make_draft(self, text: str, fields: dict[str, Any] | None = None) -> Draft:
        given = self._fields if fields is None else fields
        draft = check_message({**given, "id": self.id, "from": "assistant", "text": text}, self._limits)
        refuse_reserved_type("message", draft.message)
        return draft

    def _set_result(self, done: Appended) -> None:
        self.result = AppendResult(True, self.id, done.message, done.message.seq or 0, done.duplicate)
        if not done.duplicate:
            self._calls.hooks.appended(self._session_id, [done.message.sender])

    def _check_growing(self) -> None:
        if not self._grows:
            raise InvalidInput("reply", "used within its block", "a reply that has ended, or has not begun")

    @staticmethod
    async def _shield(ending: Any) -> Any:
        """Also while the task is being cancelled."""
        return await asyncio.shield(asyncio.ensure_future(ending))
