"""How long close takes, whatever the server does: 5 s at most."""

import asyncio
import signal
import time
from typing import Any

import pytest

from chat_session import ManagerClosed, SessionCleanup, SessionManager, StoreUnavailable

WITHIN = 5.0 + 1.5  # what is promised, and a loaded machine


@pytest.mark.parametrize("name", ["redis", "cluster"])
async def test_close_takes_no_longer_than_promised_with_servers_that_do_not_answer(start: Any, name: str) -> None:
    place = start(name)
    place.clear()
    manager: SessionManager = place.open(store_timeout=30.0)
    await asyncio.gather(*(manager.create_session("u", session_id=f"s{i}", ttl=600) for i in range(20)))
    cleanup = SessionCleanup(manager, 0.01)
    cleanup.start()
    processes = [server.process for server in servers_of(place)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        calls = [asyncio.create_task(manager.add_message(f"s{i}", {"from": "user", "text": "x"})) for i in range(20)]
        await asyncio.sleep(0.1)  # the cleanup is in the middle of a run, too
        started = time.monotonic()
        await manager.close()
        assert time.monotonic() - started < WITHIN
        for call in await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 1):
            assert isinstance(call, StoreUnavailable)
            assert "closed" in str(call)
        with pytest.raises(ManagerClosed):
            await manager.get_session("s1")
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


async def test_close_does_not_wait_for_a_server_that_does_not_accept(start: Any) -> None:
    place = start("redis")
    process = place.server.process
    process.send_signal(signal.SIGSTOP)
    try:
        manager = SessionManager.from_url(place.server.url, store_timeout=30.0)
        call = asyncio.create_task(manager.get_session("s"))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await manager.close()
        assert time.monotonic() - started < WITHIN
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(call, 15)  # it was connecting: that may take as long as a round trip
    finally:
        process.send_signal(signal.SIGCONT)


async def test_close_lets_calls_in_flight_finish_and_takes_no_time_of_its_own(start: Any) -> None:
    place = start("redis")
    place.clear()
    manager: SessionManager = place.open()
    await manager.create_session("u", session_id="s", ttl=600)
    calls = [asyncio.create_task(manager.add_message("s", {"from": "user", "text": "x"})) for _ in range(200)]
    await asyncio.sleep(0)
    started = time.monotonic()
    await manager.close()
    assert time.monotonic() - started < 2
    assert [(await call).seq for call in calls] == list(range(1, 201))


def servers_of(place: Any) -> list[Any]:
    return list(place.server.primaries()) if hasattr(place.server, "primaries") else [place.server]
