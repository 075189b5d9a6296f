"""The markers that the steps of the desk leave in a transcript: messages of type "handoff"."""

from typing import Any

import msgspec

from chat_session.message import Draft, Generated, Message

HANDOFF = "handoff"  # the type of a marker; its extra field of the same name holds the facts


class Marker(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What happened. In a message it is internal if it names an operator, a reason or a note."""

    event: str  # requested raised claimed taken_over answered transferred declined handed_back lapsed
    operator_id: str | None = None  # who did it, or had it
    before: str | None = None  # the operator from whom it was taken
    to: str | None = None  # the operator to whom it was transferred
    team: str | None = None
    reason: str | None = None
    priority: int = 0
    waited: int | None = None  # seconds in the queue
    seconds: int | None = None  # that the operator had it
    note: str | None = None
    resolved: bool = False
    automatic: bool = False  # nobody asked for it: a time was over

    @property
    def is_internal(self) -> bool:
        return any(each is not None for each in (self.operator_id, self.before, self.to, self.reason, self.note))

    def draft(self) -> Draft:
        """The message, from "system". Its text is one English sentence or two, for operators and models."""
        generated = Generated()
        facts: dict[str, Any] = msgspec.to_builtins(self)
        message = Message(
            id=generated.take_id(),
            sender="system",
            text=self.sentence,
            timestamp=generated.moment,
            type=HANDOFF,
            internal=self.is_internal,
            extra={HANDOFF: facts},
        )
        return Draft(message, timestamp_generated=True)

    @property
    def sentence(self) -> str:
        text = f"{self._what_happened()}."
        if self.reason:
            text += f" Reason: {self.reason}"
        if self.resolved:
            text += " The matter is resolved."
        return f"{text} Note: {self.note}" if self.note else text

    def _what_happened(self) -> str:
        who = "A person" if self.operator_id is None else f"Operator {self.operator_id}"
        from_whom = "" if self.before is None else f" from operator {self.before}"
        match self.event:
            case "requested":
                return "A person was asked for"
            case "raised":
                return f"The priority was raised to {self.priority}"
            case "claimed":
                return f"{who} took the session from the queue"
            case "transferred":
                return f"{who} transferred the session to " + (
                    f"operator {self.to}" if self.to else f"team {self.team}"
                )
            case "declined":
                return f"{who} declined the session, and it waits for a person again"
            case "lapsed":
                return f"{who} is away, and the session waits for a person again"
            case "handed_back":
                return self._how_it_went_back(who)
            case _:
                return f"{who} took over the session{from_whom}"

    def _how_it_went_back(self, who: str) -> str:
        if self.seconds is None:
            return f"{who} gave the waiting session back to the AI"
        how_long = "less than a minute" if self.seconds < 60 else f"{self.seconds // 60} min"  # noqa: PLR2004
        if self.automatic:
            return f"{who} had the session for {how_long} and wrote no more, so it went back to the AI"
        return f"{who} handed the session back to the AI after {how_long}"
