"""A bot of two worker processes streams its replies, and an operator takes over in the middle of one.

python examples/support_bot.py [redis://localhost:6379/0]

What is printed first is the feed, live, as the customer sees it: also the reply that was broken off. At the end comes
the transcript: that reply is not in it. Without an address the store is a temporary SQLite file.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from multiprocessing.process import BaseProcess

from chat_session import AgentConflict, Desk, SessionManager, SessionNotFound, TurnBusy, TurnLost, events

PATIENCE = 15  # seconds for all of it
ANNA = "anna"  # the customer, and her session
BROKEN = "Two cups arrived broken. I want my money back."
THANKS = "Thank you! Do you still sell these cups?"


def open_store(url: str) -> SessionManager:
    return SessionManager.from_url(url, turns=True, key_prefix="support-bot-example:")


# A worker


async def work(manager: SessionManager) -> None:
    """Answer whoever waits. Any number of processes may do this on one store."""
    async for session_id in manager.wait_for_turns():
        try:
            async with manager.turn(session_id) as turn:
                async for messages in turn:
                    async with turn.stream() as reply:
                        async for word in think(messages[-1].text):
                            await reply.write(word)
        except (TurnBusy, AgentConflict, SessionNotFound):
            pass  # another worker was faster, a person has the session, or it was deleted
        except TurnLost:
            pass  # a person took over in the middle of the reply: nothing of it is stored


async def think(question: str) -> AsyncIterator[str]:
    """Stands for a language model: one word after the other. It has no good answer to BROKEN, and never ends."""
    is_hard = question == BROKEN
    answer = "I am sorry to hear that. I can offer you a voucher" if is_hard else "Yes, in white and in blue."
    for word in re.findall(r" ?\S+", answer):
        yield word
        await asyncio.sleep(0.03)
    if is_hard:
        await asyncio.Event().wait()


def run_worker(url: str) -> None:
    """One worker, in a process of its own, until it is told to stop."""

    async def main() -> None:
        working = asyncio.current_task()
        if working is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        async with open_store(url) as manager:
            await work(manager)

    with contextlib.suppress(asyncio.CancelledError):  # it left its turn in an orderly way
        asyncio.run(main())


# The customer and the operator


async def converse(manager: SessionManager) -> None:
    """Show the customer's feed. What Anna and Mei do next, they do because of what it tells."""
    desk = Desk(manager)
    await manager.create_session("anna", session_id=ANNA)
    reply = ""  # as far as it has grown
    async for event in manager.watch(ANNA):
        show(event)
        match event:
            case events.State():
                await manager.add_message(ANNA, {"from": "user", "text": BROKEN})
            case events.ReplyDelta():
                reply += event.text
                if reply.endswith("voucher"):  # Mei reads along
                    await desk.take_over(ANNA, "Mei")
            case events.ReplyAborted():
                await desk.answer(ANNA, "Mei", "This is Mei. You have your money back today.")
            case events.MessageAppended() if event.message.sender == "operator":
                await desk.hand_back(ANNA, "Mei", note="Both cups were refunded.")
            case events.DeskChanged() if event.desk.state == "open":
                await manager.add_message(ANNA, {"from": "user", "text": THANKS})
            case events.ReplyCommitted():
                return


def show(event: events.Event) -> None:
    """A line for each event; a reply grows in its line."""
    match event:
        case events.ReplyStarted():
            print("  bot: ", end="")
        case events.ReplyDelta():
            print(event.text, end="", flush=True)
        case events.ReplyAborted():
            print(f" ... (broken off: {event.reason})")
        case events.ReplyCommitted():
            print()
        case events.DeskChanged() if event.desk.state == "open":
            print("  (the bot answers again)")
        case events.MessageAppended() if event.message.sender != "assistant":  # its reply has been shown
            print(f"  {event.message.sender}: {event.message.text}")


async def main(url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=run_worker, args=(url,), daemon=True) for _ in range(2)]
    async with asyncio.timeout(PATIENCE), open_store(url) as manager:
        try:
            for worker in workers:
                worker.start()
            print("What the customer sees:")
            await converse(manager)
        finally:
            await asyncio.to_thread(end, workers)
        print("\nWhat is stored (* is internal):")
        for message in await manager.get_history(ANNA, include_internal=True):
            print(f"{'*' if message.internal else ' '} {message.author or message.sender}: {message.text}")
        await manager.delete_session(ANNA)


def end(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        if worker.pid is not None:
            worker.terminate()
            worker.join()
            if worker.exitcode not in (0, -signal.SIGTERM):  # the signal itself ends one that was still starting
                raise RuntimeError(f"A worker's process ended with {worker.exitcode}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A bot that streams, and an operator who takes over.")
    parser.add_argument("url", nargs="?", help="the store; without it a temporary SQLite file")
    given = parser.parse_args().url
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(given or f"sqlite:///{folder}/bot.db"))
