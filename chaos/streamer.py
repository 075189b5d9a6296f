"""A caller whose replies grow: it takes the turn of a session and streams a reply of some length."""

import asyncio
from contextlib import suppress

from chaos.reply_text import beginning_of
from chaos.workload import REFUSALS, Caller
from chat_session import ChatSessionError, Turn
from chat_session.replies import Reply

LEASE = 1.0  # seconds
WORDS = (1, 60)  # of a reply
PIECE = 12  # code points at most that are written at once
PAUSE = 0.01  # seconds at most between two pieces
BREAKS_OFF = 0.15  # of the replies
SHOWN = 5  # pieces, before one without an end says that it grows


class BrokenOff(ChatSessionError):
    """The producer gives a reply up. It counts as an answer: nothing may be stored."""


class Streamer(Caller):
    """``without_end``: a reply grows until its turn is lost. It says so by an operation "hold"."""

    without_end = False

    async def stream(self, session: str) -> None:
        """One reply in a turn of its own; nothing if another has the turn, or a person the session."""
        with suppress(*REFUSALS, BrokenOff):
            async with self.manager.turn(session, lease=LEASE) as turn:
                await self._reply(turn)

    async def _reply(self, turn: Turn) -> None:
        reply = turn.stream(author="bot")
        facts = {"id": reply.id, "epoch": turn.epoch, "asked": {"stream": True}}
        with self.recorder.operation("append", turn.session_id, self.name, **facts) as op:
            async with reply:
                await self._write(turn.session_id, reply)
            op.seq = reply.result.seq if reply.result else None

    async def _write(self, session: str, reply: Reply) -> None:
        text = beginning_of(session, reply.id, 20_000 if self.without_end else self.rng.randint(*WORDS))
        last = int(len(text) * self.rng.random()) if self.rng.random() < BREAKS_OFF else len(text)
        pieces = begin = 0
        while begin < last:
            end = min(begin + self.rng.randint(1, PIECE), last)
            await reply.write(text[begin:end])
            begin, pieces = end, pieces + 1
            await asyncio.sleep(self.rng.uniform(0, PAUSE))
            if self.without_end and pieces == SHOWN:
                self.recorder.note("hold", session, self.name, asked={"reply": reply.id})
        if last < len(text):
            raise BrokenOff(f"reply {reply.id} is broken off")
