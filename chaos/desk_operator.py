"""A caller that acts as one operator of the desk.

Of each step, ``asked`` of its operation has what the call gave: ``tag``, which is in the text of its note or sentence,
``say``, ``to``, ``team``, ``teams``. ``told`` has what it was answered of the session: ``state``, ``operator``,
``epoch``, ``team``, ``priority``, and ``since`` and ``waiting_since`` in seconds since 1970.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from chaos.desk_bot import TEAMS
from chaos.history import Operation, text_of
from chaos.workload import REFUSALS, Caller, Running
from chat_session import Desk, Session, StoreUnavailable

OPERATORS = ("o0", "o1", "o2", "o3")  # to whom sessions are transferred
CAPACITY = 8
REPEATED, KEPT = 0.1, 10  # of the answers, how many are repeats of one of the last ones, and of how many
PAUSE = 0.01  # seconds between two calls
HOLDING = 0.2  # of one who answers a single session

_ACTS = {
    "claim": 30,
    "answer": 20,
    "hand back": 10,
    "transfer": 6,
    "decline": 5,
    "note": 5,
    "take over": 5,
    "barge in": 4,
    "seen": 3,
}


class OperatorCaller(Caller):
    """``name`` is the operator's id, which no other caller has."""

    def __init__(self, *facts: Any) -> None:
        super().__init__(*facts)
        self._sent_before: list[tuple[str, Any]] = []  # answers, with their sessions; the newest first

    async def work(self, sessions: Sequence[str], running: Running) -> None:
        """Claim, answer, and all the rest, in random order."""
        await self.seen(CAPACITY)
        mine: set[str] = set()
        while running():
            act = self.rng.choices(list(_ACTS), list(_ACTS.values()))[0]
            session = self.rng.choice(sorted(mine)) if mine and self.rng.random() < 0.9 else self.rng.choice(sessions)
            await self._do_act(act, session, sessions, mine)
            await asyncio.sleep(PAUSE)

    async def only_claim(self) -> None:
        """Claim without end."""
        await self.seen(10_000)
        while True:
            if not (await self.claim()).session:
                await asyncio.sleep(PAUSE)

    async def hold_one(self, team: str) -> None:
        """Claim a session of this team, and answer it without end, whoever has it by then."""
        session = ""
        while not session:
            session = (await self.claim([team])).session
        while True:
            await self.answer(session)
            await asyncio.sleep(HOLDING)

    async def _do_act(self, act: str, session: str, sessions: Sequence[str], mine: set[str]) -> None:
        match act:
            case "claim":
                op = await self.claim(self.rng.choice(((), (), TEAMS[:1], TEAMS)))
            case "barge in":
                op = await self.answer(self.rng.choice(sessions))
                op.told.setdefault("operator", self.name if op.outcome == "ok" else "")
            case "take over":
                op = await self.take_over(self.rng.choice(sessions), self.rng.choice((None, "waiting")))
            case "answer":
                op = await self.answer(session, polite=self.rng.random() < 0.7)
            case "seen":
                op = await self.seen(CAPACITY)
            case "transfer":
                op = await self.transfer(session)
            case _:
                op = await {"hand back": self.hand_back, "decline": self.decline, "note": self.note}[act](session)
        if op.told.get("operator") == self.name:
            mine.add(op.session)
        elif act not in ("seen", "note") and not (act == "answer" and op.outcome == "ok"):
            mine.discard(op.session)

    async def claim(self, teams: Sequence[str] = ()) -> Operation:
        """The session of the operation is the one that was claimed, "" if nobody waited."""
        with suppress(*REFUSALS), self._step("claim", "", teams=list(teams)) as op:
            session = await Desk(self.manager).claim_next(self.name, teams=teams)
            if session is not None:
                op.session = session.session_id
                op.told = _told(session)
        return op

    async def take_over(self, session: str, expect: str | int | None = None) -> Operation:
        with suppress(*REFUSALS), self._step("take over", session) as op:
            op.told = _told(await Desk(self.manager).take_over(session, self.name, expect=expect))
        return op

    async def answer(self, session: str, *, polite: bool = False) -> Operation:
        """After a retryable error the same message is sent once more. Some are sent again long after."""
        message: Any = self.make_message(session) | {"from": "operator"}
        if self._sent_before and self.rng.random() < REPEATED:
            session, message = self._sent_before.pop()
        else:
            self._sent_before[:] = (session, message), *self._sent_before[:KEPT]
        for _ in range(2):
            try:
                with self._step("answer", session, id=message["id"], polite=polite) as op:
                    result = await Desk(self.manager).answer(session, self.name, message, polite=polite)
                    op.seq = result.seq
                    if result.message_id != message["id"] or not self.is_as_sent(session, result.message):
                        op.mismatch = f"with message {result.message_id} {result.message.text[:60]!r}"
                return op
            except StoreUnavailable:
                continue
            except REFUSALS:
                return op
        return op

    async def note(self, session: str) -> Operation:
        tag = self._take_tag()
        with suppress(*REFUSALS), self._step("note", session, tag=tag) as op:
            result = await Desk(self.manager).note(session, self.name, text_of(session, tag))
            op.seq = result.seq
        return op

    async def transfer(self, session: str) -> Operation:
        tag = self._take_tag()
        to = self.rng.choice([each for each in OPERATORS if each != self.name]) if self.rng.random() < 0.5 else None
        team = None if to is not None else self.rng.choice(TEAMS)
        with suppress(*REFUSALS), self._step("transfer", session, tag=tag, to=to, team=team) as op:
            note = text_of(session, tag)
            op.told = _told(await Desk(self.manager).transfer(session, self.name, to=to, team=team, note=note))
        return op

    async def decline(self, session: str) -> Operation:
        with suppress(*REFUSALS), self._step("decline", session) as op:
            op.told = _told(await Desk(self.manager).decline(session, self.name))
        return op

    async def hand_back(self, session: str) -> Operation:
        tag = self._take_tag()
        say = text_of(session, tag) if self.rng.random() < 0.6 else None
        note = text_of(session, tag) if self.rng.random() < 0.6 else None
        with suppress(*REFUSALS), self._step("hand back", session, tag=tag, say=say) as op:
            op.told = _told(await Desk(self.manager).hand_back(session, self.name, note=note, say=say))
        return op

    async def seen(self, capacity: int | None = None) -> Operation:
        with suppress(*REFUSALS), self._step("seen", "") as op:
            await Desk(self.manager).operator_seen(self.name, capacity=capacity)
        return op

    def _step(self, kind: str, session: str, *, id: str = "", **asked: Any) -> AbstractContextManager[Operation]:  # noqa: A002 - as in Operation
        return self.recorder.operation(kind, session, self.name, id=id, asked=asked)

    def _take_tag(self) -> str:
        self._sent += 1
        return f"{self.name}-{self._sent}"


def _told(session: Session) -> dict[str, Any]:
    desk = session.desk
    return {
        "state": desk.state,
        "operator": desk.operator_id,
        "epoch": session.agent_epoch,
        "team": desk.team,
        "priority": desk.priority,
        "since": desk.since and desk.since.timestamp(),
        "waiting_since": desk.waiting_since and desk.waiting_since.timestamp(),
    }
