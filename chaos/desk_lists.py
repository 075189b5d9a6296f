"""What the desk lists after its last sweeps, in which everything is due that a crash may have left."""

import asyncio
from collections.abc import Sequence
from typing import Any

from chaos.case import STEPS
from chaos.desk_bot import TEAMS
from chaos.history import Operation
from chaos.snapshot import DeskLists
from chaos.workload import Caller
from chat_session import Desk, SessionManager
from chat_session.storage.redis.keys import Keys
from testkit.backends import Backend, RedisBackend

SWEEPS = 3  # the first may find what lapsed long ago; it is put back by the next one
PAGE = 100


def was_used(history: Sequence[Operation]) -> bool:
    return any(op.kind in STEPS for op in history)


async def finish_sweeps(backend: Backend, caller: Caller, prefix: str = "") -> None:
    """Sweep as if a claim's lease and the time until the next check were over. An embedded store has neither."""
    for _ in range(SWEEPS):
        if isinstance(backend, RedisBackend):
            await asyncio.to_thread(_make_due, backend, Keys(prefix, backend.layout))
        await caller.sweep()


def _make_due(backend: RedisBackend[Any], keys: Keys) -> None:
    due = {*keys.check_buckets(), keys.desk().leases}
    with backend.clients() as clients:
        for client in clients:
            for key in due.intersection(client.scan_iter(match=f"{keys.prefix}*desk*", count=1000)):
                for member in client.zrange(key, 0, -1):
                    client.zadd(key, {member: 0})


async def read_lists(manager: SessionManager) -> DeskLists:
    """As callers see them."""
    desk = Desk(manager)
    stats = await desk.stats()
    seats: dict[str, list[str]] = {}
    for entry in await desk.assigned():
        seats.setdefault(entry.operator_id or "", []).append(entry.session_id)
    return DeskLists(
        queue=await _read_queue(desk, None),
        teams={team: await _read_queue(desk, team) for team in {*TEAMS, *stats.waiting} - {""}},
        seats=seats,
        taken={operator.operator_id: operator.assigned for operator in await desk.operators()},
        waiting=stats.waiting,
        assigned=stats.assigned,
        lapses=stats.day.lapses,
        lease=manager.settings.claim_lease,
        ttl=manager.settings.waiting_ttl,
    )


async def _read_queue(desk: Desk, team: str | None) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await desk.waiting(team=team, limit=PAGE, cursor=cursor)
        found += [entry.session_id for entry in page]
        cursor = page.cursor
        if cursor is None:
            return found
