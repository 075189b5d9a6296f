"""A chat store for LlamaIndex's older, synchronous interface: ``ChatMemoryBuffer`` and its kin."""

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.storage.chat_store.base import BaseChatStore

from chat_session import SessionManager, blocking
from chat_session.adapters.history import Epoch
from chat_session.adapters.llama_index.positions import PositionalChatStore

T = TypeVar("T")


class ManagedSyncChatStore(BaseChatStore):
    """``ChatMemoryBuffer.from_defaults(chat_store=ManagedSyncChatStore(url), chat_store_key=…)``.

    It takes a ``chat_session.blocking.SessionManager``, which stays its owner's to close, or the URL of a store; then
    ``close`` closes it. May be used from any number of threads. The other arguments are those of ManagedChatStore.
    """

    _manager: blocking.SessionManager = PrivateAttr()
    _is_own: bool = PrivateAttr()
    _store: PositionalChatStore = PrivateAttr()

    def __init__(
        self,
        manager: blocking.SessionManager | str,
        *,
        user_id: str | None = None,
        epoch: Epoch = None,
        max_history: int | None = None,
    ) -> None:
        super().__init__()
        self._is_own = isinstance(manager, str)
        self._manager = blocking.SessionManager.from_url(manager) if isinstance(manager, str) else manager

        async def make(inner: SessionManager) -> PositionalChatStore:
            return PositionalChatStore(inner, user_id=user_id, epoch=epoch, max_history=max_history)

        self._store = blocking.run(self._manager, make)

    @classmethod
    def class_name(cls) -> str:
        return "ManagedSyncChatStore"

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Put these in the place of all messages in one step."""
        self._run(lambda store: store.set_messages(key, messages))

    def get_messages(self, key: str) -> list[ChatMessage]:
        return self._run(lambda store: store.get_messages(key, status=None))

    def add_message(self, key: str, message: ChatMessage, idx: int | None = None) -> None:
        """Append, or put it in the place ``idx`` as a list does. To insert replaces the history: two steps."""
        if idx is None:
            self._run(lambda store: store.add_message(key, message))
        else:
            self._run(lambda store: store.insert_message(key, message, idx))

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """All messages; as they were, None if the key has none."""
        return self._run(lambda store: store.take_messages(key))

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """The message at the place ``idx`` of ``get_messages``, from 0; None if there is no such place."""
        return self._run(lambda store: store.take_message(key, idx))

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """The newest message. Of two callers each gets another one."""
        return self._run(lambda store: store.pop_message(key))

    def get_keys(self) -> list[str]:
        return self._run(lambda store: store.get_keys())

    def close(self) -> None:
        """Close the manager that was made of a URL."""
        if self._is_own:
            self._manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: Callable[[PositionalChatStore], Coroutine[Any, Any, T]]) -> T:
        async def run(_: SessionManager) -> T:
            return await call(self._store)

        return blocking.run(self._manager, run)
