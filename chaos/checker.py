"""One judge for every proof: the invariants I1 to I14 over a history and a look at the store."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from chaos.look import Kept, Look, Seen
from chaos.recorder import Call, text_of

PARTS = frozenset(("meta", "agent"))  # a whole session has these, and two more once it has a message

TOUCHED = 60_000  # milliseconds: on a cluster a hint stays so long when its caller was cut off in mid-change
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
    and were swept; ``empty``: everything has expired and was swept.
    """

    bound: int = 10_000
    lossy: bool = False
    deaths: int | None = None
    empty: bool = False


@dataclass
class Verdict:
    """What the checker found, and how much of it; and what it looked at."""

    look: Look
    violations: list[Violation] = field(default_factory=list)
    acknowledged: int = 0
    unknown: int = 0
    lost: list[Call] = field(default_factory=list)
    doubled: int = 0
    torn: int = 0


def check(
    calls: Sequence[Call],
    look: Look,
    terms: Terms | None = None,
    *,
    leaks: Sequence[str] = (),
    unheard: Sequence[str] = (),
) -> Verdict:
    """Judge all of it. ``leaks`` are log lines that show a text, ``unheard`` errors that nobody caught."""
    case = _Case(calls, look, terms or Terms())
    verdict = Verdict(look, acknowledged=sum(call.outcome == "ok" for call in calls))
    verdict.unknown = sum(call.outcome == "unknown" for call in calls)
    for rule in _RULES:
        verdict.violations += rule(case)
    verdict.violations += [Violation("I14", "", f"a log or an error shows a text: {leak}") for leak in leaks]
    verdict.violations += [Violation("I12", "", f"an error that nobody caught: {error}") for error in unheard]
    verdict.lost = case.lost
    verdict.doubled = case.doubled
    verdict.torn = len({v.session for v in verdict.violations if v.invariant in ("I5", "I6")})
    return verdict


class _Case:
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
    def ended(self) -> set[str]:
        """Sessions that somebody deleted, tried to, or made with a ttl that may be over."""
        deleted = {call.session for call in self.calls if call.kind == "delete" and call.outcome != "failed"}
        return deleted | {c.session for c in self.calls if c.kind == "create" and c.ttl is not None and c.ttl < MORTAL}

    @cached_property
    def created(self) -> set[str]:
        return {call.session for call in self.calls if call.kind == "create" and call.outcome == "ok"}


def fate_of(calls: Sequence[Call]) -> str:
    """A message that was sent several times is stored if one call says so, and may be if one does not know."""
    outcomes = {call.outcome for call in calls}
    return next(outcome for outcome in ("ok", "unknown", "failed") if outcome in outcomes)


def _acknowledged_is_there_once(case: _Case) -> Iterator[Violation]:
    """I1. Also: a session whose creation was acknowledged is there, unless it was deleted or had its time."""
    if case.terms.empty:
        return
    for session in sorted(case.created - case.ended - set(case.look.sessions)):
        yield Violation("I1", session, "was created and is gone")
    for (session, message_id), calls in case.messages.items():
        if fate_of(calls) != "ok":
            continue
        seen = case.look.sessions.get(session)
        if seen is None and session in case.ended:
            continue
        acknowledged = next(call for call in calls if call.outcome == "ok")
        if not _is_kept(seen, message_id, acknowledged):
            case.lost.append(acknowledged)
            if not case.terms.lossy:
                where = f"seq {acknowledged.seq}" if acknowledged.seq else acknowledged.kind
                yield Violation("I1", session, f"{message_id} was acknowledged ({where}) and is not there")


def _is_kept(seen: Seen | None, message_id: str, acknowledged: Call) -> bool:
    if seen is None:
        return False
    oldest = seen.count - len(seen.messages) + 1
    if acknowledged.seq is None:
        return oldest > 1 or any(stored.id == message_id for stored in seen.messages)
    if acknowledged.seq < oldest:
        return True  # trimmed in its turn
    place = acknowledged.seq - oldest
    return place < len(seen.messages) and seen.messages[place].id == message_id


def _unknown_at_most_once_failed_never(case: _Case) -> Iterator[Violation]:
    """I2, and the other half of I1."""
    for session, seen in case.look.sessions.items():
        for message_id, times in Counter(stored.id for stored in seen.messages).items():
            calls = case.messages.get((session, message_id))
            if times > 1:
                case.doubled += times - 1
                which = "I1" if calls and fate_of(calls) == "ok" else "I2"
                yield Violation(which, session, f"{message_id} is there {times} times")
            if calls and fate_of(calls) == "failed":
                yield Violation("I2", session, f"{message_id} failed ({calls[-1].error[:80]}) and is there")
            if not calls:
                yield Violation("I2", session, f"{message_id} is there and was never sent")


