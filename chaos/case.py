"""What the checker judges: the history, the snapshot of the store, and what the fault test allows."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from chaos.history import Operation
from chaos.snapshot import Snapshot

EDITS = frozenset(("retract", "pop", "replace", "clear", "rewrite"))  # changes of a history that are no appends
STEPS = frozenset(
    ("request", "claim", "take over", "answer", "note", "transfer", "decline", "hand back")
)  # of the desk
MORTAL = 600  # seconds: a session with a shorter ttl may die while a fault test runs


@dataclass(frozen=True)
class Violation:
    """A promise that was broken: which one, in which session, and how."""

    invariant: str
    session: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.session}: {self.text}"


@dataclass(frozen=True)
class Allowances:
    """What a fault test allows.

    ``bound``: how many messages a session keeps.
    ``lossy``: acknowledged writes may be lost with the server, and their seqs given to other messages.
    ``deaths``: how many sessions outlived their ttl and were swept.
    ``empty``: everything has expired and was swept.
    ``unconfirmed_reads``: a reader may see what no replica has yet, and that may be lost afterwards.
    ``stale_reads``: a reader may be answered by a primary that has been replaced.
    """

    bound: int = 10_000
    lossy: bool = False
    deaths: int | None = None
    empty: bool = False
    unconfirmed_reads: bool = False
    stale_reads: bool = False


class Case:
    """The history, arranged by session and by message, with the snapshot."""

    def __init__(self, operations: Sequence[Operation], snapshot: Snapshot, allowances: Allowances) -> None:
        self.history = operations
        self.snapshot = snapshot
        self.allowances = allowances
        self.lost: list[Operation] = []
        self.doubled = 0

    @cached_property
    def messages(self) -> dict[tuple[str, str], list[Operation]]:
        """The operations that sent a message, by session and message id."""
        sent: dict[tuple[str, str], list[Operation]] = defaultdict(list)
        for op in self.history:
            if op.id:
                sent[op.session, op.id].append(op)
        return sent

    @cached_property
    def by_session(self) -> dict[str, dict[str, list[Operation]]]:
        sent: dict[str, dict[str, list[Operation]]] = defaultdict(dict)
        for (session, message_id), operations in self.messages.items():
            sent[session][message_id] = operations
        return sent

    @cached_property
    def operations_of(self) -> dict[str, list[Operation]]:
        """The operations that were done, or may have been, by session."""
        operations: dict[str, list[Operation]] = defaultdict(list)
        for op in self.history:
            if op.session and op.outcome != "failed":
                operations[op.session].append(op)
        return operations

    @cached_property
    def ended(self) -> set[str]:
        """Sessions that a caller deleted, or tried to delete, or whose ttl may have run out."""
        deleted = {op.session for op in self.history if op.kind == "delete" and op.outcome != "failed"}
        return deleted | {
            c.session for c in self.history if c.kind == "create" and c.ttl is not None and c.ttl < MORTAL
        }

    @cached_property
    def edited(self) -> set[str]:
        """Sessions whose histories were changed by more than appends. ``edits.py`` has the rules for their messages."""
        return {op.session for op in self.history if op.kind in EDITS}

    @cached_property
    def handled(self) -> set[str]:
        """Sessions in which steps of the desk were taken. ``desk_rules.py`` has the rules for their agents."""
        return {op.session for op in self.history if op.kind in STEPS and op.session}

    @cached_property
    def streamed(self) -> set[tuple[str, str]]:
        """The replies that grew, by session and message id. ``stream_rules.py`` has the rules for their texts."""
        return {(op.session, op.id) for op in self.history if "stream" in op.asked}

    @cached_property
    def created(self) -> dict[str, Operation]:
        """The operations that created a session, by session."""
        return {op.session: op for op in self.history if op.kind == "create" and op.outcome == "ok"}


def fate_of(operations: Sequence[Operation]) -> str:
    """A message that was sent several times is stored if one operation says so, and may be if one does not know."""
    outcomes = {op.outcome for op in operations}
    return next(outcome for outcome in ("ok", "unknown", "failed") if outcome in outcomes)
