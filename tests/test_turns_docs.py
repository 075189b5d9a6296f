"""What docs/turns.md and docs/storage-layout.md say of turns is what happens."""

import asyncio
import re
import textwrap
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chat_session import AgentConflict, Desk, SessionManager, TurnLost
from testkit.backends import ServerBackend

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "turns.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in PAGE.split("| what happens | answered is |\n|---|---|\n")[1].split("\n\n")[0].splitlines()
]

Happens = Callable[[SessionManager], Awaitable[Any]]


async def reply(manager: SessionManager) -> None:
    """And fail then: only the reply counts."""
    async with manager.turn("s") as turn:
        await turn.reply("Here you are.")
        raise LookupError


async def reply_internally(manager: SessionManager) -> None:
    async with manager.turn("s") as turn:
        await turn.reply({"text": "thinking", "internal": True})
        await turn.record("looked it up")
        raise LookupError


async def leave(manager: SessionManager) -> None:
    async with manager.turn("s"):
        pass


async def fail(manager: SessionManager) -> None:
    async with manager.turn("s"):
        raise LookupError


async def be_stopped(manager: SessionManager) -> None:
    async with manager.turn("s"):
        await manager.stop_turn("s")


async def operator_writes(manager: SessionManager) -> None:
    await manager.add_message("s", {"from": "operator", "text": "Mei here."})


async def operator_notes(manager: SessionManager) -> None:
    await manager.add_message("s", {"from": "operator", "text": "a note", "internal": True})


async def assistant_writes(manager: SessionManager) -> None:
    await manager.add_message("s", {"from": "assistant", "text": "One moment, please."})


async def hand_back(manager: SessionManager) -> None:
    desk = Desk(manager)
    await desk.take_over("s", "mei")
    await desk.hand_back("s", "mei", say="You are back with our assistant.")


# In the order of the table: what happens, and whether the question is answered.
CASES: list[tuple[Happens, bool]] = [
    (reply, True),
    (reply_internally, False),
    (leave, True),
    (fail, False),
    (operator_writes, True),
    (operator_notes, False),
    (assistant_writes, False),
    (hand_back, False),
]


def test_the_table_says_of_each_case_whether_it_answers() -> None:
    assert [told != "nothing" and not told.startswith("nothing more") for _, told in ROWS] == [
        is_answered for _, is_answered in CASES
    ]


@pytest.mark.parametrize(("happens", "is_answered"), [*CASES, (be_stopped, False)])
async def test_what_counts_as_answered(manager: SessionManager, happens: Happens, is_answered: bool) -> None:
    await manager.create_session("ann", session_id="s", ttl=60, turns=True)
    await manager.add_message("s", {"from": "user", "text": "Where is my order?"})
    with suppress(LookupError, TurnLost):
        await happens(manager)
    assert await manager.pending_turns() == ([] if is_answered else ["s"])
    async with manager.turn("s") as turn:
        assert [message.text for message in turn.messages] == ([] if is_answered else ["Where is my order?"])


async def test_what_comes_after_the_round_was_read_belongs_to_the_next_one(manager: SessionManager) -> None:
    await manager.create_session("ann", session_id="s", ttl=60, turns=True)
    await manager.add_message("s", {"from": "user", "text": "one"})
    async with manager.turn("s") as turn:
        await manager.add_message("s", {"from": "user", "text": "two"})
        await turn.reply("to one")
    assert await manager.pending_turns() == ["s"]
    async with manager.turn("s") as turn:
        assert [message.text for message in turn.messages] == ["two"]


async def test_what_came_before_the_newest_answer_of_a_session_without_turns_is_answered(
    manager: SessionManager,
) -> None:
    await manager.create_session("ann", session_id="s", ttl=60)
    for sender, text in (("user", "one"), ("assistant", "to one"), ("user", "two"), ("user", "three")):
        await manager.add_message("s", {"from": sender, "text": text})
    async with manager.turn("s") as turn:
        assert [message.text for message in turn.messages] == ["two", "three"]


