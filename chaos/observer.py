"""Takes the snapshot of a store at rest that the checker compares with the history."""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from chaos.desk_lists import read_lists, was_used
from chaos.history import Recorder
from chaos.snapshot import Snapshot, VisibleMessage, VisibleSession
from chaos.snapshot_redis import read_keys
from chaos.snapshot_sqlite import read_rows
from chat_session import Inspector, Message, SessionManager, StoreCorrupt
from chat_session.markers import HANDOFF
from chat_session.paging import MAX_LIMIT
from chat_session.storage.redis.keys import Keys
from testkit.backends import Backend, ClusterBackend, RedisBackend, SqliteBackend

BATCH = 500
LIMIT = 10_000  # the most messages that one call returns


async def take_snapshot(backend: Backend, manager: SessionManager, recorder: Recorder, prefix: str = "") -> Snapshot:
    """What is stored, and what callers see of it through ``manager``. Nothing else may use the store meanwhile.

    On a cluster two assignments that overtake each other may leave an entry in the list of a user who has not got the
    session. The next list of that user removes it, so their lists are read first.
    """
    clustered = isinstance(backend, ClusterBackend)
    owners = {op.user for op in recorder.history if op.kind == "assign" and clustered}
    await _in_batches([_list_user(manager, user) for user in sorted(owners)])
    snapshot = await asyncio.to_thread(read_stored, backend, prefix)
    snapshot.zero = (time.time() - recorder.moment()) * 1000
    await _read_through(manager, {op.user for op in recorder.history if op.user}, snapshot)
    if was_used(recorder.history):
        snapshot.desk = await read_lists(manager)
    return snapshot


def read_stored(backend: Backend, prefix: str = "") -> Snapshot:
    """What is stored, without asking the package."""
    if isinstance(backend, RedisBackend):
        with backend.clients() as clients:
            return read_keys(clients, Keys(prefix, backend.layout))
    if isinstance(backend, SqliteBackend) and backend.path is not None:
        return read_rows(backend.path)
    raise TypeError(f"nothing outside the process can read {backend.url}")


async def _read_through(manager: SessionManager, users: Iterable[str], snapshot: Snapshot) -> None:
    """Add what a caller sees of all stored sessions and of these users."""

    async def read(session_id: str) -> None:
        session = await manager.get_session(session_id)
        if session is None:
            return
        history = await manager.get_history(session_id, LIMIT, include_internal=True)
        snapshot.visible[session_id] = VisibleSession(
            session.user_id,
            session.message_count,
            session.agent_epoch,
            session.current_agent,
            [read_message(message) for message in history],
            session.metadata,
            session.revision,
            session.ttl,
            session.desk,
            session.turns,
        )

    async def list_user(user: str) -> None:
        snapshot.listed[user] = await _list_user(manager, user)

    await _in_batches([read(session_id) for session_id in snapshot.stored])
    known = {stored.user for stored in snapshot.stored.values() if stored.user is not None}
    await _in_batches([list_user(user) for user in known | set(users)])
    async for found in Inspector(manager).scan_sessions():
        if isinstance(found, StoreCorrupt):
            raise found
        snapshot.scanned.add(found.session_id)
    snapshot.counted = await manager.get_active_sessions_count()
    if any(visible.in_turns for visible in snapshot.visible.values()):
        snapshot.pending = await manager.pending_turns(MAX_LIMIT)


def read_message(message: Message) -> VisibleMessage:
    """A message as the rules see it."""
    at = 0.0 if message.timestamp is None else message.timestamp.timestamp() * 1000
    marker = message.extra.get(HANDOFF, {}) if message.type == HANDOFF else {}
    return VisibleMessage(
        message.seq or 0,
        message.id or "",
        message.text,
        message.type or "",
        message.internal,
        at,
        marker,
        message.sender,
        message.extra.get("turn", ""),
        message.extra.get("replyTo", []),
    )


async def _list_user(manager: SessionManager, user: str) -> set[str]:
    return {session.session_id for session in await manager.get_user_sessions(user)}


async def _in_batches(calls: Sequence[Coroutine[Any, Any, Any]]) -> None:
    for start in range(0, len(calls), BATCH):
        await asyncio.gather(*calls[start : start + BATCH])