def _in_order_without_gaps(case: _Case) -> Iterator[Violation]:
    """I3."""
    for session, seen in case.look.sessions.items():
        seqs = [stored.seq for stored in seen.messages]
        last = seen.count
        if seqs != list(range(last - len(seqs) + 1, last + 1)):
            yield Violation("I3", session, f"seqs {seqs[:3]}…{seqs[-3:]} of {len(seqs)} do not lead up to {last}")
        kept = case.look.kept.get(session)
        for stored in seen.messages:
            remembered = kept.ids.get(stored.id) if kept else None
            if remembered is not None and remembered != stored.seq:
                yield Violation("I3", session, f"{stored.id} stands at {stored.seq} and is remembered at {remembered}")
                break
    yield from _each_writers_order(case)
    if not case.terms.lossy:
        yield from _each_seq_given_once(case)


def _each_writers_order(case: _Case) -> Iterator[Violation]:
    by_writer: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (session, message_id), calls in case.messages.items():
        if not any(call.abandoned for call in calls) and calls[0].kind == "append":
            by_writer[session, calls[0].writer].append(message_id)
    places = {
        session: {stored.id: stored.seq for stored in seen.messages} for session, seen in case.look.sessions.items()
    }
    for (session, writer), ids in by_writer.items():
        stood = [(places[session][i], i) for i in ids if i in places.get(session, ())]
        for (before, first), (after, second) in pairwise(stood):
            if before > after:
                text = f"{writer} sent {first} before {second}, which stands before it ({before}, {after})"
                yield Violation("I3", session, text)
                break


def _each_seq_given_once(case: _Case) -> Iterator[Violation]:
    given: dict[tuple[str, int], str] = {}
    for call in case.calls:
        if call.kind == "append" and call.outcome == "ok" and call.seq is not None:
            first = given.setdefault((call.session, call.seq), call.id)
            if first != call.id:
                yield Violation("I3", call.session, f"seq {call.seq} was given to {first} and to {call.id}")


def _the_last_are_kept(case: _Case) -> Iterator[Violation]:
    """I4."""
    for session, seen in case.look.sessions.items():
        wanted = min(seen.count, case.terms.bound)
        if len(seen.messages) != wanted:
            text = f"{len(seen.messages)} messages kept of {seen.count}, not {wanted}"
            yield Violation("I4", session, text)


def _whole_or_absent(case: _Case) -> Iterator[Violation]:
    """I5."""
    for session, kept in case.look.kept.items():
        there = set(kept.deadlines)
        if kept.user is None:
            yield Violation("I5", session, f"without meta, and yet there: {', '.join(sorted(there))}")
            continue
        wanted = PARTS | ({"history", "ids"} if kept.count else frozenset())
        if there != wanted:
            text = f"has {', '.join(sorted(there))} and should have {', '.join(sorted(wanted))}"
            yield Violation("I5", session, text)
        if kept.agent != kept.current_agent:
            yield Violation("I5", session, f"the agent's key says {kept.agent}, meta says {kept.current_agent}")
        yield from _ids_fit_messages(session, kept, case.look.sessions.get(session))
    for call in case.calls:
        wrongly_gone = call.error.startswith("SessionNotFound") and call.session not in case.ended
        if wrongly_gone and call.session in case.created and not case.terms.lossy:
            yield Violation("I5", call.session, f"{call.writer} was told that it does not exist, and nobody ended it")
        back = call.kind == "delete" and call.outcome == "ok" and call.session in case.look.sessions
        if back and not case.terms.lossy:
            yield Violation("I5", call.session, "was deleted and is there")


def _ids_fit_messages(session: str, kept: Kept, seen: Seen | None) -> Iterator[Violation]:
    if seen is None:
        yield Violation("I5", session, "its keys are there, and a caller does not find it")
        return
    if kept.length != len(seen.messages):
        yield Violation("I5", session, f"{kept.length} elements, {len(seen.messages)} messages")
    stored = {message.id for message in seen.messages}
    if stored != set(kept.ids):
        odd = sorted(stored ^ set(kept.ids))
        yield Violation("I5", session, f"{len(odd)} ids are remembered or stored, not both: {odd[:3]}")


def _one_deadline(case: _Case) -> Iterator[Violation]:
    """I6."""
    for session, kept in case.look.kept.items():
        deadlines = set(kept.deadlines.values())
        if len(deadlines) > 1:
            yield Violation("I6", session, f"several deadlines: {kept.deadlines}")
        elif None in deadlines and (kept.user is None or kept.ttl is not None):
            yield Violation("I6", session, f"no deadline on {', '.join(sorted(kept.deadlines))}")
        elif kept.ttl is None and kept.user is not None and None not in deadlines:
            yield Violation("I6", session, "never expires, and has a deadline")


def _living_in_both_indexes(case: _Case) -> Iterator[Violation]:
    """I7. A hint that was touched a moment ago waits for a change that may still come."""
    look = case.look
    living = {(session, kept.user) for session, kept in look.kept.items() if kept.user is not None}
    for session, user in living:
        yield from _hints_tell_the_truth(look, session, user or "")
        if session not in look.listed.get(user or "", ()):
            yield Violation("I7", session, f"lives, and is not in the list of {user}")
        if session not in look.scanned:
            yield Violation("I7", session, "lives, and a scan does not show it")
    for index, hints in (("due", look.due), ("user", look.by_user)):
        for (session, user), score in hints.items():
            touched = score % 1 != 0 and look.now - score < TOUCHED
            if (session, user) not in living and not touched:
                text = f"is dead and swept, and has a hint at {score:.1f} in the {index} index of {user}"
                yield Violation("I7", session, text)


