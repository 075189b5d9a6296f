"""The feed of the embedded store."""

from collections.abc import Callable
from contextlib import suppress

from chat_session.errors import StoreError
from chat_session.storage.contract import Observation, Position, Wake
from chat_session.storage.sqlite import marks
from chat_session.storage.sqlite.listening import Listening
from chat_session.storage.sqlite.observing import observe
from chat_session.storage.sqlite.worker import Worker


class SqliteFeed:
    """Keeps FeedStore's promises."""

    def __init__(self, reader: Worker, writer: Worker, listening: Listening) -> None:
        self._reader = reader
        self._writer = writer
        self._listening = listening

    async def observe(self, session_id: str, position: Position, size: int) -> Observation | None:
        return await self._reader.call(observe, session_id, position, size)

    def listen(self, session_id: str | None, wake: Wake) -> Callable[[], None]:
        return self._listening.add(session_id, wake)

    async def tell(self, session_id: str, news: bytes) -> None:
        with suppress(StoreError):
            await self._writer.call(marks.tell, session_id, news)

    async def close(self) -> None:
        await self._listening.close()
