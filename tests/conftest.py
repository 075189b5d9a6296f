"""Places to test in, and the rule that no test leaves a session's key without a deadline."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hypothesis
import pytest

from chat_session import SessionManager
from chat_session.settings import Settings
from places import RedisPlace, SqlitePlace, chosen_places, start_place

pytest.register_assert_rewrite("chat_session.testing")
hypothesis.settings.register_profile("default", deadline=None)  # a busy machine takes its time
hypothesis.settings.load_profile("default")


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
def start(server_folder: Path) -> Iterator[Callable[[str], RedisPlace]]:
    """Start a topology when the first test of this worker asks for it; all are stopped at the end."""
    started: dict[str, RedisPlace] = {}
    with ExitStack() as stack:

        def by_name(name: str) -> RedisPlace:
            if name not in started:
                started[name] = stack.enter_context(contextmanager(start_place)(name, server_folder / name))
            return started[name]

        yield by_name


@pytest.fixture
def redis_place(start) -> Iterator[RedisPlace]:
    """One server, the newer one."""
    yield from _watched(start("redis"))


@pytest.fixture(params=chosen_places())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisPlace | SqlitePlace]:
    """Every store and topology in turn."""
    if request.param == "sqlite":
        yield SqlitePlace(tmp_path / "chat.db")
    elif request.param == "memory":
        yield SqlitePlace(None)
    else:
        yield from _watched(request.getfixturevalue("start")(request.param))


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
