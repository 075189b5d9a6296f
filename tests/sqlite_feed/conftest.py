"""What the tests of the feed in the embedded store share."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager
from testkit.embedded import Open


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, path: Path) -> str:
    return f"sqlite:///{path if request.param == 'file' else ':memory:'}"


@pytest.fixture
async def connect(path: Path) -> AsyncIterator[Open]:
    """Managers on one file, or on ``url``; each is closed at the end."""
    opened: list[SessionManager] = []

    def make(url: str = f"sqlite:///{path}", **settings: Any) -> SessionManager:
        opened.append(SessionManager.from_url(url, **settings))
        return opened[-1]

    yield make
    for manager in opened:
        await manager.close()
