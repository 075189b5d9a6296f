"""What the older interface asks beside: messages by their places in the list of a key."""

from contextlib import suppress

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base_db import MessageStatus

from chat_session import SessionManager
from chat_session.adapters.history import Epoch
from chat_session.adapters.llama_index.messages import to_chat
from chat_session.adapters.llama_index.store import ManagedChatStore
from chat_session.errors import SequenceConflict, SessionNotFound


class PositionalChatStore(ManagedChatStore):
    """A place counts the messages that ``get_messages`` gives of both statuses, from 0."""

    def __init__(self, manager: SessionManager, *, user_id: str | None, epoch: Epoch, max_history: int | None) -> None:
        """Written out, since a pydantic model without one gets one of its fields by the rules of type checkers."""
        super().__init__(manager, user_id=user_id, epoch=epoch, max_history=max_history)

    async def insert_message(self, key: str, message: ChatMessage, idx: int) -> None:
        """Read the history and put one with this message in its place; not for a key that others write meanwhile."""
        while True:
            session, messages = await self._histories.look(key)
            if session is None or not messages:
                await self.add_message(key, message)
                return
            shown = [place for place, each in enumerate(messages) if to_chat(each) is not None]
            first, _, _ = slice(idx, None).indices(len(shown))  # as list.insert counts
            place = [*shown, len(messages)][first]
            changed = [*messages[:place], *self._to_messages([message], MessageStatus.ACTIVE), *messages[place:]]
            with self._histories.fenced(key) as history, suppress(SequenceConflict, SessionNotFound):
                await self._manager.replace_history(
                    history.session_id, changed, expect_revision=session.revision, epoch=history.epoch
                )
                return

    async def take_messages(self, key: str) -> list[ChatMessage] | None:
        taken = await self.get_messages(key, status=None)
        await self.delete_messages(key)
        return taken or None

    async def take_message(self, key: str, idx: int) -> ChatMessage | None:
        return await self._take(key, idx, None)

    async def pop_message(self, key: str) -> ChatMessage | None:
        """Of several callers each gets another message."""
        with self._histories.fenced(key) as history, suppress(SessionNotFound):
            while popped := await self._manager.pop_messages(history.session_id, epoch=history.epoch):
                if (chat := to_chat(popped[0])) is not None:
                    return chat
        return None
