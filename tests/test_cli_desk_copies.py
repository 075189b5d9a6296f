"""Sessions of the desk that are exported, imported or migrated: each is where it was, and none is forgotten."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from chat_session import Desk, DeskStatus, Inspector, Session, SessionManager
from chat_session.cli import main
from testkit.backends import Backend, ServerBackend, SqliteBackend

IDS = ("open", "waiting", "patient", "assigned", "given back", "switched", "switched back")
Copy = Callable[[Backend, Backend], None]


async def fill(manager: SessionManager) -> None:
    """A session in each state that the desk knows; "patient" waits while the AI goes on."""
    desk = Desk(manager)
    for name in IDS:
        await manager.create_session("u", session_id=name.replace(" ", "-"), ttl=500)
    await desk.request_human("waiting", reason="refund", priority=3, team="billing")
    await desk.request_human("patient", hold_ai=False)
    await desk.take_over("assigned", "ann")
    await desk.take_over("given-back", "ann")
    await desk.hand_back("given-back", "ann")
    await manager.switch_agent("switched", "human")
    await manager.switch_agent("switched-back", "human")
    await manager.switch_agent("switched-back", "ai")


async def read(backend: Backend) -> tuple[dict[str, Session], list[str], dict[str, int]]:
    """The sessions by their ids, the queue, and how long each session still lives at most."""
    async with backend.open() as manager:
        sessions = {
            each.session_id: each async for each in Inspector(manager).scan_sessions() if isinstance(each, Session)
        }
        queue = [entry.session_id for entry in await Desk(manager).waiting()]
        return sessions, queue, {each: await manager.get_session_ttl(each) for each in sessions}


@pytest.fixture
def file(tmp_path: Path) -> Backend:
    return SqliteBackend(tmp_path / "chat.db")


@pytest.fixture
def other_file(tmp_path: Path) -> Backend:
    return SqliteBackend(tmp_path / "other.db")


@pytest.fixture(params=["export and import", "migrate"])
def copy(request: pytest.FixtureRequest, tmp_path: Path) -> Copy:
    def run(source: Backend, target: Backend) -> None:
        if request.param == "migrate":
            assert main(["migrate", "--from", source.url, "--to", target.url]) == 0
            return
        lines = str(tmp_path / "lines.jsonl")
        assert main(["export", lines, "--url", source.url]) == 0
        assert main(["import", lines, "--url", target.url]) == 0

    return run


def test_sessions_of_the_desk_are_copied_from_a_file_to_a_server_and_back(
    file: Backend, redis_backend: ServerBackend, other_file: Backend, copy: Copy
) -> None:
    async def fill_file() -> None:
        async with file.open() as manager:
            await fill(manager)

    asyncio.run(fill_file())
    copy(file, redis_backend)
    copy(redis_backend, other_file)
    sessions, queue, left = asyncio.run(read(file))
    assert {name: session.desk.state for name, session in sessions.items()} == {
        **dict.fromkeys(("open", "given-back", "switched-back"), "open"),
        **dict.fromkeys(("waiting", "patient"), "waiting"),
        **dict.fromkeys(("assigned", "switched"), "assigned"),
    }
    assert queue == ["waiting", "patient"]
    assert asyncio.run(read(redis_backend))[:2] == (sessions, queue)
    copied, copied_queue, copied_left = asyncio.run(read(other_file))
    assert (copied, copied_queue) == (sessions, queue)
    for name in sessions:
        assert abs(copied_left[name] - left[name]) < 60, name
    asyncio.run(delete_all(redis_backend))


async def delete_all(backend: Backend) -> None:
    async with backend.open() as manager:
        await manager.erase_user("u")


def test_a_copied_session_whose_operator_is_not_there_goes_back_to_the_queue(
    file: Backend, other_file: Backend, copy: Copy
) -> None:
    async def fill_file() -> None:
        async with file.open() as manager:
            await fill(manager)

    asyncio.run(fill_file())
    copy(file, other_file)

    async def sweep() -> DeskStatus:
        async with other_file.open() as manager:
            await manager.cleanup_expired_sessions()
            return (await manager.get_or_create_session("assigned", "u"))[0].desk

    assert asyncio.run(sweep()).state == "waiting"