def _hints_tell_the_truth(look: Look, session: str, user: str) -> Iterator[Violation]:
    """A hint must not be later than the deadline; a user's may be, since lists look at every session."""
    deadline = look.kept[session].deadlines.get("meta")
    limit = float("inf") if deadline is None else deadline
    for index, hints in (("due", look.due), ("user", look.by_user)):
        score = hints.get((session, user))
        if score is None:
            yield Violation("I7", session, f"lives, and has no hint in the {index} index")
        elif score <= 0:
            yield Violation("I7", session, f"lives, and its hint in the {index} index says that it is dead")
        elif index == "due" and score > limit:
            yield Violation("I7", session, f"its hint is {score - limit:.0f} ms later than its deadline")


def _count_is_exact(case: _Case) -> Iterator[Violation]:
    """I8."""
    living = sum(kept.user is not None for kept in case.look.kept.values())
    if case.look.counted != living:
        yield Violation("I8", "", f"{case.look.counted} counted, {living} living")


def _each_death_once(case: _Case) -> Iterator[Violation]:
    """I9."""
    if case.terms.deaths is not None:
        swept = sum(call.count for call in case.calls if call.kind == "sweep" and call.outcome == "ok")
        if swept != case.terms.deaths:
            yield Violation("I9", "", f"{swept} deaths were counted, {case.terms.deaths} happened")


def _nothing_left(case: _Case) -> Iterator[Violation]:
    """I10."""
    if case.terms.empty:
        left = [*case.look.kept, *case.look.due, *case.look.by_user]
        if left:
            yield Violation("I10", "", f"{len(left)} keys or hints are left of what has expired: {left[:3]}")


def _no_stale_epoch(case: _Case) -> Iterator[Violation]:
    """I11. A switch's note stands where its epoch begins; a fenced message must stand within its own epoch."""
    won: dict[tuple[str, int], Call] = {}
    for call in case.calls:
        if call.kind == "switch" and call.outcome == "ok" and call.epoch is not None:
            first = won.setdefault((call.session, call.epoch), call)
            if first is not call and not case.terms.lossy:
                text = f"epoch {call.epoch} was given to {first.writer} and to {call.writer}"
                yield Violation("I11", call.session, text)
    begins: dict[str, dict[int, int]] = defaultdict(dict)
    notes = {(c.session, c.id): c for c in case.calls if c.kind == "switch" and c.id}
    for session, seen in case.look.sessions.items():
        for stored in seen.messages:
            switch = notes.get((session, stored.id))
            epoch = None if switch is None else switch.epoch
            if switch is not None and epoch is None and switch.expect is not None:
                epoch = switch.expect + 1  # its answer was lost; what it expected tells which it began
            if epoch is not None:
                begins[session][epoch] = stored.seq
    yield from _fenced_in_their_epoch(case, begins)


def _fenced_in_their_epoch(case: _Case, begins: dict[str, dict[int, int]]) -> Iterator[Violation]:
    for session, seen in case.look.sessions.items():
        if not begins[session]:
            continue
        seqs = {stored.id: stored.seq for stored in seen.messages}
        for message_id, calls in case.by_session[session].items():
            epoch, seq = calls[0].epoch, seqs.get(message_id)
            if calls[0].kind != "append" or epoch is None or seq is None:
                continue
            later = [at for began, at in begins[session].items() if began > epoch]
            earlier = [at for began, at in begins[session].items() if began <= epoch]
            if any(at < seq for at in later) or any(at > seq for at in earlier):
                yield Violation("I11", session, f"{message_id} of epoch {epoch} landed at {seq}, in another epoch")


def _only_typed_errors(case: _Case) -> Iterator[Violation]:
    """I12."""
    for call in case.calls:
        if call.error and not call.typed and call.error != "CancelledError":
            yield Violation("I12", call.session, f"{call.kind} by {call.writer} raised {call.error}")
        if call.error.startswith("MessageConflict"):
            yield Violation("I12", call.session, f"{call.id} was sent with one content only, and refused as another")


def _the_answer_is_mine(case: _Case) -> Iterator[Violation]:
    """I13."""
    for call in case.calls:
        if call.strange:
            yield Violation("I13", call.session, f"{call.kind} by {call.writer} was answered {call.strange}")
    for session, seen in case.look.sessions.items():
        for stored in seen.messages:
            if stored.text != text_of(session, stored.id):
                yield Violation("I13", session, f"{stored.id} has the text of another: {stored.text[:80]!r}")


_RULES: tuple[Callable[[_Case], Iterator[Violation]], ...] = (
    _acknowledged_is_there_once,
    _unknown_at_most_once_failed_never,
    _in_order_without_gaps,
    _the_last_are_kept,
    _whole_or_absent,
    _one_deadline,
    _living_in_both_indexes,
    _count_is_exact,
    _each_death_once,
    _nothing_left,
    _no_stale_epoch,
    _only_typed_errors,
    _the_answer_is_mine,
)
