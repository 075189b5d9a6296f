"""A write of an adapter whose reply is lost on the way from the server happens once."""

import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chat_session import SessionManager
from testkit.adapters import FRAMEWORKS, SESSION_ID, Clerk
from testkit.backends import ServerBackend, store_of
from testkit.fault_proxy import FaultProxy

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks

NAMES = {  # of the writes, so that the tests can be listed without the frameworks
    "openai_agents": ("append", "pop", "clear", "replace"),
    "pydantic_ai": ("append", "begin", "delete"),
    "adk": ("append", "begin", "delete"),
    "agent_framework": ("append", "begin", "delete"),
    "llama_index": ("append", "begin", "pop", "delete one", "clear", "replace", "archive"),
}
FAULTS = [("swallow", 0), ("reset", 0), ("cut", 1), ("reset", 2)]  # what happens to the reply, after so many others

Lose = Callable[[str, int], None]


@pytest.fixture
async def proxied(redis_backend: ServerBackend) -> AsyncIterator[tuple[SessionManager, Lose, FaultProxy]]:
    """A manager behind a proxy, and a function that loses a reply."""
    async with FaultProxy(redis_backend.server.port) as proxy:
        settings: Any = {"redis_retry_delay": 20, "store_timeout": 1.5, "redis_max_retries": 20}
        async with SessionManager.from_url(f"redis://127.0.0.1:{proxy.port}", **settings) as manager:

            def lose(fault: str, replies_before: int) -> None:
                faults = itertools.chain(["pass"] * replies_before, [fault], itertools.repeat("pass"))
                proxy.fault = lambda: next(faults)

            await manager.get_session(SESSION_ID)
            await store_of(manager)._executor._checking  # its replies are none of the test's
            yield manager, lose, proxy


async def ordered() -> str:
    return "ordered"


async def look(manager: SessionManager) -> list[Any]:
    """What a write leaves: how many messages were ever stored, how many changes there were, and the messages."""
    found: list[Any] = []
    for session_id in (SESSION_ID, "new", "shop:ann:new"):
        session = await manager.get_session(session_id)
        messages = await manager.get_history(session_id, 100, include_internal=True)
        counts = None if session is None else (session.message_count, session.revision)
        found.append((counts, [(message.sender, message.text, message.seq) for message in messages]))
    return found


@pytest.mark.parametrize(("fault", "replies_before"), FAULTS)
@pytest.mark.parametrize(
    ("framework", "write"), [(framework, write) for framework in FRAMEWORKS for write in NAMES[framework]]
)
async def test_a_write_whose_reply_is_lost_happens_once(
    proxied: tuple[SessionManager, Lose, FaultProxy],
    clerk_of: Callable[..., Clerk],
    framework: str,
    write: str,
    fault: str,
    replies_before: int,
) -> None:
    manager, lose, proxy = proxied
    async with SessionManager.from_url("sqlite:///:memory:") as undisturbed:
        for each in (undisturbed, manager):
            clerk = clerk_of(framework, each)
            await clerk.run("A tea", ordered, "Done")
            if each is manager:
                lose(fault, replies_before)
            await clerk.changes()[write]()
        assert await look(manager) == await look(undisturbed)
    if replies_before == 0:
        assert proxy.injected[fault] == 1


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_every_write_of_a_clerk_is_tested(clerk_of: Callable[..., Clerk], framework: str) -> None:
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        assert tuple(clerk_of(framework, manager).changes()) == NAMES[framework]
