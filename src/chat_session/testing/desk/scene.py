"""What the tests of the desk share: sessions that wait, and what is read of them."""

from typing import Any, NamedTuple

import pytest

from chat_session.desk import Desk
from chat_session.manager import SessionManager
from chat_session.markers import HANDOFF
from chat_session.message import Message
from chat_session.session import Session
from chat_session.testing.sessions.edits import read
from chat_session.testing.waiting import until

SHORT_LEASE = 0.2  # seconds: for tests in which an operator goes away
USER: dict[str, Any] = {"from": "user", "text": "hello"}
LATE: dict[str, Any] = {"from": "assistant", "text": "computed before"}


class DeskFixture:
    """The desk on the manager of the test."""

    @pytest.fixture
    def desk(self, manager: SessionManager) -> Desk:
        return Desk(manager)


class Stored(NamedTuple):
    """All that a step may change of a session."""

    session: Session | None
    messages: list[Message]


async def stored(manager: SessionManager, session_id: str) -> Stored:
    messages = await manager.get_history(session_id, 1000, include_internal=True)
    return Stored(await manager.get_session(session_id), messages)


async def create(manager: SessionManager, *session_ids: str, **options: Any) -> None:
    for session_id in session_ids:
        await manager.create_session("u", session_id=session_id, **{"ttl": 600, **options})


async def let_wait(manager: SessionManager, *session_ids: str, **options: Any) -> None:
    """Create sessions, and ask for a person in each, one after the other."""
    await create(manager, *session_ids)
    for session_id in session_ids:
        await Desk(manager).request_human(session_id, **options)


async def claim(manager: SessionManager, operator_id: str) -> str | None:
    """The id of the session that the operator gets next."""
    session = await Desk(manager).claim_next(operator_id)
    return None if session is None else session.session_id


async def place(manager: SessionManager, session_id: str) -> tuple[str, str | None]:
    """The state of the session at the desk, and who has it."""
    desk = (await read(manager, session_id)).desk
    return desk.state, desk.operator_id


async def markers(manager: SessionManager, session_id: str) -> list[dict[str, Any]]:
    """The facts of the session's markers, oldest first."""
    history = await manager.get_history(session_id, 1000, include_internal=True)
    return [message.extra[HANDOFF] for message in history if message.type == HANDOFF]


async def events(manager: SessionManager, session_id: str) -> list[str]:
    return [marker["event"] for marker in await markers(manager, session_id)]


async def waiting_ids(manager: SessionManager, team: str | None = None) -> list[str]:
    return [entry.session_id for entry in await Desk(manager).waiting(team=team)]


async def until_waiting(manager: SessionManager, session_id: str) -> None:
    """Sweep until the session's operator has been found to be away."""

    async def is_waiting() -> bool:
        await manager.cleanup_expired_sessions()
        return (await place(manager, session_id))[0] == "waiting"

    await until(is_waiting)
