"""A caller that acts as customers and their bot: it asks for people, answers in an epoch, and reads as a customer."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from chaos.editor import INTERNAL
from chaos.history import Operation, text_of
from chaos.workload import REFUSALS, Caller, Running
from chat_session import Desk

GO_ON = "+"  # ends the tag of a request that lets the AI go on
TEAMS = ("sales", "repair")
PAUSE = 0.01  # seconds between two calls

_ACTS = {"request": 10, "reply": 12, "record": 3, "check": 5, "append": 8, "read": 4, "switch": 1}


class Bot(Caller):
    """Acts for all customers of some sessions."""

    async def talk(self, sessions: Sequence[str], running: Running) -> None:
        while running():
            act = self.rng.choices(list(_ACTS), list(_ACTS.values()))[0]
            await self.do_act(act, self.rng.choice(sessions))
            await asyncio.sleep(PAUSE)

    async def only_ask(self) -> None:
        """Ask for a person in new sessions, without end."""
        number = 0
        while True:
            number += 1
            session = f"{self.name}.{number}"
            if await self.create(session, "asking"):
                await self.request(session)

    async def do_act(self, act: str, session: str) -> None:
        match act:
            case "append":
                await self.append(session)
            case "switch":  # as a process does that knows no desk
                await self.switch(session, self.rng.choice(("ai", "human")))
            case "read":
                await self.read_as_customer(session)
            case "request":
                await self.request(session)
            case _:
                await self._go_on(act, session)

    async def _go_on(self, act: str, session: str) -> None:
        """Read the epoch, take a while as a model does, and use it."""
        found = await self.get(session)
        if found is None:
            return
        await asyncio.sleep(self.rng.uniform(0, 0.02))
        if act == "reply":
            await self.append(session, epoch=found.agent_epoch)
        elif act == "record":
            await self.record(session, found.agent_epoch)
        else:
            await self.check(session, found.agent_epoch)

    async def request(self, session: str, *, team: str | None = None, priority: int | None = None) -> Operation:
        """Ask for a person. Most requests have a reason, which names the call in the marker."""
        self._sent += 1
        hold_ai = self.rng.random() < 0.8
        tag = f"{self.name}-{self._sent}" + ("" if hold_ai else GO_ON)
        has_reason = not hold_ai or self.rng.random() < 0.8
        say = text_of(session, tag) if self.rng.random() < 0.7 else None
        team = team or self.rng.choice((None, *TEAMS))
        priority = self.rng.choice((0, 0, 0, 5, 9)) if priority is None else priority
        asked: dict[str, Any] = {"tag": tag, "has_reason": has_reason, "hold_ai": hold_ai, "say": say}
        asked |= {"priority": priority, "team": team}
        with suppress(*REFUSALS), self.recorder.operation("request", session, self.name, asked=asked) as op:
            reason = text_of(session, tag) if has_reason else None
            ticket = await Desk(self.manager).request_human(
                session, reason=reason, priority=priority, team=team, say=say, hold_ai=hold_ai
            )
            since = ticket.waiting_since and ticket.waiting_since.timestamp()
            op.told = {"state": ticket.state, "place": ticket.place, "waiting_since": since}
        return op

    async def record(self, session: str, epoch: int) -> Operation:
        """Note what a tool did. It is accepted in any epoch, because what was done must be known."""
        message = self.make_message(session)
        message |= {"id": message["id"] + INTERNAL, "from": "assistant", "internal": True}
        message["text"] = text_of(session, message["id"])
        with suppress(*REFUSALS), self.recorder.operation("record", session, self.name, id=message["id"]) as op:
            op.seq = (await self.manager.add_message(session, message, epoch=epoch)).seq
        return op

    async def check(self, session: str, epoch: int) -> None:
        with suppress(*REFUSALS), self.recorder.operation("check", session, self.name, epoch=epoch):
            await self.manager.check_epoch(session, epoch)

    async def read_as_customer(self, session: str) -> None:
        """Nothing that a customer is shown is internal, or names an operator who took a step."""
        with suppress(*REFUSALS), self.recorder.operation("read", session, self.name) as op:
            for message in await self.manager.get_history(session, 50):
                if message.internal or message.type == "note" or "operatorId" in message.extra.get("handoff", {}):
                    op.mismatch = f"with the internal message {message.id}"

    def make_message(self, session: str) -> dict[str, Any]:
        return super().make_message(session) | {"from": "assistant"}
