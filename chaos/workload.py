"""What callers do: writers that await each call, and a mixture of all calls."""

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from chaos.history import Operation, Recorder, text_of
from chat_session import (
    Conflict,
    InvalidInput,
    Message,
    MessageNotFound,
    Session,
    SessionExists,
    SessionManager,
    SessionNotFound,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)

TTL = 3600  # longer than every fault test

# the errors that a caller may get
REFUSALS = (StoreError, Conflict, SessionExists, SessionNotFound, MessageNotFound, InvalidInput)

Running = Callable[[], bool]

_MIXTURE = {  # how often each call is chosen, relative to the others
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
    """One user of a manager. It awaits each call, so its writes have an order. No other caller has its ``name``."""

    def __init__(self, name: str, manager: SessionManager, recorder: Recorder, rng: random.Random) -> None:
        self.name = name
        self.manager = manager
        self.recorder = recorder
        self.rng = rng
        self._sent = 0

    async def create(self, session: str, user: str, *, ttl: int | None = TTL) -> bool:
        """Whether the session was created. If False after an unknown outcome, it may exist nevertheless."""
        metadata = {"of": session}
        facts: dict[str, Any] = {"user": user, "ttl": ttl, "agent": "ai", "metadata": metadata}
        try:
            with self.recorder.operation("create", session, self.name, **facts) as op:
                made = await self.manager.create_session(user, metadata, session_id=session, ttl=ttl)
                if (made.session_id, made.user_id, made.metadata) != (session, user, metadata):
                    op.mismatch = f"with session {made.session_id} of {made.user_id}"
        except REFUSALS:
            return False
        return True

    async def append(self, session: str, *, epoch: int | None = None, give_up: float = 0.0) -> Operation:
        """Write a message. After a retryable error the same message is sent again, until it is answered.

        With the chance ``give_up`` it is not sent again, although nobody knows whether it was stored.
        """
        message: Any = self.make_message(session)
        message_id = message["id"]
        while True:
            try:
                with self.recorder.operation("append", session, self.name, id=message_id, epoch=epoch) as op:
                    result = await self.manager.add_message(session, message, epoch=epoch)
                    op.seq = result.seq
                    if result.message_id != message_id or not self.is_as_sent(session, result.message):
                        op.mismatch = f"with message {result.message_id} {result.message.text[:60]!r}"
                return op
            except (StoreUnavailable, StoreReadOnly) as error:
                if self.rng.random() < give_up:
                    op.abandoned = error.outcome_unknown
                    return op
                [message] = error.messages
            except REFUSALS:
                return op

    def make_message(self, session: str) -> dict[str, Any]:
        """The next message of this caller."""
        self._sent += 1
        message_id = f"{self.name}-{self._sent}"
        return {"id": message_id, "from": "user", "text": text_of(session, message_id)}

    def is_as_sent(self, session: str, message: Message) -> bool:
        """Whether a message that an append returned is the one that was sent."""
        return message.text == text_of(session, message.id or "")

    async def write(self, sessions: Sequence[str], running: Running, *, give_up: float = 0.0) -> None:
        """Append to randomly chosen sessions while ``running`` returns true."""
        while running():
            await self.append(self.rng.choice(sessions), give_up=give_up)

    async def switch(self, session: str, agent: Any, *, expect: int | None = None) -> Operation:
        """Switch with a note. The note marks in the history where the epoch begins."""
        self._sent += 1
        note_id = f"{self.name}-{self._sent}"
        note = {"id": note_id, "from": "system", "text": text_of(session, note_id)}
        try:
            with self.recorder.operation("switch", session, self.name, id=note_id, agent=agent, expect=expect) as op:
                op.epoch = (await self.manager.switch_agent(session, agent, expect=expect, note=note)).epoch
        except REFUSALS:
            pass
        return op

    async def switch_on(self, sessions: Sequence[str], running: Running) -> None:
        """Switch randomly chosen sessions while ``running`` returns true."""
        while running():
            await self.switch(self.rng.choice(sessions), self.rng.choice(("ai", "human")))

    async def read(self, session: str, limit: int = 20) -> Operation:
        """Read the history. Each of its messages must belong to the session that was asked for."""
        try:
            with self.recorder.operation("history", session, self.name, limit=limit) as op:
                history = await self.manager.get_history(session, limit)
                op.count, op.seq = len(history), history[-1].seq if history else 0
                if any(later.seq != (earlier.seq or 0) + 1 for earlier, later in pairwise(history)):
                    op.mismatch = f"with the seqs {[message.seq for message in history]}"
                for message in history:
                    if message.text != text_of(session, message.id or ""):
                        op.mismatch = f"with {message.text[:80]!r}"
        except REFUSALS:
            pass
        return op

    async def sweep(self) -> int:
        """How many deaths this sweep counted; -1 if it was not answered."""
        try:
            with self.recorder.operation("sweep", "", self.name) as op:
                op.count = (await self.manager.cleanup_expired_sessions()).cleaned_count
        except REFUSALS:
            return -1
        return op.count

    async def count(self) -> None:
        """Count the living sessions. A count reads the same index entries as a sweep."""
        with suppress(*REFUSALS), self.recorder.operation("count", "", self.name) as op:
            op.count = await self.manager.get_active_sessions_count()

    async def list_user(self, user: str) -> None:
        """List the sessions of a user."""
        with suppress(*REFUSALS), self.recorder.operation("list", "", self.name, user=user) as op:
            sessions = await self.manager.get_user_sessions(user)
            op.count = len({session.session_id for session in sessions})
            if len(sessions) != op.count or any(session.user_id != user for session in sessions):
                op.mismatch = f"with {[(session.session_id, session.user_id) for session in sessions]}"[:400]

    async def get(self, session: str) -> Session | None:
        """Read the session, and record what it shows. None if there is none, or after an error."""
        with suppress(*REFUSALS), self.recorder.operation("get", session, self.name) as op:
            found = await self.manager.get_session(session)
            if found is not None:
                op.count, op.user, op.seq = 1, found.user_id, found.message_count
                op.agent, op.epoch = found.current_agent, found.agent_epoch
                op.ttl, op.metadata = found.ttl, found.metadata
            return found
        return None

    async def update(self, session: str, changes: dict[str, Any]) -> None:
        with suppress(*REFUSALS), self.recorder.operation("update", session, self.name, metadata=changes):
            await self.manager.update_session(session, changes)

    async def set_ttl(self, session: str, ttl: int | None) -> bool:
        """Whether it was set."""
        with suppress(*REFUSALS), self.recorder.operation("set_ttl", session, self.name, ttl=ttl):
            await self.manager.set_session_ttl(session, ttl)
            return True
        return False

    async def do(self, kind: str, session: str) -> Any:
        """Extend or delete, by the name of the manager's method. None after an error."""
        try:
            with self.recorder.operation(kind.removesuffix("_session"), session, self.name) as op:
                answer = await getattr(self.manager, kind)(session)
                op.count = int(answer is not None)
        except REFUSALS:
            return None
        return answer

    async def do_a_mixture(self, user: str, running: Running) -> None:
        """All kinds of calls in random order, in sessions that no other caller uses.

        At the end, one session gets each kind of write once more, so that each has left its trace when the checker
        looks. Another session is deleted last of all, because a list would repair what a deletion left undone.
        """
        mine: list[str] = []
        made = 0
        while running():
            if not mine or (len(mine) < 8 and self.rng.random() < 0.1):
                made += 1
                session = f"{self.name}.{made}"
                if await self.create(session, user):
                    mine.append(session)
                continue
            session = self.rng.choice(mine)
            kind = self.rng.choices(list(_MIXTURE), list(_MIXTURE.values()))[0]
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
                await self.switch(session, self.rng.choice(("ai", "human")))
            case "count":
                await self.count()
            case "list":
                await self.list_user(user)
            case "read":
                await self.read(session)
            case "update_session":
                await self.update(session, {"mood": self.rng.choice(("calm", None, "x" * 50))})
            case "set_session_ttl":
                await self.set_ttl(session, self.rng.choice((TTL, TTL * 2)))
            case _:
                await self.do(kind, session)

    async def _reply_in_epoch(self, session: str) -> None:
        """Like the reply of a model: read the session, then append in the epoch that was read, or in an older one."""
        found = await self.get(session)
        if found is not None:
            stale = found.agent_epoch and self.rng.random() < 0.2
            await self.append(session, epoch=found.agent_epoch - bool(stale))
