"""R50 and R51: replies that grow while their producers die, sleep or are taken over, and while watchers come and go."""

import asyncio
from collections import Counter
from contextlib import suppress

from chaos.feed_scene import CUSTOMER, STAFF, FeedScene
from chaos.feeds import ABORTED, COMMITTED
from chaos.history import Operation
from chaos.streamer import LEASE
from chaos.trial import Trial
from chat_session.testing.waiting import until

SESSIONS = 8
SMALL = 4096  # bytes of WATCH_BUFFER: a text is read in parts that end in the middle of a sign
LATE = 10.0  # seconds after the lease in which the end should have been told, on a busy machine
PATIENT = 60.0  # seconds for what takes a few milliseconds, on a busy machine
COMES_AND_GOES = "watch, come and go", "watch inside, come and go"
WITHOUT_END = "stream without end"


async def four_producers(trial: Trial) -> None:
    """R50: four processes stream replies; watchers come and go, and processes that watch are killed."""
    backend = await trial.open_backend()
    scene = FeedScene(trial, backend, trial.pick(24, 12), settings={"watch_buffer": SMALL})
    names = [f"streamer{number}" for number in range(4)]

    async def stream(scene: FeedScene) -> None:
        for name in names:
            await scene.stream(name)
        for _ in range(trial.pick(12, 2)):
            await asyncio.sleep(trial.pick(5.0, 2.0))
            await scene.replace_watchers()
        await scene.watch("late", STAFF)
        await asyncio.sleep(1.0)
        for name in names:
            await scene.workers.kill(name)
            trial.faults["producer killed -9"] += 1

    await scene.run(stream, (CUSTOMER, STAFF, *COMES_AND_GOES), scene.writers(1))
    _count_ends(trial)
    await scene.judge()


async def ended_producers(trial: Trial) -> None:
    """R51: producers are killed, frozen past their lease, and taken over, while their replies grow."""
    backend = await trial.open_backend()
    scene = FeedScene(trial, backend, 4, settings={"watch_buffer": SMALL})

    async def end_them(scene: FeedScene) -> None:
        for number in range(trial.pick(10, 1)):
            await _kill(scene, f"killed{number}")
            await _freeze(scene, f"frozen{number}")
            await _take_over(scene, f"taken{number}")

    await scene.run(end_them)  # nobody writes, so no other change wakes the watchers
    _count_ends(trial)
    await scene.judge()


async def _kill(scene: FeedScene, name: str) -> None:
    """Its reply ends with the lease."""
    hold = await _begin(scene, name)
    await scene.workers.kill(name)
    scene.trial.faults["producer killed -9"] += 1
    await _see_abortion(scene, hold, {"expired"})


async def _freeze(scene: FeedScene, name: str) -> None:
    """When it wakes, nothing of its reply may be stored."""
    hold = await _begin(scene, name)
    scene.workers.freeze(name)
    scene.trial.faults["producer frozen"] += 1
    await _see_abortion(scene, hold, {"expired"})
    scene.workers.thaw(name)
    reply = hold.asked["reply"]
    [append] = [op for op in scene.trial.recorder.history if op.id == reply]
    with suppress(TimeoutError):
        await scene.until(lambda: append.ended is not None, PATIENT)
    await scene.workers.kill(name)
    if append.outcome == "ok":
        scene.trial.break_rule("a producer slept past its lease, and its reply was stored", hold.session)
    if append.error.startswith("TurnLost"):
        scene.trial.faults["late producer refused"] += 1


async def _take_over(scene: FeedScene, name: str) -> None:
    hold = await _begin(scene, name)
    person = scene.trial.caller(f"person.{name}", scene.manager)
    await person.switch(hold.session, "human")
    scene.trial.faults["taken over in mid-reply"] += 1
    await _see_abortion(scene, hold, {"taken_over"})
    await scene.workers.kill(name)
    await person.switch(hold.session, "ai")


async def _begin(scene: FeedScene, name: str) -> Operation:
    """Start a producer whose reply grows without end, and wait until all who watch the session see it grow."""
    while not scene.holds.empty():
        scene.holds.get_nowait()
    await scene.stream(name, WITHOUT_END)
    async with asyncio.timeout(PATIENT):
        while True:
            hold = await scene.holds.get()
            if hold.writer.startswith(name):
                break
    feeds = [feed for feed, op in scene.last.items() if op.session == hold.session]
    await scene.until(lambda: all(scene.growing.get(feed) == hold.asked["reply"] for feed in feeds), PATIENT)
    return hold


async def _see_abortion(scene: FeedScene, hold: Operation, reasons: set[str]) -> None:
    """All who watch the session are told that the reply is aborted, and why."""
    reply, history = hold.asked["reply"], scene.trial.recorder.history
    feeds = {name for name, op in scene.last.items() if op.session == hold.session}

    def told() -> dict[str, str]:
        ends = (op for op in history[hold.number :] if op.kind == "told" and op.told.get("reply") == reply)
        return {op.writer: op.told["reason"] for op in ends if op.told["event"] == ABORTED}

    async def all_know() -> bool:
        return told().keys() == feeds

    try:
        await until(all_know, LEASE + LATE)
    except TimeoutError:
        missing = sorted(feeds - told().keys())
        scene.trial.break_rule(f"{missing} were not told that {reply} is aborted", hold.session)
    if not set(told().values()) <= reasons:
        scene.trial.break_rule(f"{reply} was aborted because of {set(told().values())}, not {reasons}", hold.session)


def _count_ends(trial: Trial) -> None:
    ends = Counter(op.told["event"] for op in trial.recorder.history if op.kind == "told")
    trial.note(f"told: {ends[COMMITTED]:,} times that a reply is complete, {ends[ABORTED]:,} times that it is aborted")
    if not ends[COMMITTED] and not ends[ABORTED]:
        trial.break_rule("no end of a reply was told, so nothing was shown")
