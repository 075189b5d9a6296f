"""A takeover in the middle of a run refuses what the run still writes, in every framework."""

from collections.abc import Callable
from typing import Any

import pytest

from chat_session import AgentConflict, SessionManager
from testkit.adapters import FRAMEWORKS, SESSION_ID, Clerk

pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks

CLERKS: dict[str, tuple[str, dict[str, Any]]] = {
    **{framework: (framework, {}) for framework in FRAMEWORKS},
    "agent_framework, call by call": ("agent_framework", {"call_by_call": True}),
}
# LlamaIndex has no place for the epoch of a run, and its agents read again after each tool. So there a read after the
# hand-back counts as the beginning of another run.
KEEPS_EPOCH = [name for name in CLERKS if name != "llama_index"]


@pytest.fixture
def clerk(name: str, manager: SessionManager, clerk_of: Callable[..., Clerk]) -> Clerk:
    framework, options = CLERKS[name]
    return clerk_of(framework, manager, **options)


async def ordered() -> str:
    return "ordered"


async def stored(manager: SessionManager) -> list[str | None]:
    return [message.id for message in await manager.get_history(SESSION_ID, 1000, include_internal=True)]


async def refuse_run(clerk: Clerk, manager: SessionManager, *, reads: bool, hands_back: bool) -> AgentConflict:
    """A run whose tool is overtaken. Nothing is stored after it."""
    await clerk.run("Hello", ordered, "Hi")
    before: list[str | None] = []

    async def order() -> str:
        await manager.switch_agent(SESSION_ID, "human", note="Anna took over")
        if reads:
            await clerk.read()
        if hands_back:
            await manager.switch_agent(SESSION_ID, "ai", note="Anna left")
        if reads:
            await clerk.read()
        before.extend(await stored(manager))
        return "ordered late"

    with pytest.raises(AgentConflict) as refused:
        await clerk.run("A tea", order, "Late reply")
    assert await stored(manager) == before
    return refused.value


@pytest.mark.parametrize("reads", [False, True], ids=["", "and a read"])
@pytest.mark.parametrize("name", CLERKS)
async def test_a_takeover_in_a_run_stores_nothing_more_of_it_and_its_tools_are_kept_on_request(
    manager: SessionManager, clerk: Clerk, *, reads: bool
) -> None:
    conflict = await refuse_run(clerk, manager, reads=reads, hands_back=False)
    assert conflict.messages
    await keep_and_check(clerk, manager, conflict)


@pytest.mark.parametrize("reads", [False, True], ids=["", "and reads"])
@pytest.mark.parametrize("name", KEEPS_EPOCH)
async def test_a_takeover_and_a_hand_back_in_a_run_refuse_it_too(
    manager: SessionManager, clerk: Clerk, *, reads: bool
) -> None:
    conflict = await refuse_run(clerk, manager, reads=reads, hands_back=True)
    await keep_and_check(clerk, manager, conflict)


async def keep_and_check(clerk: Clerk, manager: SessionManager, conflict: AgentConflict) -> None:
    """The customer's words and, as internal, the tool's result are kept; the reply is not."""
    await manager.add_unanswered(conflict)
    visible = [message.text for message in await manager.get_history(SESSION_ID, 100)]
    assert visible.count("A tea") == 1
    texts = [clerk.text_of(item) for item in await clerk.read()]
    assert [texts.count(text) for text in ("A tea", "ordered late", "Late reply")] == [1, 1, 0]
    for message in await manager.get_history(SESSION_ID, 100, include_internal=True):
        assert message.internal or not (message.calls or message.answers)
        assert message.text != "Late reply"


@pytest.mark.parametrize("name", CLERKS)
async def test_after_the_hand_back_the_next_run_is_stored(manager: SessionManager, clerk: Clerk) -> None:
    await refuse_run(clerk, manager, reads=True, hands_back=False)
    await manager.switch_agent(SESSION_ID, "ai")
    await clerk.run("And now?", ordered, "Now I can")
    visible = [message.text for message in await manager.get_history(SESSION_ID, 100)]
    assert visible[-2:] == ["And now?", "Now I can"]
