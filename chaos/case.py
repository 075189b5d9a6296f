"""What is judged: a history of calls, a look at the store, and what the proof allows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from chaos.look import Look
from chaos.recorder import Call

MORTAL = 600  # seconds: a session that is given less may die while a proof runs


@dataclass(frozen=True)
class Violation:
    """A promise that was broken: which, in which session, and how."""

    invariant: str
    session: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.session}: {self.text}"


@dataclass(frozen=True)
class Terms:
    """What a proof allows. ``lossy``: acknowledged writes may be gone with the server, and seqs given out again.

    ``bound`` is how many messages a session keeps; ``deaths`` how many sessions outlived their ttl
    and were swept; ``empty``: everything has expired and was swept. ``unconfirmed_reads``: a reader may be
    shown what no replica has yet, and what is lost then. ``stale_reads``: a primary may be read that is none any more.
    """

    bound: int = 10_000
    lossy: bool = False
    deaths: int | None = None
    empty: bool = False
    unconfirmed_reads: bool = False
    stale_reads: bool = False


class Case:
    """The history, arranged by session and by message."""

    def __init__(self, calls: Sequence[Call], look: Look, terms: Terms) -> None:
        self.calls = calls
        self.look = look
        self.terms = terms
        self.lost: list[Call] = []
        self.doubled = 0

    @cached_property
    def messages(self) -> dict[tuple[str, str], list[Call]]:
        """The calls that sent a message, by session and message id."""
        sent: dict[tuple[str, str], list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.id:
                sent[call.session, call.id].append(call)
        return sent

    @cached_property
    def by_session(self) -> dict[str, dict[str, list[Call]]]:
        sent: dict[str, dict[str, list[Call]]] = defaultdict(dict)
        for (session, message_id), calls in self.messages.items():
            sent[session][message_id] = calls
        return sent

    @cached_property
    def calls_of(self) -> dict[str, list[Call]]:
        """The calls that were done or may have been, by session."""
        calls: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.session and call.outcome != "failed":
                calls[call.session].append(call)
        return calls

    @cached_property
    def ended(self) -> set[str]:
        """Sessions that somebody deleted, tried to, or made with a ttl that may be over."""
        deleted = {call.session for call in self.calls if call.kind == "delete" and call.outcome != "failed"}
        return deleted | {c.session for c in self.calls if c.kind == "create" and c.ttl is not None and c.ttl < MORTAL}

    @cached_property
    def created(self) -> dict[str, Call]:
        """The calls that created a session, by the session."""
        return {call.session: call for call in self.calls if call.kind == "create" and call.outcome == "ok"}


def fate_of(calls: Sequence[Call]) -> str:
    """A message that was sent several times is stored if one call says so, and may be if one does not know."""
    outcomes = {call.outcome for call in calls}
    return next(outcome for outcome in ("ok", "unknown", "failed") if outcome in outcomes)
