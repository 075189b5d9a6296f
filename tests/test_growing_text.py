"""The text of a reply that grows, and how it is sent in batches."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chat_session import InvalidInput, SessionNotFound, StoreUnavailable, TurnLost
from chat_session import growing_text as module
from chat_session.growing_text import MAX_WAITING, GrowingText, Pace
from chat_session.testing import until


class Place:
    """Where the text goes: it keeps what it is sent, and may be away, or lose some of it."""

    def __init__(self) -> None:
        self.text = b""
        self.deltas: list[tuple[float, int, bytes]] = []  # when, offset, text
        self.faults: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()
        self.lost: list[TurnLost] = []

    async def send(self, offset: int, text: bytes) -> int:
        self.deltas.append((asyncio.get_running_loop().time(), offset, text))
        await self.open.wait()
        if self.faults:
            raise self.faults.pop(0)
        if offset <= len(self.text):
            self.text = self.text[:offset] + text
        return len(self.text)

    async def has(self, text: bytes) -> None:
        async def is_there() -> bool:
            return self.text == text

        await until(is_there)


@pytest.fixture
async def place() -> Place:
    return Place()


@pytest.fixture
async def growing(place: Place) -> AsyncIterator[GrowingText]:
    text = GrowingText("s", place.send, place.lost.append)
    text.start()
    yield text
    text.cancel()


@pytest.mark.parametrize(
    ("replies", "seconds"), [(0, 0.02), (1, 0.02), (40, 0.02), (100, 0.05), (200, 0.1), (900, 0.1)]
)
def test_the_more_replies_grow_the_less_often_each_is_sent(replies: int, seconds: float) -> None:
    pace = Pace()
    pace.growing = replies
    assert pace.interval == seconds


async def test_what_comes_together_is_sent_together(growing: GrowingText, place: Place) -> None:
    for word in (b"one ", b"two ", b"three"):
        growing.add(word)
    await place.has(b"one two three")
    assert [(offset, text) for _, offset, text in place.deltas] == [(0, b"one two three")]


async def test_two_deltas_of_a_reply_are_an_interval_apart(
    growing: GrowingText, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.PACE, "growing", 100)
    growing.add(b"one")
    await place.has(b"one")
    growing.add(b"two")
    await place.has(b"onetwo")
    (first, *_), (second, offset, text) = place.deltas
    assert (offset, text) == (3, b"two")
    assert second - first >= 0.049


async def test_text_that_the_store_has_lost_is_sent_again(growing: GrowingText, place: Place) -> None:
    growing.add(b"hello")
    await place.has(b"hello")
    place.text = b"he"  # a failover
    growing.add(b" you")
    await place.has(b"hello you")
    assert [(offset, text) for _, offset, text in place.deltas] == [(0, b"hello"), (5, b" you"), (2, b"llo you")]


async def test_after_a_fault_of_the_store_the_same_offset_is_tried_again(
    growing: GrowingText, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AFTER_FAULT", 0.01)
    place.faults = [StoreUnavailable("away"), StoreUnavailable("away")]
    growing.add(b"hello")
    await place.has(b"hello")
    assert [offset for _, offset, _ in place.deltas] == [0, 0, 0]
    assert growing.failure is None
    assert not place.lost


@pytest.mark.parametrize("fault", [TurnLost("s", "stopped"), SessionNotFound("s")], ids=["turn", "session"])
async def test_a_lost_turn_ends_the_sending(growing: GrowingText, place: Place, fault: Exception) -> None:
    place.faults = [fault]
    growing.add(b"hello")

    async def is_lost() -> bool:
        return bool(place.lost)

    await until(is_lost)
    assert place.lost == [growing.failure]
    with pytest.raises(TurnLost):
        await growing.wait_for_room()


async def test_a_defect_ends_the_sending_and_who_writes_is_told(growing: GrowingText, place: Place) -> None:
    place.faults = [InvalidInput("a", "b", "c")]
    growing.add(b"hello")

    async def has_failed() -> bool:
        return growing.failure is not None

    await until(has_failed)
    with pytest.raises(InvalidInput):
        await growing.wait_for_room()
    assert not place.lost


async def test_who_writes_waits_while_too_much_waits_to_be_sent(growing: GrowingText, place: Place) -> None:
    place.open.clear()
    growing.add(b"x" * MAX_WAITING)
    await growing.wait_for_room()
    growing.add(b"x")
    waiting = [asyncio.create_task(growing.wait_for_room()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    place.open.set()
    await asyncio.gather(*waiting)
    assert len(growing.written) - growing.shown <= MAX_WAITING


async def test_who_waits_for_room_is_told_of_the_loss(growing: GrowingText, place: Place) -> None:
    place.open.clear()
    growing.add(b"x" * (MAX_WAITING + 1))
    waiting = asyncio.create_task(growing.wait_for_room())
    await asyncio.sleep(0)
    growing.fail(TurnLost("s", "expired"))
    with pytest.raises(TurnLost):
        await waiting


async def test_finishing_waits_for_the_delta_that_is_under_way_and_begins_no_other(
    growing: GrowingText, place: Place
) -> None:
    place.open.clear()
    growing.add(b"hello")

    async def is_under_way() -> bool:
        return bool(place.deltas)

    await until(is_under_way)
    growing.add(b" you")
    finishing = asyncio.create_task(growing.finish())
    await asyncio.sleep(0)
    assert not finishing.done()
    place.open.set()
    await finishing
    assert (place.text, growing.shown, len(place.deltas)) == (b"hello", 5, 1)
    await growing.flush()
    assert (place.text, growing.shown) == (b"hello you", 9)


async def test_finishing_does_not_wait_for_the_next_interval(
    growing: GrowingText, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHORTEST", 60.0)
    monkeypatch.setattr(module, "LONGEST", 60.0)
    growing.add(b"hello")
    await place.has(b"hello")
    async with asyncio.timeout(10):
        await growing.finish()
