"""Places to test in, and the rule that no test leaves a session's key without a deadline."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from chat_session import SessionManager
from chat_session.settings import Settings
from places import RedisPlace, SqlitePlace, chosen_places, start_server

pytest.register_assert_rewrite("chat_session.testing")


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What stands in the developer's environment or .env decides nothing here."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short path: a unix socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="cs-", dir=os.environ.get("TMPDIR", "/tmp")) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def redis_server(server_folder: Path):
    yield from start_server("redis", server_folder / "redis")


@pytest.fixture(scope="session")
def redis62_server(server_folder: Path):
    yield from start_server("redis62", server_folder / "redis62")


@pytest.fixture
def redis_place(redis_server) -> Iterator[RedisPlace]:
    yield from _watched(RedisPlace(redis_server))


@pytest.fixture(params=chosen_places())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisPlace | SqlitePlace]:
    """Every store and topology in turn."""
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path / "chat.db")
    elif request.param == "memory":
        yield SqlitePlace(None)
    else:
        yield from _watched(RedisPlace(request.getfixturevalue(f"{request.param}_server")))


@pytest.fixture
async def open_manager(place) -> AsyncIterator[Callable[..., SessionManager]]:
    """Make managers on the place; each is closed at the end."""
    opened: list[SessionManager] = []

    def make(**settings: object) -> SessionManager:
        opened.append(place.open(**{"redis_retry_delay": 20, **settings}))
        return opened[-1]

    yield make
    for manager in opened:
        await manager.close()


@pytest.fixture
def manager(open_manager) -> SessionManager:
    return open_manager()


def _watched(place: RedisPlace) -> Iterator[RedisPlace]:
    place.clear()
    yield place
    endless = place.keys_without_deadline()
    place.clear()
    assert not endless, f"the test left keys without a deadline: {endless}"
