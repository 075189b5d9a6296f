"""The backends to test on, and the rule that no test leaves a session's key without a deadline."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from chat_session import SessionManager
from chat_session.settings import Settings
from testkit.backends import (
    Backend,
    RedisBackend,
    ServerBackend,
    SqliteBackend,
    StartBackend,
    chosen_backends,
    is_left_out,
    start_backend,
    start_server,
)
from testkit.programs import MissingProgram
from testkit.servers import Server

pytest.register_assert_rewrite("chat_session.testing")
hypothesis.settings.register_profile("default", deadline=None)  # a busy machine takes its time
hypothesis.settings.load_profile("default")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    try:
        yield
    except MissingProgram as missing:
        _skip(missing)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    try:
        yield
    except MissingProgram as missing:
        _skip(missing)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Nine kinds of stores are more than ten minutes for: of five that are alike each test runs on one."""
    left_out = {item for item in items if isinstance(item, pytest.Function) and _is_left_out(item)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Function) -> bool:
    backend = item.callspec.params.get("backend") if hasattr(item, "callspec") else None
    return isinstance(backend, str) and is_left_out(item.originalname, backend)


def _skip(missing: MissingProgram) -> None:
    """A test whose program is not on this machine is skipped. In CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(str(missing))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The developer's environment and .env file have no influence on a test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder with a short path: the path of a Unix socket may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="cs-", dir=os.environ.get("TMPDIR", "/tmp")) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def start(server_folder: Path) -> Iterator[StartBackend]:
    """Start a backend when the first test of this worker process asks for it; all are stopped at the end."""
    started: dict[str, RedisBackend[Any]] = {}
    with ExitStack() as stack:

        def by_name(name: str) -> RedisBackend[Any]:
            if name not in started:
                started[name] = stack.enter_context(start_backend(name, server_folder / name))
            return started[name]

        yield by_name


@pytest.fixture
def start_empty(start: StartBackend) -> Iterator[StartBackend]:
    """As ``start``; and the backend is empty before and after the test."""
    used: list[RedisBackend[Any]] = []

    def by_name(name: str) -> RedisBackend[Any]:
        used.append(start(name))
        used[-1].clear()
        return used[-1]

    yield by_name
    for backend in used:
        backend.clear()


@pytest.fixture
def own_server(server_folder: Path) -> Iterator[Server]:
    """A server that no other test uses, to be killed, frozen and configured."""
    with start_server("redis", Path(tempfile.mkdtemp(dir=server_folder))) as server:
        yield server


@pytest.fixture
def redis_backend(start: StartBackend) -> Iterator[ServerBackend]:
    """One server, of the version that this machine has."""
    backend = start("redis")
    assert isinstance(backend, ServerBackend)
    with _checked(backend):
        yield backend


@pytest.fixture(params=chosen_backends())
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Every store and topology in turn."""
    if request.param in ("sqlite", "memory"):
        yield SqliteBackend(tmp_path / "chat.db" if request.param == "sqlite" else None)
        return
    started = request.getfixturevalue("start")(request.param)
    with _checked(started):
        yield started


@pytest.fixture
async def open_manager(backend: Backend) -> AsyncIterator[Callable[..., SessionManager]]:
    """Make managers on the backend; each is closed at the end."""
    opened: list[SessionManager] = []

    def make(**settings: object) -> SessionManager:
        opened.append(backend.open(**{"redis_retry_delay": 20, **settings}))
        return opened[-1]

    yield make
    for manager in opened:
        await manager.close()


@pytest.fixture
def manager(open_manager: Callable[..., SessionManager]) -> SessionManager:
    return open_manager()


@contextmanager
def _checked(backend: Backend) -> Iterator[None]:
    """Empty at the start and at the end; fails if the test left a session's key without a deadline."""
    backend.clear()
    yield
    endless = backend.keys_without_deadline()
    backend.clear()
    assert not endless, f"the test left keys without a deadline: {endless}"
