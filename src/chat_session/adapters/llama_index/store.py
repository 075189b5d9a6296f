"""A chat store for LlamaIndex's ``Memory``: each key is a session."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import msgspec
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus

from chat_session import Inspector, Message, Session, SessionManager, blocking
from chat_session.adapters.history import Epoch
from chat_session.adapters.llama_index.histories import Histories
from chat_session.adapters.llama_index.loops import ManagerLoop, on_its_loop
from chat_session.adapters.llama_index.messages import STATUS, to_chat, to_chats, to_message
from chat_session.adapters.session_ids import find_original_id
from chat_session.errors import MetadataConflict, SequenceConflict, SessionNotFound, StoreCorrupt

ARCHIVED_SEQ = "llama_index_archived_seq"  # metadata: the messages up to this sequence number are archived


class ManagedChatStore(AsyncDBChatStore):
    """``Memory.from_defaults(session_id=…, chat_store=ManagedChatStore(manager))``.

    With a ``chat_session.blocking.SessionManager`` it may be used from any event loop, as ``Memory`` does in its
    synchronous methods and where it is made with a ``chat_history``.

    ``user_id``: whose the sessions are that it creates; left out, each is its own user's. ``max_history``: how many
    messages they keep. ``epoch``: a number fences all writes with it, False turns the fence off, None takes the epoch
    of this store's last read of the key, see Histories. What a customer says is not fenced.

    Writes raise AgentConflict, with nothing stored, if a person has taken over since.
    """

    _on: ManagerLoop = PrivateAttr()
    _manager: SessionManager = PrivateAttr()
    _user_id: str | None = PrivateAttr()
    _histories: Histories = PrivateAttr()

    def __init__(
        self,
        manager: SessionManager | blocking.SessionManager,
        *,
        user_id: str | None = None,
        epoch: Epoch = None,
        max_history: int | None = None,
    ) -> None:
        super().__init__()
        self._on = ManagerLoop(manager)
        self._manager = self._on.manager
        self._user_id = user_id
        self._histories = Histories(self._manager, user_id, epoch, max_history)

    @classmethod
    def class_name(cls) -> str:
        return "ManagedChatStore"

    @on_its_loop
    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Those of the status, None for all, oldest first; of these ``limit`` from the place ``offset`` on."""
        first = offset or 0
        chats = to_chats(_of_status(*await self._histories.read(key), status))
        return chats[first:] if limit is None else chats[first : first + limit]

    async def count_messages(self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE) -> int:
        return len(await self.get_messages(key, status))

    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE) -> None:
        await self.add_messages(key, [message], status)

    @on_its_loop
    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Append in one step. None is no message and no session."""
        sent = self._to_messages(messages, status)
        if sent and _are_by_customer(sent):
            await self._histories.unfenced(key).append(sent)
        elif sent:
            with self._histories.fenced(key) as history:
                await history.append(sent)

    @on_its_loop
    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Put these in the place of all messages, of either status, in one step."""
        with self._histories.fenced(key) as history:
            await history.replace(_without_lost_calls(self._to_messages(messages, status)))

    @on_its_loop
    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """The message at the place ``idx`` of ``get_messages(key)``, from 0, as it was. The others keep their order.

        None if there is no such place. (The SQL store takes the id of a row here, which no call of it tells.)
        """
        return await self._take(key, idx, MessageStatus.ACTIVE)

    @on_its_loop
    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """All of a key in one step, or those of one status one by one. The session stays, with its agent and data."""
        if status is not None:
            await self._retract(key, _of_status(*await self._histories.look(key), status))
            return
        with self._histories.fenced(key) as history, suppress(SessionNotFound):
            await self._manager.clear_history(history.session_id, epoch=history.epoch)

    @on_its_loop
    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """The oldest ``n`` active messages, deleted one by one; as they were."""
        oldest = _oldest(_of_status(*await self._histories.look(key), MessageStatus.ACTIVE), n)
        await self._retract(key, oldest)
        return to_chats(oldest)

    @on_its_loop
    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Make the oldest ``n`` active messages archived in one step; what they are."""
        while True:
            session, messages = await self._histories.look(key)
            oldest = _oldest(_of_status(session, messages, MessageStatus.ACTIVE), n)
            if session is None or not oldest:
                return []
            with self._histories.fenced(key) as history, suppress(MetadataConflict, SequenceConflict):
                await self._manager.add_messages(
                    history.session_id,
                    [],
                    epoch=history.epoch,
                    expect_revision=session.revision,
                    expect_metadata={ARCHIVED_SEQ: session.metadata.get(ARCHIVED_SEQ)},
                    metadata={ARCHIVED_SEQ: max(message.seq or 0 for message in oldest)},
                )
                return to_chats(oldest)

    @on_its_loop
    async def get_keys(self) -> list[str]:
        """The keys that have messages: of the user, or of all sessions of the store. Costs what there is to list."""
        if self._user_id is not None:
            sessions = await self._manager.get_user_sessions(self._user_id)
        else:
            found = [each async for each in Inspector(self._manager).scan_sessions()]
            sessions = [each for each in found if not isinstance(each, StoreCorrupt)]
        sessions.sort(key=lambda session: session.created_at)
        have = await asyncio.gather(*map(self._has_messages, sessions))
        return [find_original_id(session) for session, has in zip(sessions, have, strict=True) if has]

    async def _has_messages(self, session: Session) -> bool:
        if session.revision == 0:
            return session.message_count > 0
        return bool(await self._manager.get_history(session.session_id, 1, include_internal=True))

    async def _take(self, key: str, idx: int, status: MessageStatus | None) -> ChatMessage | None:
        messages = _of_status(*await self._histories.look(key), status)
        shown = [(message, chat) for message in messages if (chat := to_chat(message)) is not None]
        if not 0 <= idx < len(shown):
            return None
        message, chat = shown[idx]
        await self._retract(key, [message])
        return chat

    async def _retract(self, key: str, messages: Iterable[Message]) -> None:
        """One after the other, so that the order is kept if it ends in the middle."""
        with self._histories.fenced(key) as history:
            for message in messages:
                await self._manager.retract_message(history.session_id, message.id or "", epoch=history.epoch)

    def _to_messages(self, chats: Iterable[ChatMessage], status: MessageStatus) -> list[Message]:
        max_text = self._manager.settings.max_message_bytes
        messages = [to_message(chat, max_text) for chat in chats]
        if status == MessageStatus.ARCHIVED:
            for message in messages:
                message.extra[STATUS] = status.value
        return messages


def _of_status(session: Session | None, messages: Iterable[Message], status: MessageStatus | None) -> list[Message]:
    if session is None or status is None:
        return list(messages)
    boundary = session.metadata.get(ARCHIVED_SEQ)
    archived = boundary if isinstance(boundary, int) else 0
    wanted = status == MessageStatus.ARCHIVED
    return [
        message
        for message in messages
        if ((message.seq or 0) <= archived or message.extra.get(STATUS) == MessageStatus.ARCHIVED.value) == wanted
    ]


def _oldest(messages: Iterable[Message], count: int) -> list[Message]:
    """As they were stored: a reader may have been given them in another order."""
    return sorted(messages, key=lambda message: message.seq or 0)[: max(count, 0)]


def _are_by_customer(messages: Iterable[Message]) -> bool:
    return all(message.sender == "user" and not message.answers for message in messages)


def _without_lost_calls(messages: list[Message]) -> list[Message]:
    """The whole history of a key. An answer without a call is stored as one that answers nothing: none was lost."""
    called: set[str] = set()
    kept = []
    for message in messages:
        kept.append(message if called.issuperset(message.answers) else msgspec.structs.replace(message, answers=()))
        called.update(message.calls)
    return kept
