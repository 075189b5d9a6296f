"""Claims: the only step of the desk that spans two slots.

A claim leases the first entry of the queue, assigns its session if that is as the entry says, and lets the entry
follow. If the process ends in between, the lease ends after a minute and the entry is back, or is met by the next
claim and put right.
"""

from collections.abc import Callable, Sequence

import msgspec

from chat_session import handoff
from chat_session.desk_options import DEFAULT_CAPACITY, DeskOptions
from chat_session.desk_status import DeskFacts
from chat_session.errors import DeskConflict, SessionNotFound
from chat_session.handoff import Read, Step, queue_place
from chat_session.storage.contract import Stepped
from chat_session.storage.redis.desk.entries import DeskEntries, decode_entry
from chat_session.storage.redis.desk.steps import Plan, SessionSteps
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import desk as scripts
from chat_session.storage.redis.tokens import Tokens
from chat_session.storage.redis.tries import count_tries

NAME = "claim_next"
LEASE = 60_000  # milliseconds that a claim may take


class Claims:
    """Gives waiting sessions to operators."""

    def __init__(
        self, executor: CommandExecutor, entries: DeskEntries, steps: SessionSteps, options: DeskOptions
    ) -> None:
        self._executor = executor
        self._entries = entries
        self._steps = steps
        self._presence_ms = options.presence_ms
        self._tokens = Tokens()

    async def claim(self, operator_id: str, teams: Sequence[str]) -> Stepped | None:
        """None if nobody waits. Raises OperatorFull. Meeting an entry that contradicts its session costs more."""
        for _ in count_tries(NAME, self._executor.call_timeout, "the sessions at the head of the queue did not wait"):
            lease = await self._lease(operator_id, teams)
            if lease is None:
                return None
            stepped = await self._assign(lease, operator_id)
            if stepped is not None:
                return stepped
        raise AssertionError

    async def _lease(self, operator_id: str, teams: Sequence[str]) -> scripts.Lease | None:
        token = self._tokens.take()
        call = scripts.lease_entry(
            self._entries.keys,
            operator=operator_id,
            token=token.text,
            lease_ms=LEASE,
            presence_ms=self._presence_ms,
            default_capacity=DEFAULT_CAPACITY,
            wanted=teams,
        )
        with self._tokens.answering(token):
            return await self._executor.run(NAME, call)

    async def _assign(self, lease: scripts.Lease, operator_id: str) -> Stepped | None:
        """None if the session did not wait, and its entry was put right."""
        session_id, facts = lease.session_id.decode(errors="replace"), decode_entry(lease.entry)
        read = Read(session_id, facts, facts.epoch, lease.now, lease.generation)
        step = _claim_step(operator_id, lambda read: read.facts.state == "waiting")
        if facts.state == "waiting" and (change := step.decide(read)) is not None:
            after = msgspec.structs.replace(change.facts, epoch=facts.epoch + 1)  # it keeps its ttl
            plan = Plan(lease.entry.rpartition(b"\n")[2], facts.epoch, b"*", after, None)
            try:
                applied = await self._steps.apply(step, read, plan, change)
            except SessionNotFound:
                await self._entries.forget(NAME, lease.session_id, facts.stamp)
                return None
            if applied is not None:
                return await self._steps.conclude(step, read, change, applied, 0)
        return await self._assign_by_reading(lease.session_id, operator_id, facts)

    async def _assign_by_reading(self, leased: bytes, operator_id: str, seen: DeskFacts) -> Stepped | None:
        """For a session that is not as its entry says. One that has another place in the queue by now is not taken."""
        session_id = leased.decode(errors="replace")

        def is_next(read: Read) -> bool:
            facts = read.facts
            return (facts.state, facts.team, queue_place(facts)) == ("waiting", seen.team, queue_place(seen))

        step = _claim_step(operator_id, is_next)
        try:
            return await self._steps.take_step(session_id, step)
        except SessionNotFound:
            await self._entries.forget(NAME, leased, seen.stamp)
        except DeskConflict:
            found, _ = await self._steps.read(session_id, Step(NAME, handoff.keep))
            await self._entries.plan_check(NAME, session_id)  # one that is open may be checked no more
            await self._entries.reconcile(NAME, session_id, found.facts)
        return None


def _claim_step(operator_id: str, allow: Callable[[Read], bool]) -> Step:
    decide = handoff.assign(operator_id, "claimed", allow)
    return Step(NAME, decide, actor=operator_id, holder=operator_id, is_checked=False)
