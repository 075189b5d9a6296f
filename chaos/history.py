"""The history that the checker judges: every operation, when it began and ended, and what its caller was told."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from chat_session import ChatSessionError, UsageError

MARK = "the-words-of-a-message"  # is part of every text: a log or an error that shows it has leaked a text

_LEAKED = "(it shows a message's text)"


def text_of(session: str, message_id: str, version: str = "") -> str:
    """The text that belongs to this message of this session and to no other. Each replacement is another version."""
    return f"{MARK} {session} {message_id}" + (f" {version}" if version else "")


def version_of(text: str, session: str, message_id: str) -> str | None:
    """Which version of the message has this text, "" for the message as it was sent; None if it is another's text."""
    rest = text.removeprefix(text_of(session, message_id))
    if rest == text:
        return None
    return "" if not rest else rest[1:] if rest[0] == " " else None


@dataclass(slots=True)
class Operation:
    """One call of a caller.

    ``id`` is the id of the message. ``epoch`` is the epoch that an append named, or that a switch began.
    ``agent``, ``ttl`` and ``metadata`` are what a write asked for, or what a ``get`` returned.
    ``seq`` of a read is the seq of its newest message; ``count`` is the number of messages, sessions or deaths in
    the answer. ``mismatch`` says what was wrong if the answer did not belong to the question.
    ``abandoned``: the caller gave up, so the message may still be stored later.
    ``ids`` and ``seqs`` are the messages that an edit or a look was answered, or the ids that it asked for; of a list
    of sessions ``ids`` are those of the sessions. ``versions`` are those of the messages that had been replaced.
    ``old`` is the version or the value that a conditional write expected, ``new`` what it wrote.
    ``by`` is what an increment adds.
    ``asked`` and ``told`` are the facts of a step of the desk, see ``desk_operator``.

    The outcome is "ok", "failed" (it was not done) or "unknown" (it may have been done). It is also unknown until
    the call has ended. Times are seconds since the recorder began.
    """

    number: int
    kind: str
    session: str
    writer: str
    begun: float
    id: str = ""
    user: str = ""
    agent: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    limit: int = 0
    ttl: int | None = None
    epoch: int | None = None
    expect: int | None = None
    seq: int | None = None
    count: int = 0
    ids: list[str] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    old: str | None = None
    new: str = ""
    by: int = 0
    asked: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    outcome: str = "unknown"
    ended: float | None = None
    error: str = ""
    typed: bool = True
    mismatch: str = ""
    abandoned: bool = False


class Recorder:
    """Records every operation in the order in which they began, and what the logs should not have shown."""

    def __init__(self, watch: Callable[[Operation], None] | None = None) -> None:
        """``watch`` is called with every operation when it begins and when it has ended."""
        self.history: list[Operation] = []
        self.counts: Counter[str] = Counter()
        self.keep = True  # False in a soak, which would otherwise fill the memory that it measures
        self.leaks: list[str] = []
        self.unhandled: list[str] = []
        self._zero = time.monotonic()
        self.watch = watch

    def watch_for(self, error: type[Exception]) -> asyncio.Event:
        """An event that every operation sets which ends with this error. It replaces ``watch``."""
        seen = asyncio.Event()

        def watch(op: Operation) -> None:
            if op.error.startswith(error.__name__):
                seen.set()

        self.watch = watch
        return seen

    def moment(self) -> float:
        return time.monotonic() - self._zero

    def begin(self, kind: str, session: str, writer: str, **facts: Any) -> Operation:
        op = Operation(len(self.history), kind, session, writer, self.moment(), **facts)
        if self.keep:
            self.history.append(op)
        if self.watch:
            self.watch(op)
        return op

    @contextmanager
    def operation(self, kind: str, session: str, writer: str, **facts: Any) -> Iterator[Operation]:
        """Record an operation and how it ends. Errors go on to the caller."""
        op = self.begin(kind, session, writer, **facts)
        try:
            yield op
            op.outcome = "ok"
        except asyncio.CancelledError:
            op.error = "CancelledError"
            raise
        except Exception as error:
            self.note_error(op, error)
            raise
        finally:
            op.ended = self.moment()
            self.counts[op.outcome] += 1
            if self.watch:
                self.watch(op)

    def note(self, kind: str, session: str, writer: str, **facts: Any) -> Operation:
        """Record what takes no time, such as an event that a watcher is told. It is reported once."""
        op = Operation(len(self.history), kind, session, writer, self.moment(), outcome="ok", **facts)
        op.ended = op.begun
        self.counts[op.outcome] += 1
        if self.keep:
            self.history.append(op)
        if self.watch:
            self.watch(op)
        return op

    def note_error(self, op: Operation, error: Exception) -> None:
        """A typed error says whether the operation was done. After an untyped one nothing is known."""
        op.error = f"{type(error).__name__}: {error}"
        op.typed = isinstance(error, ChatSessionError) and not isinstance(error, UsageError)
        if op.typed and not getattr(error, "outcome_unknown", False):
            op.outcome = "failed"
        if MARK in op.error:
            self.leaks.append(op.error)
            op.error = f"{type(error).__name__}: {_LEAKED}"

    def export(self, op: Operation) -> dict[str, Any]:
        """An operation in a form that another process can adopt. Its times are those of the machine's clock."""
        ended = None if op.ended is None else op.ended + self._zero
        return {**asdict(op), "begun": op.begun + self._zero, "ended": ended}

    def adopt(self, facts: dict[str, Any], begun: Operation | None) -> Operation:
        """Take over what another process exported. ``begun`` is the same operation, as it was adopted when it began."""
        known = begun or self.begin(facts["kind"], facts["session"], facts["writer"])
        for name, value in facts.items():
            if name != "number":
                setattr(known, name, value)
        known.begun -= self._zero
        if known.ended is not None:
            known.ended -= self._zero
            self.counts[known.outcome] += 1
            if self.watch:
                self.watch(known)
        return known

    def longest_outage(self) -> float | None:
        """None if the operations were not kept."""
        return longest_outage(self.history) if self.keep else None

    def write(self, path: Path, **header: Any) -> None:
        """Keep the history as JSON Lines. The first line says which run it belongs to."""
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(header, default=str) + "\n")
            for op in self.history:
                file.write(json.dumps(asdict(op)) + "\n")


def longest_outage(operations: Iterable[Operation]) -> float:
    """The longest time that one caller went without an answer: from the begin of a call to its next success."""
    longest = 0.0
    waiting_since: dict[str, float] = {}
    for op in operations:
        if op.error == "CancelledError":
            continue
        since = waiting_since.setdefault(op.writer, op.begun)
        if op.ended is not None:
            longest = max(longest, op.ended - since)
        told = op.typed and op.error and not op.error.startswith(("StoreUnavailable", "StoreReadOnly"))
        if op.outcome == "ok" or told:
            del waiting_since[op.writer]
    return longest


def read_history(path: Path) -> tuple[dict[str, Any], Sequence[Operation]]:
    """The header and the operations of a kept history."""
    known = {each.name for each in fields(Operation)}
    with path.open(encoding="utf-8") as file:
        header = json.loads(next(file))
        operations = [Operation(**{k: v for k, v in json.loads(line).items() if k in known}) for line in file]
    return header, operations
