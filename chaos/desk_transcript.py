"""What the markers in a transcript say: who had the session from which message on, and in which epoch.

Each marker must follow from the state before it. A switch of the agent without the desk is known by its note.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chaos.desk_bot import GO_ON
from chaos.history import Operation
from chaos.snapshot import VisibleMessage, VisibleSession


@dataclass(frozen=True)
class Stage:
    """What is true of a session from one marker until the next. ``operator`` None: nobody, or one who is not known."""

    epoch: int = 0
    state: str = "open"
    operator: str | None = None
    priority: int = 0
    team: str | None = None
    message: VisibleMessage = field(default_factory=lambda: VisibleMessage(0, "", ""))  # the marker, or the note

    @property
    def event(self) -> str:
        return str(self.message.marker.get("event", ""))


@dataclass
class Transcript:
    """The stages of a session in order, and which markers do not follow from the state before them."""

    session: str
    visible: VisibleSession
    stages: list[Stage]
    wrong: list[str]

    @property
    def last(self) -> Stage:
        return self.stages[-1]

    def at(self, seq: int) -> Stage:
        """The stage in which the message with this seq was stored. The marker itself belongs to its new stage."""
        return next(stage for stage in reversed(self.stages) if stage.message.seq <= seq)

    def in_epoch(self, epoch: int) -> list[Stage]:
        """More than one where the priority was raised, or a request let the AI go on."""
        return [stage for stage in self.stages if stage.epoch == epoch]


def read_transcript(session: str, visible: VisibleSession, switches: Mapping[str, Operation]) -> Transcript:
    """``switches``: those without the desk, by the ids of their notes."""
    stages, wrong = [Stage()], []
    for message in visible.messages:
        before = stages[-1]
        if message.id in switches:
            stages.append(_after_switch(before, switches[message.id].agent, message))
        elif message.marker:
            if problem := "; ".join(_contradictions(before, message.marker)):
                event = message.marker.get("event")
                wrong.append(f"the marker {event!r} at {message.seq} does not follow from {_show(before)}: {problem}")
            stages.append(_after(before, message))
    return Transcript(session, visible, stages, wrong)


def _after_switch(before: Stage, agent: str, message: VisibleMessage) -> Stage:
    if agent == "ai" or before.state == "open":
        before = Stage(before.epoch)
    return replace(
        before,
        epoch=before.epoch + 1,
        state="open" if agent == "ai" else "assigned",
        operator=None,
        message=message,
    )


def _contradictions(before: Stage, marker: Mapping[str, Any]) -> Iterator[str]:
    event, operator = marker.get("event"), marker.get("operatorId")
    has_it = before.state == "assigned" and before.operator == operator
    had_by = before.operator if before.state == "assigned" else None
    may_follow = {
        "requested": before.state == "open",
        "raised": before.state == "waiting" and marker.get("priority", 0) > before.priority,
        "claimed": before.state == "waiting",
        "taken_over": not has_it,
        "answered": not has_it,
        "transferred": has_it,
        "declined": has_it,
        "lapsed": has_it,
        "handed_back": before.state != "open" and before.operator in (None, operator),
    }
    if not may_follow.get(str(event), False):
        yield f"{operator or 'a bot'} could not do that"
    if event in ("taken_over", "answered") and marker.get("before") != had_by:
        yield f"it was taken from {had_by}, not from {marker.get('before')}"


def _after(before: Stage, message: VisibleMessage) -> Stage:
    marker = message.marker
    event, operator, team = marker.get("event"), marker.get("operatorId"), marker.get("team")
    priority = marker.get("priority", 0)
    if event == "raised":
        return replace(before, priority=priority, message=message)
    if event == "requested":
        goes_on = str(marker.get("reason", "")).endswith(GO_ON)
        return Stage(before.epoch + (not goes_on), "waiting", None, priority, team, message)
    after = replace(before, epoch=before.epoch + 1, message=message)
    if event == "handed_back":
        return Stage(after.epoch, message=message)
    if event in ("declined", "lapsed") or (event == "transferred" and team is not None):
        return replace(after, state="waiting", operator=None, team=team or before.team)
    return replace(after, state="assigned", operator=marker.get("to") if event == "transferred" else operator)


def _show(stage: Stage) -> str:
    who = f" to {stage.operator}" if stage.state == "assigned" else ""
    return f"{stage.state}{who} in epoch {stage.epoch}"
