"""The manager's calls on messages: append, read, change."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from chat_session.calls import Calls
from chat_session.errors import AgentConflict, InvalidInput, StoreError
from chat_session.message import (
    RETRACTED,
    UNREADABLE,
    Draft,
    Limits,
    Message,
    check_message,
    check_message_id,
    check_messages,
    messages_beside_the_ai,
    refuse_reserved_type,
)
from chat_session.paging import MAX_LIMIT, check_limit, check_window
from chat_session.results import AppendResult, RetractResult
from chat_session.session import check_count, check_metadata, check_session_id
from chat_session.state import check_states
from chat_session.storage.contract import Appended, Conditional, SessionStore
from chat_session.telemetry.hooks import Hooks
from chat_session.window import Budget, choose_window

FIRST_PAGE = 50  # messages that a window with a budget of tokens alone reads first

MessageLike = Message | Mapping[str, Any]


class HistoryCalls:
    """What SessionManager offers for the history of a session."""

    _calls: Calls
    _sessions: SessionStore
    _hooks: Hooks
    _limits: Limits

    async def add_message(self, session_id: str, message: MessageLike, *, epoch: int | None = None) -> AppendResult:
        """Append a message and slide the deadline. One round trip.

        The same id and content again answers as the first time, ``duplicate=True``. ``epoch``: the session's
        ``agent_epoch`` when the message was computed; if the agent was switched since, it is refused, unless it is
        ``internal``: what a tool did must be recorded. Raises SessionNotFound, AgentConflict, MessageConflict,
        MessageTooLarge.
        """
        session_id = check_session_id(session_id)
        draft = check_message(message, self._limits)
        [result] = await self._append(session_id, [draft], epoch)
        return result

    async def add_messages(
        self,
        session_id: str,
        messages: Sequence[MessageLike],
        *,
        epoch: int | None = None,
        expect_seq: int | None = None,
        expect_revision: int | None = None,
        expect_metadata: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        state: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> list[AppendResult]:
        """Append 1 to 10,000 messages in order, all or none, in one round trip. As ``add_message``.

        Equal messages of one id within the call are stored once; unequal ones are InvalidInput. Their contents have
        at most 8 MiB in all.

        With ``expect_seq``, the newest sequence number given out as the caller read it (``message_count``), and
        ``expect_revision``, nothing is stored if anything has happened since: SequenceConflict. ``expect_metadata``
        is compared with entries of the session, None standing for a missing one: MetadataConflict. ``metadata`` is
        merged in the same step, as in ``update_session``. ``state`` is merged into the states of users and
        applications by their scopes, as in ``update_state``: in the same step on one server, on a cluster in a step
        before. With one of these five the messages may be an empty list, and the epoch refuses internal messages, too.
        """
        session_id = check_session_id(session_id)
        conditional = None
        if any(each is not None for each in (expect_seq, expect_revision, expect_metadata, metadata, state)):
            conditional = Conditional(
                expect_seq=None if expect_seq is None else check_count("expect_seq", expect_seq),
                expect_revision=None if expect_revision is None else check_count("expect_revision", expect_revision),
                expect_metadata=check_metadata(expect_metadata, "expect_metadata"),
                metadata=check_metadata(metadata),
                state=check_states(state),
            )
        empty = conditional is not None and isinstance(messages, Sequence) and len(messages) == 0
        drafts = [] if empty else check_messages(messages, self._limits)
        distinct = {draft.message.id: draft for draft in drafts}  # equal ones of one id are one
        stored = await self._append(session_id, list(distinct.values()), epoch, conditional)
        if len(stored) == len(drafts):
            return stored
        results = {result.message_id: result for result in stored}
        answers = []
        for draft in drafts:
            result = results[draft.message.id or ""]
            answers.append(result)
            results[result.message_id] = msgspec.structs.replace(result, duplicate=True)  # for the next of this id
        return answers

    async def add_unanswered(self, error: AgentConflict) -> list[AppendResult]:
        """Store what an append that was refused because of a takeover may still store, in order and in one step.

        Those are the messages that do not speak for the AI: what the customer said, and, as ``internal``, what tools
        did, with the calls. A finished order is so not made twice. Raises as ``add_messages``.
        """
        kept = messages_beside_the_ai(error.messages)
        return await self.add_messages(error.session_id or "", kept) if kept else []

    async def get_history(
        self,
        session_id: str,
        limit: int = 20,
        *,
        before: int | None = None,
        after: int | None = None,
        include_internal: bool = False,
    ) -> list[Message]:
        """Up to ``limit`` of the retained messages, oldest first.

        Without arguments the newest ones; with ``before`` those directly before that sequence number; with
        ``after`` alone the ones that follow it, so that a caller who asks again with the ``seq`` of the last
        message misses nothing. With both, the newest in between. Retracted messages are left out, and those that are
        ``internal`` unless the caller asks for them; there are ``limit`` as long as there are others.

        No session: an empty list. A damaged message is given in its place with type "unreadable" and
        its raw text in ``extra``. One round trip; with ``before`` or ``after`` two, if there is something to return.
        More where many messages are left out.
        """
        session_id, limit = check_session_id(session_id), check_limit(limit)
        before, after = check_window(before, after)
        forwards = after is not None and before is None
        found: list[Message] = []
        size = limit
        while True:
            read = await self._read(session_id, size, before, after)
            visible = _visible(read, include_internal=include_internal)
            found = found + visible if forwards else visible + found
            if len(found) >= limit or len(read) < size:
                break
            if forwards:
                after = read[-1].seq
            else:
                before = read[0].seq
            size = min(2 * size, MAX_LIMIT)
        found = found[:limit] if forwards else found[-limit:]
        damaged = sum(message.type == UNREADABLE for message in found)
        if damaged:
            self._hooks.damaged(session_id, damaged)
        return found

    async def iter_history(
        self, session_id: str, *, after: int | None = None, page: int = 500, include_internal: bool = False
    ) -> AsyncIterator[Message]:
        """Every retained message with a ``seq`` above ``after``, oldest first, also those added meanwhile.

        Two round trips for each ``page`` messages. Retracted and internal messages as in ``get_history``. Raises
        StoreError at any step.
        """
        seen = 0 if after is None else after
        while messages := await self.get_history(session_id, page, after=seen, include_internal=include_internal):
            for message in messages:
                yield message
            seen = messages[-1].seq or 0

    async def get_window(
        self,
        session_id: str,
        *,
        messages: int | None = None,
        tokens: int | None = None,
        include_internal: bool = True,
    ) -> list[Message]:
        """The newest messages for a model, oldest first, that fit both budgets; None is no budget.

        A call and its answers stay together, so the providers accept the history: answers come directly behind
        their call, an answer without its call is left out, and so is a call without all its answers, unless it is
        the last. The window ends at the first group that does not fit. A message without ``tokens`` counts as a
        quarter of its bytes. Usually one round trip.

        A group of more messages than the history keeps loses its call to the bound, and so cannot be kept.
        """
        session_id = check_session_id(session_id)
        wanted = None if messages is None else check_limit(messages, "messages")
        budget = Budget(wanted, None if tokens is None else check_count("tokens", tokens))
        size = wanted or (MAX_LIMIT if tokens is None else FIRST_PAGE)
        before = None
        history: list[Message] = []
        while True:
            read = await self._read(session_id, size, before, None)
            history = read + history
            window = choose_window(_visible(history, include_internal=include_internal), budget)
            if window.is_full or len(read) < size:
                break
            before, size = read[0].seq, min(2 * size, MAX_LIMIT)
        if not window.is_full and _ends_with_cut_group(history):
            self._hooks.group_cut(session_id)
        return window.messages

    async def retract_message(self, session_id: str, message_id: str, *, epoch: int | None = None) -> RetractResult:
        """Erase a message for everyone. Its place, id and seq stay, so a repeated delivery does not bring it back.

        Retracted before: ``success=True`` again; no such message: ``success=False``. Slides the deadline. Two round
        trips. Raises SessionNotFound; AgentConflict as in ``add_message``.
        """
        session_id, message_id = check_session_id(session_id), check_message_id("message_id", message_id)
        epoch = None if epoch is None else check_count("epoch", epoch)
        async with self._calls("retract_message", session_id):
            tombstone = await self._sessions.retract_message(session_id, message_id, epoch)
        if tombstone is not None:
            self._hooks.changed(session_id, RETRACTED, 1)
        return RetractResult(success=tombstone is not None, message=tombstone)

    async def pop_messages(self, session_id: str, count: int = 1, *, epoch: int | None = None) -> list[Message]:
        """Retract the newest ``count`` messages, internal ones too, in one step. As they were, oldest first.

        Of several callers each gets other messages. Slides the deadline. Two round trips, more if others change the
        history meanwhile. Raises SessionNotFound; AgentConflict as in ``add_message``.
        """
        session_id, count = check_session_id(session_id), check_limit(count, "count")
        epoch = None if epoch is None else check_count("epoch", epoch)
        async with self._calls("pop_messages", session_id):
            popped = await self._sessions.pop_messages(session_id, count, epoch)
        if popped:
            self._hooks.changed(session_id, RETRACTED, len(popped))
        return popped

    async def replace_message(
        self,
        session_id: str,
        message: MessageLike,
        *,
        expect: MessageLike | None = None,
        epoch: int | None = None,
    ) -> Message:
        """Put ``message`` in the place of the one of its id; the stored message. ``seq`` and ``internal`` stay.

        Without a timestamp it keeps that of the message before. ``expect``: the message as it was read; if the stored
        one differs, MessageConflict. Slides the deadline. Two round trips. Raises SessionNotFound, MessageNotFound,
        MessageTooLarge; AgentConflict as in ``add_message``.
        """
        session_id = check_session_id(session_id)
        draft = self._check_sent(message)
        if (message.id if isinstance(message, Message) else message.get("id")) is None:
            raise InvalidInput("message.id", "the id of the message to replace", "None")
        expected = None
        if expect is not None:
            expected = expect if isinstance(expect, Message) else Message.from_dict(expect)
        epoch = None if epoch is None else check_count("epoch", epoch)
        async with self._calls("replace_message", session_id):
            stored = await self._sessions.replace_message(session_id, draft, expected, epoch)
        self._hooks.changed(session_id, "replaced", 1)
        return stored

    async def clear_history(self, session_id: str, *, epoch: int | None = None) -> int:
        """Remove all messages and forget their ids; how many there were. Sequence numbers go on.

        Slides the deadline. One round trip. Raises SessionNotFound; AgentConflict as in ``add_message``.
        """
        session_id = check_session_id(session_id)
        epoch = None if epoch is None else check_count("epoch", epoch)
        async with self._calls("clear_history", session_id):
            removed = await self._sessions.clear_history(session_id, epoch)
        self._hooks.changed(session_id, "cleared", removed)
        return removed

    async def replace_history(
        self,
        session_id: str,
        messages: Sequence[MessageLike],
        *,
        expect_revision: int | None = None,
        expect_seq: int | None = None,
        epoch: int | None = None,
    ) -> list[Message]:
        """Clear the history and store these messages in one step; the stored messages, of distinct ids.

        Of more than the session keeps the last are stored. ``expect_revision`` and ``expect_seq``: the session's
        ``revision`` and ``message_count`` as they were read; SequenceConflict if the history was changed, or messages
        were appended since. An empty list clears. One round trip. Raises SessionNotFound, MessageTooLarge;
        AgentConflict as in ``add_message``.
        """
        session_id = check_session_id(session_id)
        empty = isinstance(messages, Sequence) and len(messages) == 0
        drafts = [] if empty else check_messages(messages, self._limits)
        distinct = list({draft.message.id: draft for draft in drafts}.values())
        for draft in distinct:
            refuse_reserved_type("messages", draft.message)
        revision = None if expect_revision is None else check_count("expect_revision", expect_revision)
        seq = None if expect_seq is None else check_count("expect_seq", expect_seq)
        epoch = None if epoch is None else check_count("epoch", epoch)
        async with self._calls("replace_history", session_id):
            stored = await self._sessions.replace_history(session_id, distinct, revision, epoch, seq)
        self._hooks.changed(session_id, "replaced", len(stored))
        return stored

    def _check_sent(self, message: MessageLike) -> Draft:
        draft = check_message(message, self._limits)
        refuse_reserved_type("message", draft.message)
        return draft

    async def _read(self, session_id: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        async with self._calls("get_history", session_id):
            return await self._sessions.get_history(session_id, limit, before, after)

    async def _append(
        self, session_id: str, drafts: list[Draft], epoch: int | None, conditional: Conditional | None = None
    ) -> list[AppendResult]:
        for draft in drafts:
            if draft.message.type is not None:
                refuse_reserved_type("message", draft.message)
        epoch = None if epoch is None else check_count("epoch", epoch)
        try:
            async with self._calls("append_messages", session_id):
                appended = await self._sessions.append_messages(session_id, drafts, epoch, conditional)
        except (StoreError, AgentConflict) as error:
            error.messages = [draft.message for draft in drafts]
            raise
        fresh = [done.message.sender for done in appended if not done.duplicate]
        if fresh:
            self._hooks.appended(session_id, fresh)
        return [_result(draft.message.id or "", done) for draft, done in zip(drafts, appended, strict=True)]


def _visible(messages: Sequence[Message], *, include_internal: bool) -> list[Message]:
    """Without the retracted ones, and without the internal ones unless they are wanted."""
    if include_internal:
        return [message for message in messages if message.type != RETRACTED]
    return [message for message in messages if not message.internal and message.type != RETRACTED]


def _ends_with_cut_group(history: Sequence[Message]) -> bool:
    """Whether the newest message answers a call that was trimmed. Where others were retracted it cannot be known."""
    if not history or history[0].seq == 1 or any(message.type == RETRACTED for message in history):
        return False
    called = {call for message in history for call in message.calls}
    return not called.issuperset(history[-1].answers)


def _result(message_id: str, done: Appended) -> AppendResult:
    return AppendResult(
        success=True, message_id=message_id, message=done.message, seq=done.message.seq or 0, duplicate=done.duplicate
    )
