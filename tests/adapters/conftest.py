"""The stores on which the adapters are tested. Each test file is skipped where its framework is not installed."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager
from testkit.adapters import FRAMEWORKS, Clerk, open_clerk

STORES = ("sqlite", "redis")


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'chat.db'}"
    return str(request.getfixturevalue("redis_backend").url)


@pytest.fixture
async def manager(url: str) -> AsyncIterator[SessionManager]:
    async with SessionManager.from_url(url, redis_retry_delay=20) as opened:
        yield opened


@pytest.fixture
def clerk_of() -> Callable[..., Clerk]:
    """Opens the clerk of a framework; where the framework is not installed the test is skipped."""

    def open_one(framework: str, manager: SessionManager, **options: Any) -> Clerk:
        pytest.importorskip(FRAMEWORKS[framework])
        return open_clerk(framework, manager, **options)

    return open_one
