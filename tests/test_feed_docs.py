"""What docs/feed.md and docs/streaming.md say is what the code has and does."""

import asyncio
import re
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chat_session import Desk, SessionManager, Turn, TurnLost, events
from chat_session.events import (
    DeskSnapshot,
    Event,
    MessageAppended,
    ReplyAborted,
    ReplyCommitted,
    ReplyDelta,
    ReplyStarted,
    SessionDeleted,
)
from chat_session.testing.feed.scene import Watch

DOCS = Path(__file__).parent.parent / "docs"
FEED = (DOCS / "feed.md").read_text("utf-8")
STREAMING = (DOCS / "streaming.md").read_text("utf-8")
EVENTS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)][1:]


def rows_below(page: str, head: str) -> list[list[str]]:
    table = page.split(f"{head}\n")[1].split("\n\n", maxsplit=1)[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]


def test_the_table_has_every_event_with_its_name_and_fields() -> None:
    rows = rows_below(FEED, "| event | name | fields | it says |")
    told = {kind.strip("`"): (name.strip("`"), re.findall(r"`(\w+)`", fields)) for kind, name, fields, _ in rows}
    assert told == {
        kind.__name__: (kind.name, [field.name for field in msgspec.structs.fields(kind)[2:]]) for kind in EVENTS
    }


def test_the_pages_name_every_reason_of_a_reset_and_of_an_abort() -> None:
    told = [cell.strip("`") for cell, _ in rows_below(FEED, "| `reason` | why |")]
    assert told == re.findall(r'"(\w+)" \(', (events.Reset.__doc__ or "").split("``reason``:")[1])
    told = re.findall(r"`ReplyAborted`, `(\w+)`", STREAMING.split("## How it ends")[1].split("## What was said")[0])
    assert set(told) == set(re.findall(r'"(\w+)"', events.ReplyAborted.__doc__ or ""))


Ends = Callable[[SessionManager, Turn], Awaitable[Any]]


async def leave(manager: SessionManager, turn: Turn) -> None:
    pass


async def fail(manager: SessionManager, turn: Turn) -> None:
    raise LookupError


async def take_over(manager: SessionManager, turn: Turn) -> None:
    await Desk(manager).take_over("s", "mei")
    await asyncio.Event().wait()


async def stop(manager: SessionManager, turn: Turn) -> None:
    await manager.stop_turn("s")
    await asyncio.Event().wait()


async def delete(manager: SessionManager, turn: Turn) -> None:
    await manager.delete_session("s")
    await asyncio.Event().wait()


CASES: list[tuple[Ends, str]] = [
    (leave, "`ReplyCommitted`"),
    (fail, "`ReplyAborted`, `failed`"),
    (take_over, "`ReplyAborted`, `taken_over`"),
    (stop, "`ReplyAborted`, `stopped`"),
    (delete, "`SessionDeleted`"),
]


@pytest.mark.parametrize(("end", "told"), CASES)
async def test_how_a_reply_ends(manager: SessionManager, end: Ends, told: str) -> None:
    rows = rows_below(STREAMING, "| what happens | stored | watchers get | the worker |")
    [row] = [row for row in rows if row[2] == told]
    await manager.create_session("ann", session_id="s", ttl=60)
    async with Watch(manager) as watch:
        with suppress(LookupError, TurnLost):
            async with manager.turn("s") as turn, turn.stream() as reply:
                await reply.write("On its way")
                await watch.next(ReplyDelta)
                await end(manager, turn)
        if told == "`SessionDeleted`":
            await watch.next(SessionDeleted)
            return
        over = await watch.next(Event, lambda event: isinstance(event, (ReplyCommitted, ReplyAborted)))
    assert f"`{type(over).__name__}`" == told.split(",", maxsplit=1)[0]
    assert getattr(over, "reason", "") == told.partition(", ")[2].strip("`")
    stored = [message.text for message in await manager.get_history("s") if message.sender == "assistant"]
    assert stored == (["On its way"] if row[1] == "one message" else [])


async def test_a_watcher_that_comes_late_gets_the_text_so_far(manager: SessionManager) -> None:
    await manager.create_session("ann", session_id="s", ttl=60)
    async with manager.turn("s") as turn, turn.stream(author="Bot") as reply:
        await reply.write("On its ")
        async with Watch(manager) as first:
            await first.next(ReplyDelta)
        async with Watch(manager) as late:
            assert (await late.next(ReplyStarted)).author == "Bot"
            assert (await late.next(ReplyDelta)).text == "On its "
            await reply.write("wäy")
            assert (await late.next(ReplyDelta)).offset == len("On its ")
        async with Watch(manager, after=late.events[-1].cursor) as again:
            await reply.write("!")
            rest = await again.next(ReplyDelta)
            assert (rest.offset, rest.text) == (len("On its wäy".encode()), "!")


async def test_the_example_of_the_feed_runs(manager: SessionManager, capsys: pytest.CaptureFixture[str]) -> None:
    block = FEED.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = dict(vars(events))
    exec(f"async def follow(manager, session_id):\n{textwrap.indent(block, '    ')}", names)
    await manager.create_session("ann", session_id="s", ttl=60)
    async with Watch(manager) as watch:
        following = asyncio.create_task(names["follow"](manager, "s"))
        while "7" not in capsys.readouterr().out:
            await manager.add_message("s", {"from": "user", "text": "7"})
            await watch.next(MessageAppended)
        await manager.delete_session("s")
        await following
    assert "The session is over." in capsys.readouterr().out


async def test_the_example_of_a_streaming_reply_runs(manager: SessionManager) -> None:
    block = STREAMING.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(f"async def answer(manager, session_id, think):\n{textwrap.indent(block, '    ')}", names)
    await manager.create_session("ann", session_id="s", ttl=60)
    await manager.add_message("s", {"from": "user", "text": "Where is my order?"})

    async def think(messages: list[Any]) -> AsyncIterator[str]:
        assert [message.text for message in messages] == ["Where is my order?"]
        for token in ("On ", "its ", "way"):
            yield token

    await names["answer"](manager, "s", think)
    [_, reply] = await manager.get_history("s")
    assert (reply.text, reply.author) == ("On its way", "Bot")


async def test_the_feed_of_the_desk_begins_with_a_snapshot(manager: SessionManager) -> None:
    desk = Desk(manager)
    feed = desk.watch(limit=100)
    assert isinstance(await anext(feed), DeskSnapshot)
    await feed.aclose()
