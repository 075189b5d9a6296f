"""A step of the desk on Redis, in three round trips: read, change, reconcile.

First the session is read and the operator's presence renewed. Then the session changes in one step, if it is as it
was read; before that a check of it is planned. Then its entry in the slot of the desk follows. If the process ends in
between, the planned check puts the entry right.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from chat_session.clock import now, to_iso
from chat_session.desk_figures import counts_of
from chat_session.desk_status import DeskFacts
from chat_session.errors import DeskConflict, SessionNotFound, StoreError
from chat_session.handoff import Change, Read, Step, adopt, complete, keep
from chat_session.storage.codec import encode_message
from chat_session.storage.contract import Appended, Stepped
from chat_session.storage.redis.codec import encode_ttl
from chat_session.storage.redis.desk.entries import DeskEntries
from chat_session.storage.redis.desk.facts import Found, encode_rest, find
from chat_session.storage.redis.index.entries import Index
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.messages import read_appended
from chat_session.storage.redis.net.commands import Call, Command
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import desk as scripts
from chat_session.storage.redis.tokens import Tokens
from chat_session.storage.redis.tries import count_tries
from chat_session.storage.redis.turn_entries import TurnEntries

T = TypeVar("T")


class Plan(NamedTuple):
    """What is to be written, and what must be as it was read. The ttl is as it is stored."""

    seen_facts: bytes  # as they are stored, empty if there are none
    seen_epoch: int
    seen_ttl: bytes  # * if any will do
    facts: DeskFacts | None  # None: they stay
    ttl: int | None  # None: it stays
    is_shorter: bool = False  # the new deadline comes before the old one
    user_id: str = ""  # whose session it is, if the deadline gets shorter
    has_turns: bool = False  # whether workers find its turns


class Applied(NamedTuple):
    """The session after a change, and what became of the change's messages; the operator's is the last."""

    found: Found
    appended: Sequence[Appended]


class SessionSteps:
    """Takes steps of the desk on sessions."""

    def __init__(
        self,
        executor: CommandExecutor,
        keys: Keys,
        index: Index,
        entries: DeskEntries,
        turn_entries: TurnEntries,
        *,
        presence_ms: int,
        on_cluster: bool,
        default_ttl: int,
        max_history: int,
    ) -> None:
        self._executor = executor
        self._keys = keys
        self._index = index
        self.entries = entries
        self.turn_entries = turn_entries
        self.waiting_ttl = entries.waiting_ttl
        self._presence_ms = presence_ms
        self._tokens = Tokens()
        self._on_cluster = on_cluster
        self._default_ttl = default_ttl
        self._max_history = max_history

    async def take_step(self, session_id: str, step: Step) -> Stepped:
        obstacle = f"others changed who has session {session_id!r}"
        for _ in count_tries(step.name, self._executor.call_timeout, obstacle, session_id):
            found, presence = await self.read(session_id, step)
            read = found.read(presence)
            try:
                change = step.decide(read)
            except DeskConflict:
                if step.message is None or (stepped := await self._find_repeat(step, found, read)) is None:
                    raise
                return stepped
            if change is None and step.message is None:
                return Stepped(found.session, read, None, await self._follow(step.name, found))
            plan = self._plan(found, read, change)
            applied = await self.apply(step, read, plan, change)
            if applied is not None:
                return await self.conclude(step, read, change, applied, found.created)
        raise AssertionError

    async def _follow(self, name: str, found: Found) -> int:
        """Let the entry follow a session that is not to change: a step before may have crashed. The place in the queue.

        One that is open, or was switched without the desk, may be checked no more: then nothing would remove the entry.
        """
        if not found.stored:
            return 0
        session_id, facts = found.session.session_id, found.facts
        if facts.state == "open" or found.is_bypassed:
            await self.entries.plan_check(name, session_id)
        return (await self.entries.reconcile(name, session_id, facts)).place

    async def follow_switch(self, session_id: str) -> None:
        """The agent was switched without the desk. If this fails, a check does it within ten minutes."""
        with suppress(StoreError, SessionNotFound):
            await self.entries.plan_check("switch_agent", session_id)  # one that was open may be checked no more
            await self.put_right("switch_agent", session_id)

    async def put_right(self, name: str, session_id: str) -> Found:
        """Make what the desk stores of the session, and its entry, what the session says. Raises SessionNotFound."""
        found, _ = await self.read(session_id, Step(name, keep))
        if found.is_bypassed or found.lives_too_short(self.waiting_ttl):
            await self.take_step(session_id, Step(name, adopt))
            found, _ = await self.read(session_id, Step(name, keep))
        await self.entries.reconcile(name, session_id, found.facts)
        return found

    async def read(self, session_id: str, step: Step) -> tuple[Found, int]:
        """The session, and the generation of the presence of ``step.holder``. Raises SessionNotFound, StoreCorrupt."""
        keys = self._keys.session(session_id)
        commands: list[Command[Any]] = [scripts.read_desk(session_id, keys)]
        if step.actor is not None:
            commands.append(self._renewal(step.actor, is_sign=1))
        if step.holder not in (None, step.actor):
            commands.append(self._renewal(step.holder, is_sign=0))
        [(fields, moment), *renewed] = await self._executor.run_all(step.name, commands)
        found = find(keys.meta, fields, moment, self._default_ttl)
        return found, renewed[-1].generation if step.holder is not None else 0

    def _renewal(self, operator: str, *, is_sign: int) -> Command[scripts.Presence]:
        return scripts.renew_presence(
            self.entries.keys,
            operator=operator,
            lease_ms=self._presence_ms,
            is_sign=is_sign,
            capacity="",
            available="",
        )

    def _plan(self, found: Found, read: Read, change: Change | None) -> Plan:
        if change is None:
            return Plan(found.stored, read.epoch, b"*", None, None)
        before = found.stored_ttl
        facts, ttl = complete(read, change, before, self.waiting_ttl)
        if ttl == before:
            return Plan(found.stored, read.epoch, found.ttl, facts, None, has_turns=found.session.turns)
        is_shorter = ttl is not None and (before is None or ttl < before)
        session = found.session
        return Plan(
            found.stored, read.epoch, found.ttl, facts, encode_ttl(ttl), is_shorter, session.user_id, session.turns
        )

    async def _find_repeat(self, step: Step, found: Found, read: Read) -> Stepped | None:
        """If the operator's message is stored: this call was done before, and others have the session since.

        Raises MessageConflict.
        """
        nothing = Plan(found.stored, -1, b"*", None, None)  # no session is at that epoch
        applied = await self.apply(step, read, nothing, None)
        return None if applied is None else Stepped(applied.found.session, read, None, 0, applied.appended[-1])

    async def apply(self, step: Step, read: Read, plan: Plan, change: Change | None) -> Applied | None:
        """None if the session was not as it was read. Raises SessionNotFound, MessageConflict."""
        if plan.is_shorter:
            return await self._index.shorten(
                step.name, read.session_id, plan.user_id, lambda found: self._send(step, read, plan, change, found)
            )
        return await self._send(step, read, plan, change, ())

    async def _send(
        self, step: Step, read: Read, plan: Plan, change: Change | None, deadlines: Sequence[bytes]
    ) -> Applied | None:
        session_id, keys = read.session_id, self._keys.session(read.session_id)
        drafts = [*(change.messages if change else ()), *([step.message] if step.message else ())]
        token = self._tokens.take()
        call = scripts.step_desk(
            session_id,
            keys,
            deadlines,
            now="" if step.decide is adopt else to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            seen_facts=plan.seen_facts,
            seen_epoch=plan.seen_epoch,
            seen_ttl=plan.seen_ttl,
            facts=b"" if plan.facts is None else encode_rest(plan.facts),
            new_agent=(change.agent if change else None) or "",
            new_ttl="" if plan.ttl is None else plan.ttl,
            token=token.text,
            answered_below=token.answered_below,
            own=int(step.message is not None),
            elements=[encode_message(draft) for draft in drafts],
        )
        with self._tokens.answering(token):
            first = [self.entries.check_call(session_id)] if step.is_checked and _moves(read, change) else []
            if plan.has_turns and change is not None and change.agent == "ai":  # a question may be left to the AI
                first.append(self.turn_entries.call(session_id))
            done = await self._send_after(step.name, first, call)
        if done is None:
            return None
        fields, stored = done
        return Applied(find(keys.meta, fields, read.now, self._default_ttl), read_appended(drafts, stored))

    async def _send_after(self, name: str, first: Sequence[Call[None]], call: Command[T]) -> T:
        """Write index entries first: on one server in the same round trip, on a cluster in one before."""
        if self._on_cluster and first:
            await self._executor.run_all(name, first)
            first = ()
        commands: list[Command[Any]] = [*first, call]
        done: T = (await self._executor.run_all(name, commands))[-1]
        return done

    async def conclude(self, step: Step, read: Read, change: Change | None, applied: Applied, created: int) -> Stepped:
        """Let the entry of the session follow, where it is to change."""
        found, place = applied.found, 0
        appended = applied.appended[-1] if step.message is not None else None
        if appended is not None and appended.duplicate:
            change = None
            # The reply may have been lost, and the step taken by the call before: then the entry has not followed.
            await self._reconcile_taken(step, read, found)
        counted = [] if change is None else counts_of(read, change, created)
        if counted or _moves(read, change):
            place = await self._reconcile_taken(step, read, found, counted)
        return Stepped(found.session, read, change, place, appended)

    async def _reconcile_taken(
        self, step: Step, read: Read, found: Found, counted: Sequence[tuple[int, str]] = ()
    ) -> int:
        """The place in the queue. The step is taken: an error here must not say that nothing was done."""
        try:
            return (await self.entries.reconcile(step.name, read.session_id, found.facts, counted)).place
        except StoreError as error:
            error.mark_changed()
            raise


def _moves(read: Read, change: Change | None) -> bool:
    """Whether the entry of the session has to follow: an answer alone leaves it where it is."""
    return change is not None and (change.event is not None or change.facts.presence != read.facts.presence)
