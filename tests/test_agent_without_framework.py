"""The example of an agent without a framework: its requests satisfy the rules of both providers."""

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager

EXAMPLE = Path(__file__).parent.parent / "examples" / "agent_without_framework.py"


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("agent_without_framework", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


example = _load()


def openai_reply(text: str | None, *calls: tuple[str, str]) -> dict[str, Any]:
    made = [{"id": id_, "type": "function", "function": {"name": name, "arguments": "{}"}} for id_, name in calls]
    return {"role": "assistant", "content": text, **({"tool_calls": made} if made else {})}


def anthropic_reply(text: str | None, *calls: tuple[str, str]) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    blocks += [{"type": "tool_use", "id": id_, "name": name, "input": {}} for id_, name in calls]
    return {"role": "assistant", "content": blocks}


def check_openai(items: Sequence[dict[str, Any]]) -> None:
    """Results come directly behind the reply that calls, each call has one, and none is without a call."""
    waiting: set[str] = set()
    for item in items:
        if item["role"] == "tool":
            assert item["tool_call_id"] in waiting
            waiting.discard(item["tool_call_id"])
        else:
            assert not waiting
            waiting = {call["id"] for call in item.get("tool_calls", [])}
    assert not waiting


def check_anthropic(items: Sequence[dict[str, Any]]) -> None:
    """The message behind a reply that calls has the results of all its calls, and no others."""
    waiting: set[str] = set()
    for item in items:
        blocks = item["content"] if isinstance(item["content"], list) else []
        assert {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"} == waiting
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
    assert not waiting


PROVIDERS = [
    pytest.param(example.OpenAiApi(), openai_reply, check_openai, id="openai"),
    pytest.param(example.AnthropicApi(), anthropic_reply, check_anthropic, id="anthropic"),
]


def check_requests(client: Any, check: Any) -> None:
    for items in client.asked:
        check(items)


@pytest.fixture
async def manager(tmp_path: Path) -> Any:
    async with SessionManager.from_url(f"sqlite:///{tmp_path}/chat.db", max_message_history=6) as manager:
        yield manager


@pytest.mark.parametrize(("api", "write_reply", "check"), PROVIDERS)
async def test_an_image_and_two_tools_of_one_reply_come_back_as_the_provider_wrote_them(
    manager: SessionManager, api: Any, write_reply: Any, check: Any
) -> None:
    async def get_price() -> str:
        return "5"

    async def get_stock() -> str:
        return "none"

    called = write_reply(None, ("c1", "get_price"), ("c2", "get_stock"))
    client = example.ScriptedClient(called, write_reply("5 euros, none in stock"), write_reply("Bye"))
    session = await manager.create_session("ann")
    tools = {"get_price": get_price, "get_stock": get_stock}
    agent = example.Agent(manager, session.session_id, api, client, tools)
    assert await agent.ask("How much is this?", png=b"\x89PNG\x00\xff") == "5 euros, none in stock"
    question = client.asked[0][0]
    assert question == api.write_question("How much is this?", b"\x89PNG\x00\xff")
    assert client.asked[1][:2] == [question, called]
    check_requests(client, check)
    for n in range(4):  # the bound cuts the calls off
        client.replies.insert(0, write_reply(f"{n}"))
        await agent.ask("More?")
    check_requests(client, check)
    assert [message.text for message in await manager.get_history(session.session_id)] == [
        *("More?", "1", "More?", "2", "More?", "3")
    ]


@pytest.mark.parametrize(("api", "write_reply", "check"), PROVIDERS)
async def test_after_a_takeover_the_reply_is_dropped_the_result_is_kept_and_the_next_turn_has_read_all(
    manager: SessionManager, api: Any, write_reply: Any, check: Any
) -> None:
    warehouse = example.Warehouse()

    async def cancel() -> str:
        return str(await warehouse.cancel_order(1))

    client = example.ScriptedClient(write_reply("One moment.", ("c1", "cancel")), write_reply("Done."))
    session = await manager.create_session("ann")
    agent = example.Agent(manager, session.session_id, api, client, {"cancel": cancel})
    late = asyncio.create_task(agent.ask("Cancel it"))
    await warehouse.begun.wait()
    switched = await manager.switch_agent(session.session_id, "human")
    await manager.add_message(session.session_id, {"from": "operator", "text": "Mei here"}, epoch=switched.epoch)
    warehouse.released.set()
    assert (await late).startswith("(a person took over")
    assert await agent.ask("Hello?") == "(a person answers here)"
    await manager.switch_agent(session.session_id, "ai")
    assert await agent.ask("And now?") == "Done."
    check_requests(client, check)
    assert "order 1 is cancelled" in str(client.asked[-1])
    assert "[operator] Mei here" in str(client.asked[-1])
    visible = [message.text for message in await manager.get_history(session.session_id)]
    assert visible == ["One moment.", "Mei here", "Hello?", "And now?", "Done."]  # the bound cut the first one off


def test_the_example_runs_offline() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CHAT_SESSION_URL"}
    environment["PYTHONWARNINGS"] = "error"
    ran = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=False, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("AI: (a person took over: the reply is dropped, and what tools did is kept)\n")
    assert ran.stdout.endswith("  8 helper: Your order is cancelled, as Mei said.\n")


def test_the_page_shows_the_example_as_it_is() -> None:
    page = EXAMPLE.parent.parent / "docs" / "howto-agents-without-framework.md"
    assert f"```python\n{EXAMPLE.read_text('utf-8').rstrip()}\n```" in page.read_text("utf-8")
