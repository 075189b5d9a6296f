"""A server that is frozen holds nobody up for longer than promised."""

import asyncio
import gc
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionCleanup, StoreUnavailable
from places import start_place

TEXT = {"from": "user", "text": "x"}


@pytest.fixture(params=["redis", "tls", "cluster"])
def freezable(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[Any]:
    """Servers of this test's own."""
    folder = Path(tempfile.mkdtemp(dir=server_folder))
    with contextmanager(start_place)(request.param, folder / "f") as place:
        try:
            yield place
        finally:
            send_all(place, signal.SIGCONT)
            gc.collect()


def open_sockets() -> set[str]:
    """Of this process."""
    found = set()
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(FileNotFoundError):  # the folder's own
            found.add(str(Path("/proc/self/fd", entry).readlink()))
    return {name for name in found if name.startswith("socket:")}


def send_all(place: Any, number: signal.Signals) -> None:
    for server in getattr(place.server, "servers", [place.server]):
        server.process.send_signal(number)


@pytest.mark.parametrize("calls", [0, 1, 200])
async def test_close_takes_five_seconds_at_most(freezable: Any, calls: int) -> None:
    before = open_sockets()
    async with freezable.open() as manager:
        await manager.create_session("u", session_id="s", ttl=600)
    manager = freezable.open(store_timeout=30.0)
    await manager.get_session("s")
    cleanup = SessionCleanup(manager, interval=60)
    cleanup.start()
    send_all(freezable, signal.SIGSTOP)
    pending = [asyncio.create_task(manager.add_message("s", TEXT)) for _ in range(calls)]
    await asyncio.sleep(0)  # they are under way
    started = time.monotonic()
    await manager.close()
    assert time.monotonic() - started < 5.0
    outcomes = await asyncio.gather(*pending, return_exceptions=True)
    assert time.monotonic() - started < 5.5  # nobody goes on waiting for a manager that is closed
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    await asyncio.sleep(0)  # a socket is closed by the loop's next turn
    assert open_sockets() <= before


async def test_no_call_waits_longer_than_its_promise(freezable: Any) -> None:
    async with freezable.open(store_timeout=1.0) as manager:
        await manager.create_session("u", session_id="s", ttl=600)
        send_all(freezable, signal.SIGSTOP)

        async def wait(call: Any) -> float:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await call
            return time.monotonic() - started

        calls = [
            lambda m: m.add_message("s", TEXT),
            lambda m: m.get_session("s"),
            lambda m: m.get_history("s", after=0),
        ]
        calls += [lambda m: m.switch_agent("s", "human"), lambda m: m.get_session_ttl("s")]
        took = await asyncio.gather(*(wait(call(manager)) for call in calls * 200))
        assert max(took) < 2.0
