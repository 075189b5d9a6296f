"""Workers in processes of their own that are killed or frozen: the next worker gets exactly what is unanswered."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat_session import SessionManager
from chat_session.testing.turns.scene import LONG_LEASE, ask, create_asking, history, texts, until_pending
from testkit.backends import Backend, SqliteBackend, StartBackend
from testkit.command_line import PipedProcess

LEASE = 1.0  # seconds, of the workers that are killed or frozen

WORKER = """
import asyncio, json, sys
from chat_session import SessionManager, TurnLost

def say(*facts):
    print(json.dumps(facts), flush=True)

async def pause(phase):
    say("pause", phase)
    await asyncio.to_thread(sys.stdin.readline)

async def write_all_the_same(turn):
    try:
        await turn.reply("too late")
    except TurnLost as lost:
        say("refused", lost.reason)
    await turn.record("a tool ran")

async def main(url, lease, debounce):
    async with SessionManager.from_url(url) as manager:
        try:
            async with manager.turn("s", lease=float(lease), debounce=float(debounce)) as turn:
                await pause("taken")
                number = 0
                async for messages in turn:
                    number += 1
                    say("round", [message.text for message in messages])
                    try:
                        await pause(f"before reply {number}")
                    except asyncio.CancelledError:
                        await write_all_the_same(turn)
                        raise
                    await turn.reply(f"reply {number}")
                    await pause(f"after reply {number}")
                await pause("released")
        except TurnLost as lost:
            say("lost", lost.reason)

asyncio.run(main(*sys.argv[1:]))
"""


class Worker:
    """A process with a turn on the session s. It goes on after each pause when it is told to."""

    def __init__(self, url: str, debounce: float = 0) -> None:
        command = [sys.executable, "-c", WORKER, url, str(LEASE), str(debounce)]
        self.process = PipedProcess(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    async def read(self) -> list[Any]:
        """What it says next."""
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), 60)
        said: list[Any] = json.loads(line)
        return said

    async def run_to(self, phase: str) -> None:
        """Let it go on until that pause."""
        while True:
            said = await self.read()
            if said == ["pause", phase]:
                return
            if said[0] == "pause":
                self.go_on()

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(params=["redis", "cluster", "sqlite"])
def store(request: pytest.FixtureRequest, start_empty: StartBackend, tmp_path: Path) -> Backend:
    return SqliteBackend(tmp_path / "chat.db") if request.param == "sqlite" else start_empty(request.param)


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.end()


PHASES = {  # and what the next worker gets, if the customer says more and then the worker is killed
    "taken": ["question in s", "more"],
    "before reply 1": ["question in s", "more"],
    "after reply 1": ["more"],
    "before reply 2": ["second", "more"],
    "after reply 2": ["more"],
    "released": ["more"],
}


@pytest.mark.parametrize("phase", PHASES)
async def test_the_next_worker_gets_the_unanswered_round_of_one_that_was_killed(
    store: Backend, workers: list[Worker], phase: str
) -> None:
    async with store.open() as manager:
        await create_asking(manager, "s", turns=True)
        workers.append(Worker(store.url))
        if phase.endswith("2"):
            await workers[0].run_to("after reply 1")
            await ask(manager, "s", "second")
            workers[0].go_on()
        await workers[0].run_to(phase)
        await ask(manager, "s", "more")
        workers[0].process.send_signal(signal.SIGKILL)
        assert await asyncio.to_thread(workers[0].process.wait) == -signal.SIGKILL
        await until_pending(manager, "s")
        rounds = []
        async with manager.turn("s") as turn:
            async for messages in turn:
                rounds.append(texts(messages))
                await turn.reply("by the next")
        assert rounds == [PHASES[phase]]
        assert await manager.pending_turns() == []
        said = await history(manager, "s")
        assert said[-1] == "by the next"
        assert [text for text in said if text.startswith("reply")] == {
            "after reply 1": ["reply 1"],
            "before reply 2": ["reply 1"],
            "after reply 2": ["reply 1", "reply 2"],
            "released": ["reply 1"],
        }.get(phase, [])


async def test_a_worker_that_is_killed_while_its_round_waits_leaves_the_round(
    store: Backend, workers: list[Worker]
) -> None:
    async with store.open() as manager:
        await create_asking(manager, "s", turns=True)
        workers.append(Worker(store.url, debounce=60))
        while await manager.pending_turns():
            await asyncio.sleep(0.01)
        workers[0].process.send_signal(signal.SIGKILL)
        await until_pending(manager, "s")
        async with manager.turn("s") as turn:
            assert texts(turn.messages) == ["question in s"]


@pytest.mark.parametrize("taken", [True, False], ids=["another worker has it", "nobody has it"])
async def test_a_worker_that_is_frozen_past_its_lease_cannot_write(
    store: Backend, workers: list[Worker], *, taken: bool
) -> None:
    async with store.open() as manager:
        await create_asking(manager, "s", turns=True)
        workers.append(Worker(store.url))
        await workers[0].run_to("before reply 1")
        workers[0].process.send_signal(signal.SIGSTOP)
        try:
            await until_pending(manager, "s")
            if taken:
                await work_while_another_wakes(manager, workers[0])
            else:
                workers[0].process.send_signal(signal.SIGCONT)
                await refuse(workers[0])
                assert await history(manager, "s") == ["question in s"]
                assert await manager.pending_turns() == ["s"]
        finally:
            workers[0].process.send_signal(signal.SIGCONT)


async def work_while_another_wakes(manager: SessionManager, worker: Worker) -> None:
    async with manager.turn("s", lease=LONG_LEASE) as turn:
        assert texts(turn.messages) == ["question in s"]
        worker.process.send_signal(signal.SIGCONT)
        await refuse(worker)
        await turn.reply("by the next")
    assert await history(manager, "s") == ["question in s", "by the next"]
    assert await history(manager, "s", internal=True) == ["question in s", "a tool ran", "by the next"]
    assert await manager.pending_turns() == []


async def refuse(worker: Worker) -> None:
    """The worker has woken, is cancelled, and tries to write all the same."""
    assert await worker.read() == ["refused", "expired"]
    assert await worker.read() == ["lost", "expired"]
    worker.go_on()  # the thread that reads its standard input
    assert await asyncio.to_thread(worker.process.wait, 60) == 0
