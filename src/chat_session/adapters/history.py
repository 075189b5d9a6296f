"""The history of a session for a run of an agent: made with its first append, and fenced against a takeover."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from types import EllipsisType
from typing import Any, Literal

import msgspec

from chat_session import Message, Session, SessionManager
from chat_session.adapters.pairing import IsOwn, find_lost_answers, pair_messages
from chat_session.errors import SessionExists, SessionNotFound
from chat_session.paging import MAX_LIMIT

Epoch = int | Literal[False] | None


class History:
    """The messages of one session for one run of an agent.

    A run begins with a read, whose epoch the adapter notes as ``read_epoch``. Each write carries it, so a takeover
    since refuses it with AgentConflict. ``epoch``: a number pins it, False turns the fence off.
    """

    def __init__(
        self,
        manager: SessionManager,
        session_id: str,
        user_id: str | None = None,
        *,
        epoch: Epoch = None,
        max_history: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.manager = manager
        self.session_id = session_id
        self._user_id = session_id if user_id is None else user_id
        self._pinned = epoch
        self._max_history = max_history
        self._metadata = dict(metadata or {})
        self.read_epoch: int | None = None

    @property
    def epoch(self) -> int | None:
        """What the next write carries."""
        return self.fence(self.read_epoch)

    def fence(self, read_epoch: int | None) -> int | None:
        """What a write carries whose run read the history at this epoch."""
        if self._pinned is False:
            return None
        return read_epoch if self._pinned is None else self._pinned

    async def read(
        self, is_own: IsOwn, limit: int | None = None, *, is_shown: Callable[[Message], bool] | None = None
    ) -> tuple[Session | None, list[Message]]:
        """The session, read before its messages; None if there is none yet. In the order of ``pair_messages``.

        ``limit`` counts messages that are shown: there are so many as long as there are others. The oldest of them
        may answer a call that is older, since a framework that asks for the last few gets those. One round trip; more
        if the newest messages are not shown, or if it must be found out whether a call is still there.
        """
        size = min(limit or MAX_LIMIT, MAX_LIMIT)
        session, read = await self.read_stored(size)
        while True:
            ordered = pair_messages(read, is_own, is_whole=is_whole(session, read), is_shown=is_shown)
            is_enough = limit is not None and len(ordered) >= limit and not any(find_lost_answers(read, is_own))
            if is_enough or len(read) < size or size == MAX_LIMIT:
                return session, ordered[-limit:] if limit else ordered
            size = min(2 * size, MAX_LIMIT)
            read = await self._read(size)

    async def read_stored(self, size: int = MAX_LIMIT) -> tuple[Session | None, list[Message]]:
        """The session, and then its newest messages as they are stored. One round trip."""
        return await asyncio.gather(self.manager.get_session(self.session_id), self._read(size))

    async def _read(self, size: int) -> list[Message]:
        return await self.manager.get_history(self.session_id, size, include_internal=True)

    async def append(
        self, messages: Sequence[Message], *, epoch: int | EllipsisType | None = ..., **together: Any
    ) -> None:
        """Append in one step; create the session with them if there is none. ``together``: as in ``add_messages``.

        ``epoch``: that of the last read if left out. Raises AgentConflict with nothing stored; the error carries the
        messages.
        """
        fence = self.epoch if epoch is ... else epoch
        sent = [_with_id(message) for message in messages]
        if all(message.internal for message in sent):  # with a condition the epoch refuses these, too
            together.setdefault("expect_metadata", {})
        while True:
            try:
                await self.manager.add_messages(self.session_id, sent, epoch=fence, **together)
            except SessionNotFound:
                if await self._create(sent, together):
                    return
            else:
                return

    async def _create(self, messages: Sequence[Message], together: Mapping[str, Any]) -> bool:
        """Whether this call created the session, with these messages."""
        metadata = {name: value for name, value in together.get("metadata", {}).items() if value is not None}
        for scope, changes in together.get("state", {}).items():
            await self.manager.update_state(scope, changes)
        try:
            await self.manager.create_session(
                self._user_id,
                {**self._metadata, **metadata},
                session_id=self.session_id,
                max_history=self._max_history,
                messages=messages,
            )
        except SessionExists:
            return False
        return True


def epoch_of(session: Session | None) -> int:
    """The epoch that a write carries after this session was read. One that does not exist yet begins with 0."""
    return 0 if session is None else session.agent_epoch


def is_whole(session: Session | None, messages: Sequence[Message]) -> bool:
    """Whether these are all messages that the session ever had: nothing was trimmed, retracted or changed."""
    if session is None or session.revision != 0 or not messages:
        return False
    return messages[0].seq == 1 and messages[-1].seq == len(messages)


def _with_id(message: Message) -> Message:
    """With an id that stays the same if the append is sent again."""
    return message if message.id is not None else msgspec.structs.replace(message, id=os.urandom(16).hex())
