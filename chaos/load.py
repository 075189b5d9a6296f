"""What callers do: writers that keep their own order, and a mixture of all calls."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from chat_session import (
    AgentConflict,
    ChatSessionError,
    SessionManager,
    SessionNotFound,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)

from .recorder import Call, Recorder, text_of

TTL = 3600  # outlives every proof

Running = Callable[[], bool]


class Caller:
    """One user of a manager. It awaits each call, so what it writes has an order; ``name`` is its own alone."""

    def __init__(self, name: str, manager: SessionManager, recorder: Recorder, dice: random.Random) -> None:
        self.name = name
        self.manager = manager
        self.recorder = recorder
        self.dice = dice
        self._sent = 0

    async def create(self, session: str, user: str, *, ttl: int | None = TTL) -> bool:
        """Whether the session was created. After an unknown outcome it may be there all the same."""
        facts = {"user": user, "ttl": ttl}
        try:
            with self.recorder.calling("create", session, self.name, **facts) as call:
                made = await self.manager.create_session(user, {"of": session}, session_id=session, ttl=ttl)
                if (made.session_id, made.user_id) != (session, user):
                    call.strange = f"with session {made.session_id} of {made.user_id}"
        except ChatSessionError:
            return False
        return True

    async def append(self, session: str, *, epoch: int | None = None, give_up: float = 0.0) -> Call:
        """Write a message, and after a fault that may pass the very same again, until it is answered.

        With the chance ``give_up`` a message of unknown outcome is left at that.
        """
        self._sent += 1
        message_id = f"{self.name}-{self._sent}"
        message: Any = {"id": message_id, "from": "user", "text": text_of(session, message_id)}
        while True:
            try:
                with self.recorder.calling("append", session, self.name, id=message_id, epoch=epoch) as call:
                    result = await self.manager.add_message(session, message, epoch=epoch)
                    call.seq = result.seq
                    if (result.message_id, result.message.text) != (message_id, text_of(session, message_id)):
                        call.strange = f"with message {result.message_id} {result.message.text[:60]!r}"
                return call
            except (StoreUnavailable, StoreReadOnly) as error:
                if error.outcome_unknown and self.dice.random() < give_up:
                    call.abandoned = True
                    return call
                [message] = error.messages
            except ChatSessionError:
                return call

    async def write(self, sessions: Sequence[str], running: Running, *, give_up: float = 0.0) -> None:
        """Append to sessions by chance for as long as ``running`` says."""
        while running():
            await self.append(self.dice.choice(sessions), give_up=give_up)

    async def switch(self, session: str, agent: Any, *, expect: int | None = None) -> Call:
        """Switch with a note, which marks in the history where the epoch begins."""
        self._sent += 1
        note_id = f"{self.name}-{self._sent}"
        note = {"id": note_id, "from": "system", "text": text_of(session, note_id)}
        try:
            with self.recorder.calling("switch", session, self.name, id=note_id, expect=expect) as call:
                call.epoch = (await self.manager.switch_agent(session, agent, expect=expect, note=note)).epoch
        except ChatSessionError:
            pass
        return call

    async def read(self, session: str, limit: int = 20) -> Call:
        """The history; every message of it must belong to the session that was asked for."""
        try:
            with self.recorder.calling("history", session, self.name) as call:
                for message in await self.manager.get_history(session, limit):
                    if message.text != text_of(session, message.id or ""):
                        call.strange = f"with {message.text[:80]!r}"
        except ChatSessionError:
            pass
        return call

    async def sweep(self) -> int:
        """How many deaths this sweep counted; -1 if it was not answered."""
        try:
            with self.recorder.calling("sweep", "", self.name) as call:
                call.count = (await self.manager.cleanup_expired_sessions()).cleaned_count
        except ChatSessionError:
            return -1
        return call.count

    async def do(self, kind: str, session: str, *facts: Any) -> Any:
        """Any other call by its name in the manager; None if it was refused."""
        try:
            with self.recorder.calling(kind.split("_", maxsplit=1)[0], session, self.name):
                return await getattr(self.manager, kind)(session, *facts)
        except ChatSessionError:
            return None

    async def do_a_mixture(self, user: str, running: Running) -> None:
        """Create, append, fence, switch, extend, read, update and delete in sessions of one's own."""
        mine: list[str] = []
        made = 0
        while running():
            if not mine or (len(mine) < 8 and self.dice.random() < 0.1):
                made += 1
                session = f"{self.name}.{made}"
                if await self.create(session, user):
                    mine.append(session)
                continue
            session = self.dice.choice(mine)
            match self.dice.choices(range(8), (40, 10, 10, 10, 10, 8, 4, 8))[0]:
                case 0:
                    await self.append(session)
                case 1:
                    await self._reply_in_epoch(session)
                case 2:
                    await self.switch(session, self.dice.choice(("ai", "human")))
                case 3:
                    await self.do("extend_session", session)
                case 4:
                    await self.read(session)
                case 5:
                    await self.do("update_session", session, {"mood": self.dice.choice(("calm", None, "x" * 50))})
                case 6:
                    mine.remove(session)
                    await self.do("delete_session", session)
                case _:
                    await self.do("set_session_ttl", session, self.dice.choice((TTL, TTL * 2)))

    async def _reply_in_epoch(self, session: str) -> None:
        """As a model's reply: read the session, then append in the epoch that was seen, or one that is over."""
        found = await self.do("get_session", session)
        if found is not None:
            stale = found.agent_epoch and self.dice.random() < 0.2
            await self.append(session, epoch=found.agent_epoch - bool(stale))


REFUSALS = (AgentConflict, SessionNotFound, StoreFull)
