"""A frozen server delays no caller for longer than promised."""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionCleanup, SessionManager, StoreUnavailable
from testkit.backends import ClusterBackend, RedisBackend, start_backend
from testkit.descriptors import open_sockets
from testkit.servers import Server

TEXT = {"from": "user", "text": "x"}


@pytest.fixture(params=["redis", "tls", "cluster"])
def freezable(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[RedisBackend[Any]]:
    """Servers that no other test uses."""
    folder = Path(tempfile.mkdtemp(dir=server_folder))
    with start_backend(request.param, folder / "f") as backend:
        try:
            yield backend
        finally:
            for server in all_servers(backend):
                server.thaw()
            gc.collect()


def all_servers(backend: RedisBackend[Any]) -> Sequence[Server]:
    """The servers of a backend, with replicas."""
    return backend.server.servers if isinstance(backend, ClusterBackend) else backend.server.primaries()


def freeze_all(backend: RedisBackend[Any]) -> None:
    for server in all_servers(backend):
        server.freeze()


@pytest.mark.parametrize("calls", [0, 1, 200])
async def test_close_takes_five_seconds_at_most(freezable: RedisBackend[Any], calls: int) -> None:
    before = open_sockets()
    async with freezable.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
    manager = freezable.open(store_timeout=30.0)
    await manager.get_session("s")
    cleanup = SessionCleanup(manager, interval=60)
    cleanup.start()
    freeze_all(freezable)
    pending = [asyncio.create_task(manager.add_message("s", TEXT)) for _ in range(calls)]
    await asyncio.sleep(0)  # they are under way
    started = time.monotonic()
    await manager.close()
    assert time.monotonic() - started < 5.0
    outcomes = await asyncio.gather(*pending, return_exceptions=True)
    assert time.monotonic() - started < 5.5  # no call goes on waiting after the manager is closed
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    await asyncio.sleep(0)  # a socket is closed in the next iteration of the loop
    assert open_sockets() <= before


async def test_no_call_waits_longer_than_its_promise(freezable: RedisBackend[Any]) -> None:
    async with freezable.open(store_timeout=1.0) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        freeze_all(freezable)

        async def wait(call: Any) -> float:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await call
            return time.monotonic() - started

        calls: list[Callable[[SessionManager], Any]] = [
            lambda m: m.add_message("s", TEXT),
            lambda m: m.get_session("s"),
            lambda m: m.get_history("s", after=0),
        ]
        calls += [lambda m: m.switch_agent("s", "human"), lambda m: m.get_session_ttl("s")]
        took = await asyncio.gather(*(wait(call(manager)) for call in calls * 200))
        assert max(took) < 2.0
