"""What operators ask of the sessions on Redis: lists over all users, and a look for damage."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

from chat_session.errors import StoreCorrupt
from chat_session.results import SessionPage
from chat_session.session import Agent, Session
from chat_session.storage.contract import Finding
from chat_session.storage.redis.connection import Link
from chat_session.storage.redis.doctor import Doctor
from chat_session.storage.redis.index import Index
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.lists import SessionLists
from chat_session.storage.redis.server_checks import check_servers


class RedisOperator:
    """Keeps OperatorStore's promises."""

    def __init__(self, link: Link, keys: Keys, index: Index, *, default_ttl: int) -> None:
        self._link = link
        self._lists = SessionLists(link, keys, index, default_ttl)
        self._new_doctor = partial(Doctor, link, keys, index, default_ttl)

    async def list_sessions(self, limit: int, cursor: str | None, agent: Agent | None) -> SessionPage:
        return await self._lists.page_of_all(limit, cursor, agent)

    def scan_sessions(self) -> AsyncIterator[Sequence[Session | StoreCorrupt]]:
        return self._lists.scan()

    async def diagnose(self, *, repair: bool) -> list[Finding]:
        return [*await check_servers(self._link), *await self._new_doctor().check_keys(repair=repair)]
