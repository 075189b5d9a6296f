"""What operators ask of the sessions on Redis: lists over all users, and a look for damage."""

from collections.abc import AsyncIterator, Callable, Sequence

from chat_session.errors import StoreCorrupt
from chat_session.results import SessionPage
from chat_session.session import Agent, Session
from chat_session.storage.contract import Finding
from chat_session.storage.redis.doctor import Doctor
from chat_session.storage.redis.index.entries import Index
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.pages import SessionPages
from chat_session.storage.redis.server_checks import check_servers


class RedisOperator:
    """Keeps OperatorStore's promises."""

    def __init__(
        self, executor: CommandExecutor, keys: Keys, index: Index, new_doctor: Callable[[], Doctor], *, default_ttl: int
    ) -> None:
        self._executor = executor
        self._pages = SessionPages(executor, keys, index, default_ttl)
        self._new_doctor = new_doctor

    async def list_sessions(self, limit: int, cursor: str | None, agent: Agent | None) -> SessionPage:
        return await self._pages.page_of_all(limit, cursor, agent)

    def scan_sessions(self) -> AsyncIterator[Sequence[Session | StoreCorrupt]]:
        return self._pages.scan()

    async def diagnose(self, *, repair: bool) -> list[Finding]:
        return [*await check_servers(self._executor), *await self._new_doctor().check_keys(repair=repair)]
