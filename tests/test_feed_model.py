"""A client that keeps what a feed tells it has the same history as the store, whatever happens meanwhile."""

import asyncio
import os
import random
from typing import Any

import pytest

from chat_session import SessionManager, SessionNotFound
from chat_session.events import (
    Event,
    Gap,
    HistoryCleared,
    MessageAppended,
    MessageReplaced,
    MessageRetracted,
    Reset,
    SessionDeleted,
    State,
)
from chat_session.message import RETRACTED, Message
from chat_session.testing.feed.scene import PATIENCE
from testkit.backends import Backend

SEEDS = range(int(os.environ.get("MODEL_EXAMPLES", "6")))
STEPS = 60
BOUND = 12  # messages that the session keeps


class Client:
    """Watches a session, is cut off now and then, and goes on behind the last cursor that it has."""

    def __init__(self, manager: SessionManager, *, include_internal: bool) -> None:
        self.manager = manager
        self.include_internal = include_internal
        self.cursor: str | None = None
        self.kept: dict[int, Message] = {}
        self.last = 0
        self.next: int | None = None  # the sequence number that must come, for one who is told all
        self.feed: Any = None

    async def follow(self, end: str | None = None, steps: int = 1000) -> None:
        """Take so many events, or up to the message with the id ``end``."""
        for _ in range(steps):
            if self.feed is None:
                self.feed = self.manager.watch("s", after=self.cursor, include_internal=self.include_internal)
            try:
                event = await anext(self.feed)
            except (SessionNotFound, StopAsyncIteration):
                self.feed = None
                return
            await self.take(event)
            if isinstance(event, MessageAppended) and event.message.id == end:
                return

    async def take(self, event: Event) -> None:
        first = self.cursor is None
        self.cursor = event.cursor
        match event:
            case State() if first:
                await self.reload()
            case Reset():
                await self.reload()
            case HistoryCleared():
                self.kept.clear()
            case Gap():
                assert event.from_seq > self.last, "a gap is behind what was told"
                assert self.next in (None, event.from_seq) or not self.include_internal
                self.next = event.to_seq + 1
            case MessageAppended():
                assert (event.message.seq or 0) > self.last, "in order, and none twice"
                self.last = event.message.seq or 0
                assert self.next in (None, self.last) or not self.include_internal, "none is left out without a word"
                self.next = self.last + 1
                self.kept[self.last] = event.message
            case MessageReplaced() | MessageRetracted():
                self.kept[event.message.seq or 0] = event.message
            case SessionDeleted():
                self.kept.clear()

    async def reload(self) -> None:
        """As a client does that begins again. What is told later may be there already."""
        history = await self.manager.get_history("s", 1000, include_internal=self.include_internal)
        self.kept = {message.seq or 0: message for message in history}
        self.last, self.next = 0, None

    async def cut(self) -> None:
        if self.feed is not None:
            await self.feed.aclose()
            self.feed = None


@pytest.mark.parametrize("include_internal", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_client_has_the_history_of_the_store(backend: Backend, seed: int, include_internal: bool) -> None:
    chance = random.Random(seed)
    async with backend.open() as manager:
        await manager.create_session("u", session_id="s", max_history=BOUND)
        client = Client(manager, include_internal=include_internal)
        for step in range(STEPS):
            await _change(manager, chance, step)
            if chance.random() < 0.5:
                await manager.add_message("s", {"from": "user", "text": "mark", "id": f"mark {step}"})
                await _follow_to(client, f"mark {step}", chance)
            if chance.random() < 0.2:
                await client.cut()
        await manager.add_message("s", {"from": "user", "text": "end", "id": "end"})
        await _follow_to(client, "end", chance)
        await client.cut()
        history = await manager.get_history("s", 1000, include_internal=include_internal)
    kept = [message for seq, message in client.kept.items() if seq >= (history[0].seq or 0)]
    assert _without_tombstones(kept) == _without_tombstones(history)


def _without_tombstones(messages: list[Message]) -> list[Message]:
    """A history leaves them out where internal messages are not asked for."""
    return [message for message in messages if message.type != RETRACTED]


async def _follow_to(client: Client, end: str, chance: random.Random) -> None:
    """Some steps, perhaps a cut, then up to the message."""
    async with asyncio.timeout(PATIENCE):
        if client.cursor is not None and chance.random() < 0.3:
            await client.follow(end, steps=chance.randrange(3))
            await client.cut()
        while not any(message.id == end for message in client.kept.values()):
            await client.follow(end, steps=1)


async def _change(manager: SessionManager, chance: random.Random, step: int) -> None:
    history = await manager.get_history("s", 1000, include_internal=True)
    some = chance.choice(history).id if history else None
    match chance.choice(
        ("say",) * 4 + ("tool", "tool", "batch", "retract", "replace", "pop", "clear", "rewrite", "new")
    ):
        case "say":
            await manager.add_message("s", {"from": "user", "text": f"said {step}"})
        case "tool":
            await manager.add_message("s", {"from": "tool", "text": f"tool {step}", "internal": True})
        case "batch":
            count = chance.randrange(1, 2 * BOUND)
            await manager.add_messages("s", [{"from": "user", "text": f"{step}.{n}"} for n in range(count)])
        case "retract" if some:
            await manager.retract_message("s", some)
        case "replace" if some and not any(each.id == some and each.type == "retracted" for each in history):
            await manager.replace_message("s", {"id": some, "from": "user", "text": f"better {step}"})
        case "pop":
            await manager.pop_messages("s", chance.randrange(1, 4))
        case "clear":
            await manager.clear_history("s")
        case "rewrite":
            await manager.replace_history("s", [{"from": "user", "text": f"in short {step}"}])
        case "new" if chance.random() < 0.3:
            await manager.delete_session("s")
            await manager.create_session("u", session_id="s", max_history=BOUND)
