"""The steps of the desk on Redis behind a proxy, and what is so after each of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from chat_session import Desk, SessionManager
from testkit.backends import ServerBackend, store_of
from testkit.fault_proxy import FaultProxy
from testkit.present import present

ANSWER = {"id": "m", "text": "hello"}

Take = Callable[[Desk], Awaitable[Any]]


class Lossy(NamedTuple):
    """A manager and its desk behind a proxy, and another manager that goes directly to the server."""

    manager: SessionManager
    desk: Desk
    direct: SessionManager
    proxy: FaultProxy
    backend: ServerBackend


@asynccontextmanager
async def open_lossy(backend: ServerBackend) -> AsyncIterator[Lossy]:
    """With an open session "open", a waiting one "waiting", and one "held" that anna has."""
    async with FaultProxy(backend.server.port) as proxy, backend.open() as direct:
        url = f"redis://127.0.0.1:{proxy.port}"
        settings: Any = {"redis_retry_delay": 20, "store_timeout": 1.5, "redis_max_retries": 20}
        async with SessionManager.from_url(url, **settings) as manager:
            desk = Desk(manager)
            await warm_up(manager, desk)
            for session_id in ("open", "waiting", "held"):
                await manager.create_session("u", session_id=session_id, ttl=600)
            await desk.request_human("waiting", team="billing")
            await desk.take_over("held", "anna")
            await store_of(manager)._executor._checking  # its replies are none of the test's
            yield Lossy(manager, desk, direct, proxy, backend)


async def warm_up(manager: SessionManager, desk: Desk) -> None:
    """Take each step once, so that the server has the scripts, and each step takes as many replies as ever."""
    await manager.create_session("u", session_id="warm", ttl=600)
    await desk.request_human("warm")
    await desk.claim_next("warm")
    await desk.answer("warm", "warm", "x")
    await desk.note("warm", "warm", "x")
    await desk.hand_back("warm", "warm")
    await manager.delete_session("warm")


class Expected(NamedTuple):
    """What is so after the step, but for what it answers."""

    take: Take
    session_id: str
    state: str
    operator: str | None
    events: list[str]  # of all markers
    texts: list[str] = []  # noqa: RUF012 - what the customer reads; nothing changes it


STEPS: dict[str, Expected] = {
    "request": Expected(
        lambda desk: desk.request_human("open", say="soon"), "open", "waiting", None, ["requested"], ["soon"]
    ),
    "raise": Expected(
        lambda desk: desk.request_human("waiting", priority=5), "waiting", "waiting", None, ["requested", "raised"]
    ),
    "claim": Expected(lambda desk: desk.claim_next("ben"), "waiting", "assigned", "ben", ["requested", "claimed"]),
    "take over": Expected(lambda desk: desk.take_over("open", "ben"), "open", "assigned", "ben", ["taken_over"]),
    "barge in": Expected(
        lambda desk: desk.take_over("held", "ben"), "held", "assigned", "ben", ["taken_over", "taken_over"]
    ),
    "take over politely": Expected(
        lambda desk: desk.take_over("waiting", "ben", expect="waiting"),
        *("waiting", "assigned", "ben"),
        ["requested", "taken_over"],
    ),
    "take over at an epoch": Expected(
        lambda desk: desk.take_over("held", "ben", expect=1), "held", "assigned", "ben", ["taken_over", "taken_over"]
    ),
    "answer": Expected(
        lambda desk: desk.answer("held", "anna", ANSWER), "held", "assigned", "anna", ["taken_over"], ["hello"]
    ),
    "answer and take over": Expected(
        lambda desk: desk.answer("waiting", "ben", ANSWER),
        *("waiting", "assigned", "ben"),
        ["requested", "answered"],
        ["hello"],
    ),
    "answer politely": Expected(
        lambda desk: desk.answer("held", "anna", ANSWER, polite=True),
        *("held", "assigned", "anna"),
        ["taken_over"],
        ["hello"],
    ),
    "note": Expected(lambda desk: desk.note("held", "ben", "x"), "held", "assigned", "anna", ["taken_over"]),
    "transfer": Expected(
        lambda desk: desk.transfer("held", "anna", to="ben"), "held", "assigned", "ben", ["taken_over", "transferred"]
    ),
    "transfer to a team": Expected(
        lambda desk: desk.transfer("held", "anna", team="sales"),
        *("held", "waiting", None),
        ["taken_over", "transferred"],
    ),
    "decline": Expected(lambda desk: desk.decline("held", "anna"), "held", "waiting", None, ["taken_over", "declined"]),
    "hand back": Expected(
        lambda desk: desk.hand_back("held", "anna", say="bye"),
        *("held", "open", None),
        ["taken_over", "handed_back"],
        ["bye"],
    ),
}


async def read_events(manager: SessionManager, session_id: str) -> list[str]:
    history = await manager.get_history(session_id, 100, include_internal=True)
    return [message.extra["handoff"]["event"] for message in history if message.type == "handoff"]


async def place(manager: SessionManager, session_id: str) -> tuple[str, str | None]:
    desk = present(await manager.get_session(session_id)).desk
    return desk.state, desk.operator_id
