"""How long close takes. See test_frozen_server.py for servers that are frozen during calls."""

import asyncio
import time

import pytest

from chat_session import SessionManager, StoreUnavailable
from testkit.backends import ServerBackend

WITHIN = 5.0 + 1.5  # what is promised, and a loaded machine


async def test_close_does_not_wait_for_a_server_that_does_not_accept(redis_backend: ServerBackend) -> None:
    with redis_backend.server.frozen():
        manager = SessionManager.from_url(redis_backend.server.url, store_timeout=30.0)
        call = asyncio.create_task(manager.get_session("s"))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await manager.close()
        assert time.monotonic() - started < WITHIN
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(call, 15)  # it was connecting: that may take as long as a round trip


async def test_close_lets_calls_in_flight_finish_and_takes_no_time_of_its_own(redis_backend: ServerBackend) -> None:
    manager = redis_backend.open()
    await manager.create_session("u", session_id="s", ttl=600)
    calls = [asyncio.create_task(manager.add_message("s", {"from": "user", "text": "x"})) for _ in range(200)]
    await asyncio.sleep(0)
    started = time.monotonic()
    await manager.close()
    assert time.monotonic() - started < 2
    assert [(await call).seq for call in calls] == list(range(1, 201))
