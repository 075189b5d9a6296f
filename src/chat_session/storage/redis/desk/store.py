"""The desk on Redis, put together from its parts."""

from collections.abc import Sequence

from chat_session.desk_options import DeskOptions
from chat_session.desk_results import DeskEntry, DeskPage, DeskStats, Operator
from chat_session.handoff import Step
from chat_session.storage.contract import DeskSweep, Stepped
from chat_session.storage.redis.desk.claims import Claims
from chat_session.storage.redis.desk.entries import DeskEntries
from chat_session.storage.redis.desk.lists import DeskLists, make_operator
from chat_session.storage.redis.desk.steps import SessionSteps
from chat_session.storage.redis.desk.sweep import Sweep
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts.desk import renew_presence


class RedisDesk:
    """Keeps DeskStore's promises on one Redis server or a cluster."""

    def __init__(
        self,
        executor: CommandExecutor,
        keys: Keys,
        entries: DeskEntries,
        steps: SessionSteps,
        options: DeskOptions,
    ) -> None:
        self._executor = executor
        self._keys = keys.desk()
        self._presence_ms = options.presence_ms
        self._creations = entries.creations
        self._steps = steps
        self._claims = Claims(executor, entries, steps, options)
        self._lists = DeskLists(executor, self._keys)
        self._sweep = Sweep(executor, keys, entries, steps, self._lists, options)

    async def take_step(self, session_id: str, step: Step) -> Stepped:
        return await self._steps.take_step(session_id, step)

    async def claim(self, operator_id: str, teams: Sequence[str]) -> Stepped | None:
        return await self._claims.claim(operator_id, teams)

    async def renew_presence(self, operator_id: str, capacity: int | None, available: bool) -> Operator:
        call = renew_presence(
            self._keys,
            operator=operator_id,
            lease_ms=self._presence_ms,
            is_sign=1,
            capacity="" if capacity is None else capacity,
            available=int(available),
        )
        return make_operator(operator_id, await self._executor.run("renew_presence", call))

    async def list_waiting(self, team: str | None, limit: int, cursor: str | None) -> DeskPage:
        return await self._lists.list_waiting(team, limit, cursor)

    async def list_assigned(self, operator_id: str | None) -> list[DeskEntry]:
        return await self._lists.list_assigned(operator_id)

    async def list_operators(self) -> list[Operator]:
        return await self._lists.list_operators()

    async def read_stats(self) -> DeskStats:
        await self._creations.flush()
        return await self._lists.read_stats()

    async def sweep(self) -> DeskSweep:
        return await self._sweep.run_once()
