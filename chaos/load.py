"""What callers do: writers that keep their own order, and a mixture of all calls."""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from chaos.recorder import Call, Recorder, text_of
from chat_session import (
    Conflict,
    InvalidInput,
    Session,
    SessionExists,
    SessionManager,
    SessionNotFound,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)

TTL = 3600  # outlives every proof

REFUSALS = (StoreError, Conflict, SessionExists, SessionNotFound, InvalidInput)  # all that a caller may be told

Running = Callable[[], bool]

_MIXTURE = {  # how often, beside each other
    "append": 40,
    "reply": 10,
    "switch": 10,
    "extend_session": 10,
    "read": 10,
    "update_session": 8,
    "delete_session": 4,
    "set_session_ttl": 8,
    "count": 3,
    "list": 3,
}


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
        metadata = {"of": session}
        facts: dict[str, Any] = {"user": user, "ttl": ttl, "agent": "ai", "metadata": metadata}
        try:
            with self.recorder.calling("create", session, self.name, **facts) as call:
                made = await self.manager.create_session(user, metadata, session_id=session, ttl=ttl)
                if (made.session_id, made.user_id, made.metadata) != (session, user, metadata):
                    call.strange = f"with session {made.session_id} of {made.user_id}"
        except REFUSALS:
            return False
        return True

    async def append(self, session: str, *, epoch: int | None = None, give_up: float = 0.0) -> Call:
        """Write a message, and after a fault that may pass the very same again, until it is answered.

        With the chance ``give_up`` it is not sent again, whatever has become of it.
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
                if self.dice.random() < give_up:
                    call.abandoned = error.outcome_unknown
                    return call
                [message] = error.messages
            except REFUSALS:
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
            with self.recorder.calling("switch", session, self.name, id=note_id, agent=agent, expect=expect) as call:
                call.epoch = (await self.manager.switch_agent(session, agent, expect=expect, note=note)).epoch
        except REFUSALS:
            pass
        return call

    async def switch_on(self, sessions: Sequence[str], running: Running) -> None:
        """Switch sessions by chance for as long as ``running`` says."""
        while running():
            await self.switch(self.dice.choice(sessions), self.dice.choice(("ai", "human")))

    async def read(self, session: str, limit: int = 20) -> Call:
        """The history; every message of it must belong to the session that was asked for."""
        try:
            with self.recorder.calling("history", session, self.name, limit=limit) as call:
                history = await self.manager.get_history(session, limit)
                call.count, call.seq = len(history), history[-1].seq if history else 0
                if any(later.seq != (earlier.seq or 0) + 1 for earlier, later in pairwise(history)):
                    call.strange = f"with the seqs {[message.seq for message in history]}"
                for message in history:
                    if message.text != text_of(session, message.id or ""):
                        call.strange = f"with {message.text[:80]!r}"
        except REFUSALS:
            pass
        return call

    async def sweep(self) -> int:
        """How many deaths this sweep counted; -1 if it was not answered."""
        try:
            with self.recorder.calling("sweep", "", self.name) as call:
                call.count = (await self.manager.cleanup_expired_sessions()).cleaned_count
        except REFUSALS:
            return -1
        return call.count

    async def count(self) -> None:
        """How many sessions live; it meets the same index entries as a sweep."""
        with suppress(*REFUSALS), self.recorder.calling("count", "", self.name) as call:
            call.count = await self.manager.get_active_sessions_count()

    async def list_user(self, user: str) -> None:
        """The sessions of a user."""
        with suppress(*REFUSALS), self.recorder.calling("list", "", self.name, user=user) as call:
            sessions = await self.manager.get_user_sessions(user)
            call.count = len({session.session_id for session in sessions})
            if len(sessions) != call.count or any(session.user_id != user for session in sessions):
                call.strange = f"with {[(session.session_id, session.user_id) for session in sessions]}"[:400]

    async def get(self, session: str) -> Session | None:
        """The session, or None; what it shows is noted."""
        with suppress(*REFUSALS), self.recorder.calling("get", session, self.name) as call:
            found = await self.manager.get_session(session)
            if found is not None:
                call.count, call.user, call.seq = 1, found.user_id, found.message_count
                call.agent, call.epoch = found.current_agent, found.agent_epoch
                call.ttl, call.metadata = found.ttl, found.metadata
            return found
        return None

    async def update(self, session: str, changes: dict[str, Any]) -> None:
        with suppress(*REFUSALS), self.recorder.calling("update", session, self.name, metadata=changes):
            await self.manager.update_session(session, changes)

    async def set_ttl(self, session: str, ttl: int | None) -> bool:
        """Whether it was set."""
        with suppress(*REFUSALS), self.recorder.calling("set_ttl", session, self.name, ttl=ttl):
            await self.manager.set_session_ttl(session, ttl)
            return True
        return False

    async def do(self, kind: str, session: str) -> Any:
        """Extend or delete, by the name in the manager; None if it was refused."""
        try:
            with self.recorder.calling(kind.removesuffix("_session"), session, self.name) as call:
                answer = await getattr(self.manager, kind)(session)
                call.count = int(answer is not None)
        except REFUSALS:
            return None
        return answer

    async def do_a_mixture(self, user: str, running: Running) -> None:
        """Create, append, fence, switch, extend, read, update and delete in sessions of one's own.

        By chance; and when it is over, everything that leaves a trace once more in one of the sessions. Another one
        is deleted last of all, because a list would put right what a deletion left undone.
        """
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
            kind = self.dice.choices(list(_MIXTURE), list(_MIXTURE.values()))[0]
            if kind == "delete_session":
                mine.remove(session)
            await self._do_one(kind, session, user)
        for session in mine[:1]:
            for changes in ({"mood": "calm", "tone": 1}, {"mood": "bright", "tone": None}):
                await self.update(session, changes)
            for kind in ("switch", "switch", "set_session_ttl", "extend_session", "append", "read", "count", "list"):
                await self._do_one(kind, session, user)
            await self.get(session)
        for session in mine[1:2]:
            await self.do("delete_session", session)

    async def _do_one(self, kind: str, session: str, user: str) -> None:
        match kind:
            case "append":
                await self.append(session)
            case "reply":
                await self._reply_in_epoch(session)
            case "switch":
                await self.switch(session, self.dice.choice(("ai", "human")))
            case "count":
                await self.count()
            case "list":
                await self.list_user(user)
            case "read":
                await self.read(session)
            case "update_session":
                await self.update(session, {"mood": self.dice.choice(("calm", None, "x" * 50))})
            case "set_session_ttl":
                await self.set_ttl(session, self.dice.choice((TTL, TTL * 2)))
            case _:
                await self.do(kind, session)

    async def _reply_in_epoch(self, session: str) -> None:
        """As a model's reply: read the session, then append in the epoch that was seen, or one that is over."""
        found = await self.get(session)
        if found is not None:
            stale = found.agent_epoch and self.dice.random() < 0.2
            await self.append(session, epoch=found.agent_epoch - bool(stale))
