"""What was called, when, and how it ended: the history that the checker judges."""

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

MARK = "the-words-of-a-message"  # stands in every text; where a log or an error shows it, a text has leaked

_LEAKED = "(it shows a message's text)"


def text_of(session: str, message_id: str) -> str:
    """The text that belongs to this message of this session and to no other."""
    return f"{MARK} {session} {message_id}"


@dataclass(slots=True)
class Call:
    """One invocation. ``id`` is the message's; ``epoch`` the one an append named or a switch began.

    ``agent``, ``ttl`` and ``metadata`` are what a write asked for, or what a ``get`` was shown. ``seq`` of a read
    history is that of its newest message, ``count`` how many messages, sessions or deaths the answer told of.

    The outcome is "ok", "failed" (it was not done) or "unknown" (it may have been); until the call
    has ended it is unknown, too. Times are seconds since the recorder began.
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
    outcome: str = "unknown"
    ended: float | None = None
    error: str = ""
    typed: bool = True
    strange: str = ""
    abandoned: bool = False


class Recorder:
    """Holds every call in the order in which they began, and what the logs should not have shown."""

    def __init__(self, watch: Callable[[Call], None] | None = None) -> None:
        """``watch`` is told of every call when it begins and when it has ended."""
        self.calls: list[Call] = []
        self.counts: Counter[str] = Counter()
        self.keep = True  # a soak would fill the memory that it measures
        self.leaks: list[str] = []
        self.unheard: list[str] = []
        self._zero = time.monotonic()
        self.watch = watch

    def hear_of(self, error: type[Exception]) -> asyncio.Event:
        """Set by every call that ends with this error. It takes the place of ``watch``."""
        heard = asyncio.Event()

        def hear(call: Call) -> None:
            if call.error.startswith(error.__name__):
                heard.set()

        self.watch = hear
        return heard

    def moment(self) -> float:
        return time.monotonic() - self._zero

    def begin(self, kind: str, session: str, writer: str, **facts: Any) -> Call:
        call = Call(len(self.calls), kind, session, writer, self.moment(), **facts)
        if self.keep:
            self.calls.append(call)
        if self.watch:
            self.watch(call)
        return call

    @contextmanager
    def calling(self, kind: str, session: str, writer: str, **facts: Any) -> Iterator[Call]:
        """Note a call and how it ends. Errors go on to the caller."""
        call = self.begin(kind, session, writer, **facts)
        try:
            yield call
            call.outcome = "ok"
        except asyncio.CancelledError:
            call.error = "CancelledError"
            raise
        except Exception as error:
            self.note_error(call, error)
            raise
        finally:
            call.ended = self.moment()
            self.counts[call.outcome] += 1
            if self.watch:
                self.watch(call)

    def note_error(self, call: Call, error: Exception) -> None:
        """A typed error says whether the call was done; of an untyped one nothing is known."""
        call.error = f"{type(error).__name__}: {error}"
        call.typed = isinstance(error, ChatSessionError) and not isinstance(error, UsageError)
        if call.typed and not getattr(error, "outcome_unknown", False):
            call.outcome = "failed"
        if MARK in call.error:
            self.leaks.append(call.error)
            call.error = f"{type(error).__name__}: {_LEAKED}"

    def export(self, call: Call) -> dict[str, Any]:
        """A call in a form that another process can adopt: its times are of the machine's clock."""
        ended = None if call.ended is None else call.ended + self._zero
        return {**asdict(call), "begun": call.begun + self._zero, "ended": ended}

    def adopt(self, facts: dict[str, Any], begun: Call | None) -> Call:
        """Take over what another process exported; ``begun`` is the same call as it was adopted at its begin."""
        known = begun or self.begin(facts["kind"], facts["session"], facts["writer"])
        for name, value in facts.items():
            if name != "number":
                setattr(known, name, value)
        known.begun -= self._zero
        if known.ended is not None:
            known.ended -= self._zero
            self.counts[known.outcome] += 1
        return known

    def longest_outage(self) -> float | None:
        """None where the calls were not kept."""
        return longest_outage(self.calls) if self.keep else None

    def write(self, path: Path, **header: Any) -> None:
        """Keep the history as JSON Lines; the first line says what run it is of."""
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(header, default=str) + "\n")
            for call in self.calls:
                file.write(json.dumps(asdict(call)) + "\n")


def longest_outage(calls: Iterable[Call]) -> float:
    """The longest that one caller went without any answer: from a call's begin to its next success."""
    longest = 0.0
    waiting_since: dict[str, float] = {}
    for call in calls:
        if call.error == "CancelledError":
            continue
        since = waiting_since.setdefault(call.writer, call.begun)
        if call.ended is not None:
            longest = max(longest, call.ended - since)
        told = call.typed and call.error and not call.error.startswith(("StoreUnavailable", "StoreReadOnly"))
        if call.outcome == "ok" or told:
            del waiting_since[call.writer]
    return longest


def read_history(path: Path) -> tuple[dict[str, Any], Sequence[Call]]:
    """The header and the calls of a kept history."""
    known = {each.name for each in fields(Call)}
    with path.open(encoding="utf-8") as file:
        header = json.loads(next(file))
        calls = [Call(**{k: v for k, v in json.loads(line).items() if k in known}) for line in file]
    return header, calls
