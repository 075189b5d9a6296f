"""Desk: where people take over from the AI, on the manager's store and through the same guard."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from chat_session import handoff
from chat_session.checks import brief, check_integer, check_name, check_text
from chat_session.desk_feed import watch_desk
from chat_session.desk_results import DeskEntry, DeskPage, DeskStats, Operator, Ticket
from chat_session.desk_status import HIGHEST_PRIORITY
from chat_session.errors import CapabilityMissing, InvalidInput
from chat_session.events import Event
from chat_session.handoff import Read, Step
from chat_session.manager import SessionManager
from chat_session.message import Draft, Message, check_message, refuse_reserved_type
from chat_session.paging import check_cursor, check_limit
from chat_session.results import AppendResult
from chat_session.session import Session, check_count, check_flag, check_session_id, check_user_id
from chat_session.storage.contract import DeskStore, Stepped

MAX_REASON = 1000  # characters
MAX_NOTE = 10_000
MAX_TEAM = 64
MAX_CAPACITY = 10_000
NOTE = "note"  # the type of an operator's internal note


class Desk:
    """A queue of sessions that wait for a person, and the operators who take them.

    Each call on a session is one atomic step that also writes its marker, a message of type "handoff", to the
    transcript. A step that changes something stamps the activity and slides the deadline. Any step of an operator
    renews that operator's presence, or begins it. Calls check their arguments first (InvalidInput, nothing stored) and
    may raise StoreError; a store may lack a desk: CapabilityMissing. On Redis a step takes three round trips.
    """

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._calls = manager._calls  # noqa: SLF001 - another facade of the same store
        self._limits = manager.settings.limits

    async def request_human(
        self,
        session_id: str,
        *,
        reason: str | None = None,
        priority: int = 0,
        team: str | None = None,
        say: str | None = None,
        hold_ai: bool = True,
    ) -> Ticket:
        """Put the session into the queue, and tell the customer ``say`` in the same step, as the assistant.

        ``priority``: 0 to 9, the highest first. ``hold_ai``: a late reply of the AI is refused, by a new epoch; with
        False the AI may go on while the customer waits. If the session waits already, a higher priority is taken over
        and nothing else; if a person has it, nothing changes. Raises SessionNotFound.
        """
        decide = handoff.request(
            reason=None if reason is None else _check_long_text("reason", reason, MAX_REASON),
            priority=check_integer(
                "priority", priority, 0, HIGHEST_PRIORITY, f"a whole number from 0 to {HIGHEST_PRIORITY}"
            ),
            team=None if team is None else _check_team("team", team),
            say=self._check_say(say),
            hold_ai=check_flag("hold_ai", hold_ai),
        )
        stepped = await self._step(session_id, Step("request_human", decide))
        desk = stepped.session.desk
        return Ticket(desk.state, stepped.place, desk.waiting_since)

    async def claim_next(self, operator_id: str, *, teams: Sequence[str] = ()) -> Session | None:
        """Assign the first waiting session of ``teams`` (of all teams, if none are given) to the operator.

        First is the highest priority, then who has waited longest. Two operators never get the same session. None if
        nobody waits. Raises OperatorFull at the operator's capacity.
        """
        operator = _check_operator(operator_id)
        if isinstance(teams, str) or not isinstance(teams, Sequence):
            raise InvalidInput("teams", "a sequence of names", brief(teams))
        chosen = list(dict.fromkeys(_check_team(f"teams[{i}]", team) for i, team in enumerate(teams)))
        async with self._calls("claim_next"):
            stepped = await self._desk.claim(operator, chosen)
        if stepped is None:
            return None
        self._tell(stepped)
        return stepped.session

    async def take_over(self, session_id: str, operator_id: str, *, expect: str | int | None = None) -> Session:
        """Assign the session to the operator, whatever its state is. One that the operator has already stays as it is.

        ``expect``: "waiting", or the session's epoch as the operator saw it; if that does not hold, DeskConflict names
        who has the session and since when. Raises SessionNotFound.
        """
        operator, allow = _check_operator(operator_id), _check_expect(expect)
        step = Step("take_over", handoff.assign(operator, "taken_over", allow), actor=operator, holder=operator)
        return (await self._step(session_id, step)).session

    async def answer(
        self,
        session_id: str,
        operator_id: str,
        message: Message | Mapping[str, Any] | str,
        *,
        polite: bool = False,
    ) -> AppendResult:
        """Append the message as the operator. If the operator has not got the session, the same step takes it over.

        ``polite``: then DeskConflict instead. The same id and content again answers as the first time, and takes
        nothing over. Raises SessionNotFound, MessageConflict.
        """
        operator = _check_operator(operator_id)
        draft = self._check_answer(message, operator)
        decide = handoff.answer(operator, polite=check_flag("polite", polite))
        stepped = await self._step(session_id, Step("answer", decide, operator, operator, draft))
        return self._appended(stepped)

    async def note(self, session_id: str, operator_id: str, text: str) -> AppendResult:
        """Add an internal note, which no customer reads. It does not change who has the session.

        Raises SessionNotFound.
        """
        operator = _check_operator(operator_id)
        fields = Message(sender="operator", text=text, type=NOTE, author=operator, internal=True)
        draft = check_message(fields, self._limits, "note")
        stepped = await self._step(session_id, Step("note", handoff.keep, actor=operator, message=draft))
        return self._appended(stepped)

    async def transfer(
        self,
        session_id: str,
        operator_id: str,
        *,
        to: str | None = None,
        team: str | None = None,
        note: str | None = None,
    ) -> Session:
        """Give a session that the operator has to another operator, or back into the queue, that of ``team``.

        ``to`` may ``decline`` it, and has CLAIM_LEASE seconds for a first sign if not present: then it goes back to its
        old place in the queue. In a team's queue it waits from now on. Raises SessionNotFound; DeskConflict if the
        operator has not got it.
        """
        operator = _check_operator(operator_id)
        if (to is None) == (team is None):
            raise InvalidInput("to", "given if and only if 'team' is not", "both" if to is not None else "neither")
        note = None if note is None else _check_long_text("note", note, MAX_NOTE)
        if to is None:
            decide = handoff.transfer_to_team(operator, _check_team("team", team), note)
            return (await self._step(session_id, Step("transfer", decide, actor=operator))).session
        other = check_user_id(to, "to")
        if other == operator:
            raise InvalidInput("to", "another operator", "the operator who has the session")
        decide = handoff.transfer_to_operator(operator, other, note)
        return (await self._step(session_id, Step("transfer", decide, actor=operator, holder=other))).session

    async def decline(self, session_id: str, operator_id: str) -> Session:
        """Put a session that the operator has back to its old place in the queue.

        Raises SessionNotFound; DeskConflict if the operator has not got it.
        """
        operator = _check_operator(operator_id)
        return (await self._step(session_id, Step("decline", handoff.decline(operator), actor=operator))).session

    async def hand_back(
        self,
        session_id: str,
        operator_id: str,
        *,
        note: str | None = None,
        say: str | None = None,
        resolved: bool = False,
    ) -> Session:
        """Return the session to the AI, in a new epoch, and tell the customer ``say`` in the same step.

        The marker says who had it for how long, and holds ``note``, so that the AI's next turn can read it. One that
        the AI has stays as it is. Raises SessionNotFound; DeskConflict if another operator has it.
        """
        operator = _check_operator(operator_id)
        decide = handoff.hand_back(
            operator,
            note=None if note is None else _check_long_text("note", note, MAX_NOTE),
            say=self._check_say(say),
            resolved=check_flag("resolved", resolved),
        )
        return (await self._step(session_id, Step("hand_back", decide, actor=operator))).session

    # Operators

    async def operator_seen(self, operator_id: str, *, capacity: int | None = None, available: bool = True) -> Operator:
        """The operator is present for CLAIM_LEASE seconds from now, with all sessions that the operator has.

        Without another sign until then, a sweep puts those sessions back to their old places in the queue.
        ``capacity``: at how many sessions ``claim_next`` gives no more; None as before, at first 5. ``available`` is
        shown to others. One round trip.
        """
        operator = _check_operator(operator_id)
        allowed = f"a whole number from 0 to {MAX_CAPACITY:,}, or None"
        most = None if capacity is None else check_integer("capacity", capacity, 0, MAX_CAPACITY, allowed)
        async with self._calls("operator_seen"):
            return await self._desk.renew_presence(operator, most, check_flag("available", available))

    async def operators(self) -> list[Operator]:
        """Those who are present, by name. One round trip."""
        async with self._calls("list_operators"):
            return await self._desk.list_operators()

    # Lists

    async def waiting(self, *, team: str | None = None, limit: int = 50, cursor: str | None = None) -> DeskPage:
        """A page of the queue in its order, of one team or of all. Costs what the page holds."""
        chosen = None if team is None else _check_team("team", team)
        limit, cursor = check_limit(limit), check_cursor(cursor)
        async with self._calls("list_waiting"):
            return await self._desk.list_waiting(chosen, limit, cursor)

    async def assigned(self, operator_id: str | None = None) -> list[DeskEntry]:
        """The sessions that the operator has; with None those of all operators."""
        operator = None if operator_id is None else _check_operator(operator_id)
        async with self._calls("list_assigned"):
            return await self._desk.list_assigned(operator)

    async def stats(self) -> DeskStats:
        """How many wait and how long, and what happened in the last hour and day.

        The figures are counted after each step, so after a crash they are approximate.
        """
        async with self._calls("read_desk_stats"):
            stats = await self._desk.read_stats()
        self._calls.hooks.desk_counted(sum(stats.waiting.values()), stats.assigned)
        return stats

    async def _step(self, session_id: str, step: Step) -> Stepped:
        session_id = check_session_id(session_id)
        async with self._calls(step.name, session_id):
            stepped = await self._desk.take_step(session_id, step)
        self._tell(stepped)
        return stepped

    def _appended(self, stepped: Stepped) -> AppendResult:
        """Of the operator's own message."""
        if stepped.appended is None:
            raise AssertionError("a step with a message says what became of it")
        stored, duplicate = stepped.appended.message, stepped.appended.duplicate
        if not duplicate:
            self._calls.hooks.appended(stepped.session.session_id, ["operator"])
        return AppendResult(
            success=True, message_id=stored.id or "", message=stored, seq=stored.seq or 0, duplicate=duplicate
        )

    def _check_answer(self, value: object, operator: str) -> Draft:
        """A message of this operator that the customer can see."""
        if isinstance(value, str):
            value = Message(sender="operator", text=value)
        elif isinstance(value, Mapping) and "from" not in value and "sender" not in value:
            value = {**value, "from": "operator"}
        draft = check_message(value, self._limits)
        message = draft.message
        refuse_reserved_type("message", message)
        if message.sender != "operator":
            raise InvalidInput("message.from", "'operator'", repr(message.sender))
        if message.author not in (None, operator):
            raise InvalidInput("message.author", "the operator who answers, or left out", brief(message.author))
        if message.internal:
            raise InvalidInput("message.internal", "false", "true", "Write what no customer reads with note().")
        return Draft(msgspec.structs.replace(message, author=operator), draft.timestamp_generated)

    def _check_say(self, value: object) -> Draft | None:
        if value is None:
            return None
        return check_message(Message(sender="assistant", text=value), self._limits, "say")  # type: ignore[arg-type]  # checked there

    def watch(self, *, limit: int = 100) -> AsyncGenerator[Event, None]:
        """``async for event in desk.watch():`` tells what changes at the desk, for operators.

        First comes a DeskSnapshot: the first ``limit`` of the queue, all sessions that operators have, and who is
        present; then a Headline for each of those sessions. Then DeskChanged, Presence and Headline, as they come, at
        most ten readings a second. It cannot go on behind a cursor: begin again. It ends when the manager is closed.
        While the store is away it waits; the first step raises StoreError instead. A reading takes three round trips,
        and one for each headline.
        """
        return watch_desk(self._manager, self, check_limit(limit))

    def _tell(self, stepped: Stepped) -> None:
        """The hooks, of what has changed."""
        change, hooks = stepped.change, self._calls.hooks
        if change is not None and change.event is not None:
            hooks.handed(stepped.session.session_id, change.event)
        if change is not None and change.messages:
            hooks.appended(stepped.session.session_id, [draft.message.sender for draft in change.messages])

    @property
    def _desk(self) -> DeskStore:
        desk: DeskStore | None = getattr(self._calls.store, "desk", None)
        if desk is None:
            raise CapabilityMissing("desk")
        return desk


def _check_operator(value: object) -> str:
    return check_user_id(value, "operator_id")


def _check_team(argument: str, value: object) -> str:
    name = check_name(argument, value, MAX_TEAM)
    if not name.strip():
        raise InvalidInput(argument, "a name that is not all blank", brief(name))
    return name


def _check_long_text(argument: str, value: object, longest: int) -> str:
    allowed = f"text of 1 to {longest:,} characters"
    if isinstance(value, str) and not 1 <= len(value) <= longest:
        raise InvalidInput(argument, allowed, f"{len(value):,} characters")
    return check_text(argument, value, allowed)


def _check_expect(value: object) -> Callable[[Read], bool]:
    """Whether a takeover is allowed."""
    if value is None:
        return lambda _: True
    if isinstance(value, str):
        if value != "waiting":
            raise InvalidInput("expect", "'waiting', an epoch, or None", brief(value))
        return lambda read: read.facts.state == "waiting"
    epoch = check_count("expect", value)
    return lambda read: read.epoch == epoch
