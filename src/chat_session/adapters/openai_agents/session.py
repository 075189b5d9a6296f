"""The session of the OpenAI Agents SDK on a SessionManager."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from agents.memory.session import SessionABC
from agents.memory.session_settings import SessionSettings, coerce_session_settings, resolve_session_limit

from chat_session import SessionManager
from chat_session.adapters.finishing import finish
from chat_session.adapters.history import Epoch, History, epoch_of
from chat_session.adapters.openai_agents.compaction import Snapshot, take_snapshot
from chat_session.adapters.openai_agents.items import FORMAT, to_item, to_message
from chat_session.adapters.pairing import is_of
from chat_session.adapters.session_ids import make_session_id, original_id
from chat_session.errors import SessionNotFound
from chat_session.message import Message
from chat_session.paging import MAX_LIMIT
from chat_session.session import Session

if TYPE_CHECKING:
    from agents import RunContextWrapper, TResponseInputItem

    Items = list[TResponseInputItem]


class ManagedSession(SessionABC):
    """A session that many processes may use at once, that people can read, and that a person can take over.

    Each write of a run carries the epoch at which the run first read the history. After a switch of the agent it
    raises AgentConflict, and nothing of it is stored; the error carries the messages.
    """

    def __init__(
        self,
        session_id: str,
        manager: SessionManager,
        *,
        user_id: str | None = None,
        epoch: Epoch = None,
        max_history: int | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        """``session_id``: any text. ``user_id``: whose session it becomes when it is created; else its id stands there.

        ``epoch``: a number pins it, False lets a run write after a takeover, too. ``max_history``: how many messages
        the session keeps if it is created here. ``session_settings``: with the SDK's own limit for reads.
        """
        self.session_id = session_id
        self.session_settings = (
            SessionSettings() if session_settings is None else coerce_session_settings(session_settings)
        )
        self._manager = manager
        self._history = History(
            manager,
            make_session_id(session_id),
            user_id,
            epoch=epoch,
            max_history=max_history,
            metadata=original_id(session_id),
        )
        self._epoch_of_run: WeakKeyDictionary[RunContextWrapper[Any], int] = WeakKeyDictionary()
        self._last_read: Session | None = None

    async def get_items(self, limit: int | None = None, *, wrapper: "RunContextWrapper[Any] | None" = None) -> "Items":
        """The newest items, oldest first; ``limit`` as in the SDK's SQLiteSession. One round trip.

        Without a limit it is that of the settings. Of 0 there are none, a negative one is none.
        """
        session, items = await self._read(resolve_session_limit(limit, self.session_settings))
        self._last_read = session
        if self._history.read_epoch is None or self._begins_run(limit, wrapper):
            self._history.read_epoch = epoch_of(session)
            if wrapper is not None:
                self._epoch_of_run[wrapper] = epoch_of(session)
        return items

    async def add_items(self, items: "Items", *, wrapper: "RunContextWrapper[Any] | None" = None) -> None:
        """Append all or none, in one step, which also creates the session. One round trip.

        Raises AgentConflict, MessageTooLarge; TypeError for what JSON cannot hold.
        """
        if items:
            await finish(self._history.append(self._to_messages(items), epoch=self._fence(wrapper)))

    async def pop_item(self, *, wrapper: "RunContextWrapper[Any] | None" = None) -> "TResponseInputItem | None":
        """Remove the newest item; None if there is none. Of several callers each gets another.

        What cannot be read as an item is removed, too. Two round trips. Raises AgentConflict.
        """
        return await finish(self._pop(self._fence(wrapper)))

    async def clear_session(self, *, wrapper: "RunContextWrapper[Any] | None" = None) -> None:
        """Remove all messages. The session, its agent and its metadata stay. One round trip. Raises AgentConflict."""
        with suppress(SessionNotFound):
            await finish(self._manager.clear_history(self._history.session_id, epoch=self._fence(wrapper)))

    # What OpenAIResponsesCompactionSession asks of the session that it wraps. A subclass may change items on their
    # way in and out, so it gets nothing that would pass that by, as with the SDK's own sessions.

    @property
    def _read_compaction_items(self) -> "Callable[[int | None], Awaitable[tuple[Items, bool]]] | None":
        return self._read_for_compaction if type(self) is ManagedSession else None

    async def _read_for_compaction(self, limit: int | None) -> "tuple[Items, bool]":
        """Items, and whether they are known to be all. A compaction begins no run: the epoch of the run stays."""
        _, items = await self._read(resolve_session_limit(limit, self.session_settings))
        return items, limit is not None and len(items) < limit

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: "Callable[[TResponseInputItem], bool] | None" = None
    ) -> Snapshot | None:
        """The newest items, with a way to replace some at their end if nothing has happened since. One round trip."""
        if type(self) is not ManagedSession:
            return None
        return await take_snapshot(self._history, limit, self._to_messages, prune_prefix)

    async def _atomic_replace_items(self, items: "Items") -> bool:
        """Put these in the place of all items, in one step. Raises AgentConflict; SequenceConflict, with nothing
        changed, if somebody wrote since the last read."""
        if type(self) is not ManagedSession:
            return False
        read = self._last_read
        messages = self._to_messages(items)
        try:
            await self._manager.replace_history(
                self._history.session_id,
                messages,
                expect_revision=None if read is None else read.revision,
                expect_seq=None if read is None else read.message_count,
                epoch=self._history.epoch,
            )
        except SessionNotFound:
            if messages:
                await self._history.append(messages)
        return True

    async def _pop(self, fence: int | None) -> "TResponseInputItem | None":
        while True:
            try:
                popped = await self._manager.pop_messages(self._history.session_id, epoch=fence)
            except SessionNotFound:
                return None
            if not popped:
                return None
            if (item := to_item(popped[0])) is not None:
                return item

    async def _read(self, limit: int | None) -> "tuple[Session | None, Items]":
        if limit == 0:
            return await self._manager.get_session(self._history.session_id), []
        items: dict[int | None, TResponseInputItem] = {}

        def holds_item(message: Message) -> bool:
            item = to_item(message)
            if item is not None:
                items[message.seq] = item
            return item is not None

        wanted = limit if limit is not None and 0 < limit < MAX_LIMIT else None
        session, messages = await self._history.read(is_of(FORMAT), wanted, is_shown=holds_item)
        return session, [items[message.seq] for message in messages]

    def _to_messages(self, items: "Sequence[TResponseInputItem]") -> list[Message]:
        max_text_bytes = self._manager.settings.max_message_bytes
        return [to_message(item, max_text_bytes) for item in items]

    def _begins_run(self, limit: int | None, wrapper: "RunContextWrapper[Any] | None") -> bool:
        """Whether a run reads its history, and not in its middle, or when it is resumed, the end of it as a check."""
        if wrapper is None:
            return True
        return wrapper not in self._epoch_of_run and (limit is None or wrapper.usage.requests == 0)

    def _fence(self, wrapper: "RunContextWrapper[Any] | None") -> int | None:
        """The epoch that a write carries: that at which its run began, or of the last run of this object that began."""
        if wrapper is None:
            return self._history.epoch
        return self._history.fence(self._epoch_of_run.get(wrapper, self._history.read_epoch))
