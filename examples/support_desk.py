"""A support desk in three processes: a bot, and two operators who take over, transfer, go away and hand back.

python examples/support_desk.py [--url redis://localhost:6379/0]

The bot and the operators are scripted; customers say what they say in sample.jsonl. The three processes share nothing
but the store: each asks it until the others have done their part. Without --url the store is a temporary SQLite file.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
from collections.abc import Awaitable, Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from chat_session import AgentConflict, Desk, Message, Session, SessionCleanup, SessionManager

T = TypeVar("T")
LEASE = 2.0  # seconds; short, so that this example need not wait long for a lapse
PATIENCE = 15  # seconds for all of it


def open_store(url: str) -> SessionManager:
    return SessionManager.from_url(url, claim_lease=LEASE, key_prefix="support-desk-example:")


async def until(ask: Callable[[], Awaitable[T]], fits: Callable[[T], Any]) -> T:
    """Ask the store again and again, until the answer fits."""
    while not fits(answer := await ask()):  # noqa: ASYNC110 - what happens, happens in other processes
        await asyncio.sleep(0.02)
    return answer


def read_conversations() -> dict[str, list[str]]:
    """The texts of the sample's conversations, by their names."""
    lines = Path(__file__).with_name("sample.jsonl").read_text("utf-8").splitlines()
    conversations = [json.loads(line) for line in lines]
    return {each["conversation"]: [said["text"] for said in each["messages"]] for each in conversations}


class Bot:
    """Answers one customer, and is silent while a person does."""

    def __init__(self, manager: SessionManager, session_id: str) -> None:
        self.manager = manager
        self.session_id = session_id

    async def read(self) -> Session:
        session = await self.manager.get_session(self.session_id)
        if session is None:
            raise SystemExit(f"The session '{self.session_id}' is gone.")
        return session

    async def hear(self, text: str) -> None:
        await self.manager.add_message(self.session_id, {"from": "user", "text": text})

    async def say(self, text: str, *, epoch: int) -> None:
        await self.manager.add_message(self.session_id, {"from": "assistant", "text": text}, epoch=epoch)

    async def answer(self, text: str) -> None:
        """A turn without a disturbance. What a colleague noted at the last hand-back is in the window."""
        session = await self.read()
        window = await self.manager.get_window(self.session_id, messages=20)
        notes = [note for message in window if (note := _note_of(message))]
        if notes:
            print(f"The bot's next turn has read: {notes[-1]}\n")
        await self.say(text, epoch=session.agent_epoch)

    async def answer_too_late(self, text: str) -> None:
        """A turn in which the model takes so long that a person answers first."""
        session = await self.read()
        await self.manager.update_session(self.session_id, {"typing": True})
        await until(self.read, lambda now: now.desk.state == "assigned")  # so long the model takes
        record = Message(sender="tool", text="A voucher was reserved.", internal=True)
        await self.manager.add_message(self.session_id, record, epoch=session.agent_epoch)  # internal: it is kept
        try:
            await self.say(text, epoch=session.agent_epoch)
        except AgentConflict as conflict:
            print(f"The bot's late reply of epoch {conflict.expected} was refused in epoch {conflict.current_epoch}.\n")
        await self.manager.update_session(self.session_id, {"typing": None})


def _note_of(message: Message) -> str | None:
    """Of a marker of the desk."""
    if message.sender != "system" or message.type != "handoff":
        return None
    note: str | None = message.extra["handoff"].get("note")
    return note


async def serve(manager: SessionManager, cups: Bot, parcel: Bot) -> None:
    """What the customers say, and what the bot does."""
    desk, said = Desk(manager), read_conversations()

    texts = said["takeover-broken-cup"]
    await cups.hear(texts[0])
    await cups.answer(texts[1])
    await cups.hear(texts[2])
    await cups.answer_too_late("I can only offer the voucher.")
    await until(cups.read, lambda now: now.desk.state == "open")
    await cups.hear(texts[5])
    await cups.answer("You are welcome! The two cups are on their way.")

    texts = said["order-late-parcel"]
    await parcel.hear(texts[0])
    await parcel.answer(texts[1])
    await parcel.hear(texts[2])
    reason = "The tracking page has not moved since Monday."
    told = "Thank you. A colleague will look for it."
    await desk.request_human(parcel.session_id, reason=reason, priority=5, team="shipping", say=told)
    await until(lambda: manager.get_history(parcel.session_id, 1), lambda newest: newest[0].author == "Mei")
    async with SessionCleanup(manager, interval=0.2):  # it notices that Mei has gone
        await until(parcel.read, lambda now: now.desk.state == "open")
    await parcel.hear(texts[4])
    await parcel.answer("Your order A-10482 will leave Leeds in the morning. Have a good day!")


