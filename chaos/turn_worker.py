"""A caller that acts as a worker: it finds sessions with unanswered messages, takes their turns, and replies in rounds.

Each reply that answers a round names its turn and the messages of the round, in the extra fields of the message. So the
transcript alone says what was answered by whom. A second reply of the same round names no messages.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from chaos.editor import INTERNAL
from chaos.history import text_of
from chaos.workload import REFUSALS, Caller
from chat_session import Message, Turn, TurnLost

LEASE = 1.0  # seconds
LONG_THOUGHT = 2 * LEASE  # of one that is LATE
THINKING, TOOL = 0.02, 0.2  # seconds at most between the begin of a round and its reply, and more if a tool runs
RECORDED, SAID_MORE = 0.2, 0.3  # of the rounds, in how many a tool is recorded, and a second reply follows
WAITS, DEBOUNCES = (0.0, 0.0, 0.1), (0.0, 0.0, 0.02)  # seconds
ANY, BEFORE, AFTER, LATE = "any", "before", "after", "late"
SHOWN = 20  # ids of a round that a hold names


class TurnWorker(Caller):
    """Answers whatever session waits, without end.

    ``stops``: where it stops, so that it can be killed or frozen there. BEFORE or AFTER its first reply it stands
    still; one that is LATE thinks for twice its lease; ANY does not stop. Each stop is an operation "hold", with the
    ids of the round.
    """

    stops = ANY

    async def work(self) -> None:
        while True:
            with suppress(*REFUSALS):  # after an error of the store it asks again
                async for session in self.manager.wait_for_turns():
                    await self.answer(session)

    async def answer(self, session: str) -> None:
        """One turn. A turn that is lost or that another worker has ends without a reply."""
        tag = self._take_id()
        wait, debounce = self.rng.choice(WAITS), self.rng.choice(DEBOUNCES)
        with suppress(*REFUSALS), ExitStack() as taking:
            operation = self.recorder.operation("take", session, self.name, asked={"turn": tag, "lease": LEASE})
            op = taking.enter_context(operation)
            async with self.manager.turn(session, lease=LEASE, wait=wait, debounce=debounce) as turn:
                op.epoch = turn.epoch
                taking.close()
                async for messages in turn:
                    await self._answer_round(turn, tag, messages)

    async def _answer_round(self, turn: Turn, tag: str, messages: Sequence[Message]) -> None:
        ids = [message.id or "" for message in messages]
        try:
            await self._think(turn, tag, ids)
            await self._reply(turn, tag, ids)
        except asyncio.CancelledError:  # the turn is lost; it writes all the same
            with suppress(TurnLost):
                await self._reply(turn, tag, ids)
            await self._record(turn, tag)
            raise
        except TurnLost:
            await self._record(turn, tag)
            raise
        if self.stops == AFTER:
            await self._stand_still(turn, tag, ids)
        if self.rng.random() < SAID_MORE:
            await self._reply(turn, tag, ())

    async def _think(self, turn: Turn, tag: str, ids: Sequence[str]) -> None:
        if self.stops == BEFORE:
            await self._stand_still(turn, tag, ids)
        elif self.stops == LATE:
            self._tell_hold(turn, tag, ids)
            await asyncio.sleep(LONG_THOUGHT)
        else:
            await asyncio.sleep(self.rng.uniform(0, THINKING))
            if self.rng.random() < RECORDED:
                await self._record(turn, tag)
                await asyncio.sleep(self.rng.uniform(0, TOOL))

    async def _stand_still(self, turn: Turn, tag: str, ids: Sequence[str]) -> None:
        self._tell_hold(turn, tag, ids)
        await asyncio.Event().wait()

    def _tell_hold(self, turn: Turn, tag: str, ids: Sequence[str]) -> None:
        facts = {"ids": list(ids[:SHOWN]), "asked": {"turn": tag}}
        with self.recorder.operation("hold", turn.session_id, self.name, **facts):
            pass

    async def _reply(self, turn: Turn, tag: str, answers: Sequence[str]) -> None:
        session, reply_id = turn.session_id, self._take_id()
        facts = {"id": reply_id, "epoch": turn.epoch, "asked": {"turn": tag}}
        reply = {"id": reply_id, "text": text_of(session, reply_id), "turn": tag, "replyTo": list(answers)}
        with self.recorder.operation("append", session, self.name, **facts) as op:
            result = await turn.reply(reply)
            op.seq = result.seq
            if result.message_id != reply_id or not self.is_as_sent(session, result.message):
                op.mismatch = f"with message {result.message_id} {result.message.text[:60]!r}"

    async def _record(self, turn: Turn, tag: str) -> None:
        session, record_id = turn.session_id, self._take_id() + INTERNAL
        facts = {"id": record_id, "asked": {"turn": tag}}
        with self.recorder.operation("record", session, self.name, **facts) as op:
            op.seq = (await turn.record({"id": record_id, "text": text_of(session, record_id)})).seq

    def _take_id(self) -> str:
        self._sent += 1
        return f"{self.name}-{self._sent}"
