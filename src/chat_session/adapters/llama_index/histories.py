"""The fence of a chat store: which epoch a write of a key carries. The framework has no place for it."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from chat_session import AgentConflict, Message, Session, SessionManager
from chat_session.adapters.history import Epoch, History, epoch_of
from chat_session.adapters.llama_index.messages import FORMAT
from chat_session.adapters.pairing import is_of
from chat_session.adapters.session_ids import make_session_id, original_id
from chat_session.errors import SessionNotFound

MAX_OPEN = 10_000  # keys whose last read is remembered


class ChatHistory(History):
    """The messages of a key."""

    async def replace(self, messages: Sequence[Message]) -> None:
        """Put these in the place of all messages in one step; create the session with them if there is none.

        Raises AgentConflict with nothing changed; the error carries the messages.
        """
        while True:
            try:
                await self.manager.replace_history(self.session_id, messages, epoch=self.epoch)
            except SessionNotFound:
                if await self._create(messages, {}):
                    return
            except AgentConflict as error:
                error.messages = messages
                raise
            else:
                return


class Histories:
    """The history of each key, with the epoch of its last read.

    An agent reads several times in one run, so a read while a person answers does not move the epoch: else the reads
    of a run would let its late reply through. After a conflict the next read does: it begins another run.
    """

    def __init__(self, manager: SessionManager, user_id: str | None, epoch: Epoch, max_history: int | None) -> None:
        self._manager = manager
        self._user_id = user_id
        self._epoch = epoch
        self._max_history = max_history
        self._open: OrderedDict[str, ChatHistory] = OrderedDict()
        self._refused: set[str] = set()  # keys whose last write met a takeover

    async def read(self, key: str) -> tuple[Session | None, list[Message]]:
        """Of a run: it notes the epoch."""
        history = self._get(key)
        session, messages = await history.read(is_of(FORMAT))
        is_taken_over = session is not None and session.current_agent == "human"
        if history.read_epoch is None or not is_taken_over or key in self._refused:
            history.read_epoch = epoch_of(session)
        self._refused.discard(key)
        return session, messages

    async def look(self, key: str) -> tuple[Session | None, list[Message]]:
        """Of a write that must read first: it notes nothing."""
        return await self.unfenced(key).read(is_of(FORMAT))

    @contextmanager
    def fenced(self, key: str) -> Iterator[ChatHistory]:
        """For writes, which carry its ``epoch``."""
        history = self._get(key)
        try:
            yield history
        except AgentConflict:
            self._refused.add(key)
            raise

    def unfenced(self, key: str) -> ChatHistory:
        return self._make(key, epoch=False)

    def _get(self, key: str) -> ChatHistory:
        history = self._open.get(key)
        if history is None:
            history = self._open[key] = self._make(key, epoch=self._epoch)
        self._open.move_to_end(key)
        while len(self._open) > MAX_OPEN:
            oldest, _ = self._open.popitem(last=False)
            self._refused.discard(oldest)
        return history

    def _make(self, key: str, *, epoch: Epoch) -> ChatHistory:
        return ChatHistory(
            self._manager,
            make_session_id(key),
            self._user_id,
            epoch=epoch,
            max_history=self._max_history,
            metadata=original_id(key),
        )