async def be_jonas(manager: SessionManager, cups: str) -> None:
    """He reads along, interrupts the bot, and gives the session to Mei. Later he takes over her work."""
    desk, said, bot = Desk(manager), read_conversations(), Bot(manager, cups)
    await until(bot.read, lambda now: now.metadata.get("typing"))
    await desk.answer(cups, "Jonas", said["takeover-broken-cup"][4])  # this alone takes over
    await until(bot.read, lambda now: not now.metadata.get("typing"))
    await desk.transfer(cups, "Jonas", to="Mei", note="Please pack two cups. The voucher is not wanted.")

    await until(desk.operators, lambda present: "Mei" not in [each.operator_id for each in present])
    session = await until(lambda: desk.claim_next("Jonas"), lambda claimed: claimed is not None)
    if session is not None:
        await desk.answer(session.session_id, "Jonas", said["order-late-parcel"][3])
        await desk.hand_back(session.session_id, "Jonas", note="A-10482 leaves Leeds tomorrow morning.")


async def be_mei(manager: SessionManager, cups: str) -> None:
    """She finishes what Jonas gave her, claims a session of her team, and is gone in the middle of it."""
    desk = Desk(manager)
    await until(lambda: desk.assigned("Mei"), lambda mine: [each.session_id for each in mine] == [cups])
    await desk.answer(cups, "Mei", "Hello, this is Mei. The two cups are packed.")
    await desk.hand_back(cups, "Mei", note="Two cups were sent, and the voucher was cancelled.", resolved=True)

    session = await until(lambda: desk.claim_next("Mei", teams=["shipping"]), lambda claimed: claimed is not None)
    if session is not None:
        await desk.answer(session.session_id, "Mei", "Hello, this is Mei. I am calling the depot.")
    # Here her process ends. It hands nothing back, and nobody renews her presence.


def work(operator: Callable[[SessionManager, str], Awaitable[None]], url: str, cups: str) -> None:
    """One operator, in a process of its own."""

    async def main() -> None:
        async with asyncio.timeout(PATIENCE), open_store(url) as manager:
            await operator(manager, cups)

    asyncio.run(main())


async def finish(person: BaseProcess) -> None:
    """Wait until an operator's process has ended. If it failed, nobody has to wait for what it would have done."""
    await asyncio.to_thread(person.join)
    if person.exitcode != 0:
        raise RuntimeError(f"An operator's process ended with {person.exitcode}.")


async def main(url: str) -> None:
    async with asyncio.timeout(PATIENCE), open_store(url) as manager:
        cups = Bot(manager, (await manager.create_session("anna")).session_id)
        parcel = Bot(manager, (await manager.create_session("ben")).session_id)
        spawn = multiprocessing.get_context("spawn")
        parts = [(who, url, cups.session_id) for who in (be_jonas, be_mei)]
        people = [spawn.Process(target=work, args=part, daemon=True) for part in parts]
        for person in people:
            person.start()
        try:
            async with asyncio.TaskGroup() as all_of_them:
                all_of_them.create_task(serve(manager, cups, parcel))
                for person in people:
                    all_of_them.create_task(finish(person))
        finally:
            for person in people:
                person.terminate()
        for title, bot in (("Broken cups", cups), ("The late parcel", parcel)):
            print(f"{title} (* is internal: the customer does not read it)")
            for message in await manager.get_history(bot.session_id, include_internal=True):
                mark = "*" if message.internal else " "
                print(f"{message.seq:>3} {mark} {message.author or message.sender}: {message.text}")
            print()
            await manager.delete_session(bot.session_id)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A support desk in three processes.")
    parser.add_argument("--url", help="the store; without it a temporary SQLite file")
    url = parser.parse_args().url
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(url or f"sqlite:///{folder}/desk.db"))
