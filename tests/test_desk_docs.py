"""What docs/desk.md and docs/storage-layout.md say of the desk is what it does."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chat_session import Desk, DeskConflict, DeskFigures, Session, SessionManager
from chat_session.desk_status import DeskFacts, decode_facts, encode_facts
from chat_session.markers import Marker

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "desk.md").read_text("utf-8")
LAYOUT = (DOCS / "storage-layout.md").read_text("utf-8")
STATES = ("open", "waiting", "assigned to mei", "assigned to jonas")


def read_table(page: str, first: str) -> list[list[str]]:
    """The rows below the head that begins with ``first``."""
    table = page.split(f"\n| {first} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


# Mei calls, on a session in a state of which the table has a column.

Action = Callable[[Desk, Session], Awaitable[Any]]
CALLS: dict[str, Action] = {
    "`request_human`": lambda desk, s: desk.request_human(s.session_id, priority=5),
    "`claim_next`": lambda desk, s: desk.claim_next("mei"),
    "`take_over`": lambda desk, s: desk.take_over(s.session_id, "mei"),
    '… `expect="waiting"`': lambda desk, s: desk.take_over(s.session_id, "mei", expect="waiting"),
    "… `expect=<epoch>`": lambda desk, s: desk.take_over(s.session_id, "mei", expect=s.agent_epoch),
    "`answer`": lambda desk, s: desk.answer(s.session_id, "mei", "written"),
    "… `polite=True`": lambda desk, s: desk.answer(s.session_id, "mei", "written", polite=True),
    "`note`": lambda desk, s: desk.note(s.session_id, "mei", "written"),
    "`transfer(to=…)`": lambda desk, s: desk.transfer(s.session_id, "mei", to="ada"),
    "`transfer(team=…)`": lambda desk, s: desk.transfer(s.session_id, "mei", team="billing"),
    "`decline`": lambda desk, s: desk.decline(s.session_id, "mei"),
    "`hand_back`": lambda desk, s: desk.hand_back(s.session_id, "mei", note="written", say="written"),
}
# The state, the operator and whether what was written is stored; None: as before.
OUTCOMES: dict[str, tuple[str | None, str | None, bool]] = {
    "nothing": (None, None, False),
    "nothing, also no `note` and no `say`": (None, None, False),
    "waits from now on": ("waiting", None, False),
    "raises the priority if the new one is higher; otherwise nothing": ("waiting", None, False),
    "the first in the order becomes assigned": ("assigned", "mei", False),
    "assigned": ("assigned", "mei", False),
    "assigned if it is the epoch, else conflict": ("assigned", "mei", False),
    "assigned, taken from the other": ("assigned", "mei", False),
    "assigned, and the message": ("assigned", "mei", True),
    "the message": (None, None, True),
    "the note": (None, None, True),
    "assigned to the other operator": ("assigned", "ada", False),
    "waits in that team's queue, from now on": ("waiting", None, False),
    "waits, at its old place": ("waiting", None, False),
    "open": ("open", None, True),
    "–": (None, None, False),
}


def list_cells() -> list[tuple[str, str, str]]:
    cells: list[tuple[str, str, str]] = []
    for call, *told in read_table(PAGE, "call | open"):
        if call.startswith("sweep"):
            continue
        cells += [(call, state, outcome) for state, outcome in zip(STATES, told, strict=True)]
    return cells


@pytest.fixture
async def manager() -> AsyncIterator[SessionManager]:
    async with SessionManager.from_url("sqlite:///:memory:") as manager:
        yield manager


async def make_session(manager: SessionManager, state: str) -> Session:
    desk, session = Desk(manager), await manager.create_session("ann")
    if state == "waiting":
        await desk.request_human(session.session_id)
    elif state != "open":
        await desk.take_over(session.session_id, state.removeprefix("assigned to "))
    return await read(manager, session.session_id)


async def read(manager: SessionManager, session_id: str) -> Session:
    session = await manager.get_session(session_id)
    assert session is not None
    return session


def test_the_table_of_operations_has_every_operation() -> None:
    assert [call for call, *_ in read_table(PAGE, "call | open") if not call.startswith("sweep")] == list(CALLS)


@pytest.mark.parametrize(("call", "state", "outcome"), list_cells())
async def test_the_table_of_operations_is_true(manager: SessionManager, call: str, state: str, outcome: str) -> None:
    before = await make_session(manager, state)
    if outcome == "conflict":
        with pytest.raises(DeskConflict):
            await CALLS[call](Desk(manager), before)
        assert (await read(manager, before.session_id)).desk == before.desk
        return
    await CALLS[call](Desk(manager), before)
    after = await read(manager, before.session_id)
    new_state, operator, is_written = OUTCOMES[outcome]
    assert after.desk.state == (new_state or before.desk.state)
    assert after.desk.operator_id == (operator if new_state else before.desk.operator_id)
    if not is_written and new_state is None:
        assert (after.message_count, after.agent_epoch) == (before.message_count, before.agent_epoch)
    texts = [message.text for message in await manager.get_history(before.session_id, include_internal=True)]
    assert any("written" in text for text in texts) == is_written


async def test_the_expected_epoch_of_before_is_a_conflict(manager: SessionManager) -> None:
    for state in ("open", "waiting", "assigned to jonas"):
        session = await make_session(manager, state)
        with pytest.raises(DeskConflict):
            await Desk(manager).take_over(session.session_id, "mei", expect=session.agent_epoch + 1)


def test_the_table_of_markers_has_every_field() -> None:
    rows = read_table(PAGE, "`event` | when")
    told = {name for _, _, fields, _ in rows for name in re.findall(r"`(\w+)`", fields)}
    assert told == {msgspec.structs.fields(Marker)[i].encode_name for i in range(1, len(Marker.__struct_fields__))}
    source = Path(__file__).parent.parent.joinpath("src", "chat_session", "markers.py").read_text("utf-8")
    [events] = re.findall(r"event: str  # (.*)", source)
    assert {event.strip("`") for event, *_ in rows} == set(events.split())


def test_the_table_of_figures_has_every_figure() -> None:
    told = {name for names, _ in read_table(PAGE, "figure") for name in re.findall(r"`(\w+)`", names)}
    assert told == set(DeskFigures.__struct_fields__)


def test_the_storage_page_has_every_field_of_the_facts_in_their_order() -> None:
    section = LAYOUT.split("### The desk's facts")[1].split("### Messages")[0]
    rows = read_table(section, "field")
    told = [name for names, *_ in rows for name in re.findall(r"`(\w+)`", names)]
    assert told == [field.encode_name for field in msgspec.structs.fields(DeskFacts)]
    [example] = re.findall(r"```\n(.*)\n```", section)
    assert encode_facts(decode_facts(example.encode())).decode() == example
