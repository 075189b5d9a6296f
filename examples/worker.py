"""Two worker processes answer the sessions of one store: each session by one of them at a time, each message once.

python examples/worker.py [--url redis://localhost:6379/0]

The bot is scripted. Customers write, some of them twice, while the bot thinks; then one worker is killed in the middle
of a turn, and the other one answers in its place. Without --url the store is a temporary SQLite file.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.process import BaseProcess

from chat_session import AgentConflict, Message, SessionManager, SessionNotFound, TurnBusy, TurnLost

PATIENCE = 15  # seconds for all of it
LEASE = 2.0  # seconds; short, so that this example need not wait long for the turn of a worker that was killed
HARD = "hard-question"


def open_store(url: str) -> SessionManager:
    return SessionManager.from_url(url, turns=True, key_prefix="worker-example:")


# A worker


async def work(manager: SessionManager, think: Callable[[Sequence[Message]], Awaitable[str]]) -> None:
    """Answer whoever waits. Any number of processes may do this on one store."""
    async for session_id in manager.wait_for_turns():
        try:
            async with manager.turn(session_id, lease=LEASE) as turn:
                async for messages in turn:
                    await turn.reply(await think(messages))
        except (TurnBusy, AgentConflict, SessionNotFound):
            pass  # another worker was faster, a person has the session, or it was deleted
        except TurnLost:
            pass  # the log says why; its reply was not stored, and a round without an answer comes again


async def think(messages: Sequence[Message]) -> str:
    """Stands for a language model. It takes its time."""
    await asyncio.sleep(0.02)
    return "You asked: " + " / ".join(message.text for message in messages)


async def think_too_long(messages: Sequence[Message]) -> str:
    """A model that never answers the hard question."""
    if messages[0].text == "A hard question!":
        await asyncio.Event().wait()
    return await think(messages)


def run_worker(url: str, *, hangs: bool) -> None:
    """One worker, in a process of its own, until it is told to stop."""

    async def main() -> None:
        working = asyncio.current_task()
        if working is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        async with open_store(url) as manager:
            await work(manager, think_too_long if hangs else think)

    with contextlib.suppress(asyncio.CancelledError):  # it left its turn in an orderly way: nothing to wait for
        asyncio.run(main())


# What the workers are for


async def be_customer(manager: SessionManager, session_id: str, texts: Sequence[str]) -> None:
    """Ask, and go on before the answer is there."""
    await manager.create_session(session_id, session_id=session_id)
    for text in texts:
        await manager.add_message(session_id, {"from": "user", "text": text})
        await asyncio.sleep(0.01)


async def until_answered(manager: SessionManager, session_ids: Sequence[str]) -> None:
    for session_id in session_ids:
        while (await manager.get_history(session_id, 1))[-1].sender != "assistant":  # noqa: ASYNC110 - by other processes
            await asyncio.sleep(0.02)


async def main(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    first = spawn.Process(target=run_worker, args=(url,), kwargs={"hangs": True}, daemon=True)
    second = spawn.Process(target=run_worker, args=(url,), kwargs={"hangs": False}, daemon=True)
    async with asyncio.timeout(PATIENCE), open_store(url) as manager:
        try:
            await be_customer(manager, HARD, ["A hard question!"])
            first.start()
            await until_taken(manager, HARD)

            second.start()
            names = [f"customer-{n}" for n in range(1, 7)]
            asked = [be_customer(manager, name, ["Are you there?", "Where is my order?"]) for name in names]
            await asyncio.gather(*asked)
            await until_answered(manager, names)

            kill(first)
            await until_answered(manager, [HARD])
        finally:
            await asyncio.to_thread(end, [first, second])
        await show(manager, [*names, HARD])


async def until_taken(manager: SessionManager, session_id: str) -> None:
    while session_id in await manager.pending_turns():  # noqa: ASYNC110 - another process takes it
        await asyncio.sleep(0.02)


def kill(worker: BaseProcess) -> None:
    """As a crash would: it releases nothing, so its turn ends with the lease."""
    if worker.pid is not None:
        os.kill(worker.pid, signal.SIGKILL)


def end(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        if worker.pid is not None:
            worker.terminate()
            worker.join()


async def show(manager: SessionManager, session_ids: Sequence[str]) -> None:
    """How often each question was answered: the customer's texts, and how often an answer names them."""
    for session_id in session_ids:
        history = await manager.get_history(session_id)
        asked = [message.text for message in history if message.sender == "user"]
        said = " / ".join(message.text for message in history if message.sender == "assistant")
        counts = ", ".join(f"{text} {said.count(text)} answer" for text in asked)
        print(f"{session_id}: {counts}")
        await manager.delete_session(session_id)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Two worker processes on one store.")
    parser.add_argument("--url", help="the store; without it a temporary SQLite file")
    given = parser.parse_args().url
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(given or f"sqlite:///{folder}/worker.db"))