async def test_three_messages_in_a_row_are_one_round_with_a_debounce(manager: SessionManager) -> None:
    await manager.create_session("ann", session_id="s", ttl=60)
    await manager.add_message("s", {"from": "user", "text": "one"})

    async def write() -> None:
        for text in ("two", "three"):
            await asyncio.sleep(0)
            await manager.add_message("s", {"from": "user", "text": text})

    writing = asyncio.create_task(write())
    async with manager.turn("s", debounce=0.5) as turn:
        assert [message.text for message in turn.messages] == ["one", "two", "three"]
    await writing


# The other tables


def test_the_page_names_every_reason_of_a_loss() -> None:
    table = PAGE.split("| `TurnLost.reason` |")[1].split("\n\n")[0]
    [reasons] = re.findall(r"``reason``: (.*?)\.", TurnLost.__doc__ or "")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == re.findall(r'"(\w+)"', reasons)


def test_the_storage_page_has_the_schema_s_version_and_every_column_of_turns() -> None:
    layout = (DOCS / "storage-layout.md").read_text("utf-8")
    migrations = sorted((DOCS.parent / "src/chat_session/storage/sqlite/migrations").glob("*.sql"))
    assert f"It is now {len(migrations)}." in layout
    columns = re.findall(r"ADD COLUMN (\w+)", migrations[3].read_text("utf-8"))
    assert columns
    table = layout.split("| table | column |")[1].split("\n\n")[0]
    assert set(columns) <= set(re.findall(r"`(\w+)`", table))


async def test_the_storage_page_has_every_field_and_key_of_turns(redis_backend: ServerBackend) -> None:
    layout = (DOCS / "storage-layout.md").read_text("utf-8")
    async with redis_backend.open() as manager:
        await manager.create_session("ann", session_id="s", ttl=60, turns=True)
        await manager.add_message("s", {"from": "user", "text": "Where is my order?"})
        async with manager.turn("s") as turn:
            await turn.reply("Here it is.")
    with redis_backend.server.client() as client:
        fields = {name.decode() for name in client.hkeys("session:s:meta") if name.startswith(b"cs:")}
        [index] = [key.decode() for key in client.keys("sessions:turns:*")]
    assert {"cs:turn", "cs:turns", "cs:customer", "cs:answered"} <= fields
    for field in fields:
        assert f"| `{field}` |" in layout
    assert f"| `{index.rpartition(':')[0]}:<0…15>` |" in layout


async def test_a_bot_asks_for_a_person_in_its_turn_and_gets_the_open_question_back(manager: SessionManager) -> None:
    desk = Desk(manager)
    await manager.create_session("ann", session_id="s", ttl=60, turns=True)
    await manager.add_message("s", {"from": "user", "text": "A person, please!"})
    with pytest.raises(TurnLost) as lost:
        async with manager.turn("s"):
            await desk.request_human("s", say="One moment, please.")
    assert lost.value.reason == "taken_over"
    assert await manager.pending_turns() == []
    with pytest.raises(AgentConflict):
        await manager.turn("s").__aenter__()
    await desk.take_over("s", "mei")
    await desk.hand_back("s", "mei")
    assert await manager.pending_turns() == ["s"]
    await desk.answer("s", "mei", "Mei here.")
    await desk.hand_back("s", "mei")
    assert await manager.pending_turns() == []


async def test_the_page_s_tool_leaves_a_record_for_the_next_worker(manager: SessionManager) -> None:
    block = PAGE.split("## Tools")[1].split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(f"async def answer(manager, session_id, make_order):\n{textwrap.indent(block, '    ')}", names)
    await manager.create_session("ann", session_id="s", ttl=60)
    await manager.add_message("s", {"from": "user", "text": "Two cups, please."})

    async def make_order() -> int:
        await manager.stop_turn("s")  # the worker learns it with its reply
        return 7

    with pytest.raises(TurnLost):
        await names["answer"](manager, "s", make_order)
    async with manager.turn("s") as turn:
        assert [message.text for message in turn.messages] == ["Two cups, please."]
        window = await manager.get_window("s", messages=20)
    assert [message.text for message in window] == ["Two cups, please.", "Order 7 is made."]
