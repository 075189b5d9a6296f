"""What one watcher was told of one session, divided where it had to begin again."""

from collections.abc import Iterable, Iterator

from chaos.case import Case
from chaos.history import Operation
from chaos.snapshot import VisibleMessage

# The names of the events, as in Event.name.
APPENDED, CHANGED = "message_appended", ("message_replaced", "message_retracted")
GAP, RESET, CLEARED = "gap", "reset", "history_cleared"
GONE = ("session_deleted", "session_expired")
STARTED, DELTA, COMMITTED, ABORTED = "reply_started", "reply_delta", "reply_committed", "reply_aborted"


class Part:
    """Events between two resets. ``begin``: the sequence number behind which it begins."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.events: list[Operation] = []


class Feed:
    """``parts``: what was told, one for the beginning and one more for each Reset."""

    def __init__(self, watcher: str, events: Iterable[Operation]) -> None:
        self.watcher = watcher
        self.events = list(events)
        self.session = self.events[0].session
        self.inside = bool(self.events[0].asked["inside"])
        self.parts: list[Part] = []
        for event in self.events:
            if not self.parts or event.told["event"] == RESET:
                self.parts.append(Part(event.told["at"]))
            self.parts[-1].events.append(event)

    @property
    def has_ended(self) -> bool:
        return self.events[-1].told["event"] in GONE

    def may_see(self, message: VisibleMessage) -> bool:
        return self.inside or not message.internal


def feeds_of(case: Case) -> Iterator[Feed]:
    events: dict[str, list[Operation]] = {}
    for op in case.history:
        if op.kind == "told":
            events.setdefault(op.writer, []).append(op)
    return (Feed(watcher, told) for watcher, told in events.items())
