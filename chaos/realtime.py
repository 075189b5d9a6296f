"""Rules of real-time order: what was acknowledged before a call began, that call must know.

Callers that overlap may come in either order, so each rule allows every order that the times leave open.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf
from typing import Any

from chaos.case import Case, Violation
from chaos.recorder import Call

SLIDES = frozenset(("create", "append", "switch", "extend", "set_ttl"))  # what moves a session's deadline
CLOCKS = 0.05  # seconds by which the clocks of a recorder and of a server may have drifted apart
FIRST_AGENT = "ai"

Write = tuple[Call, Any]  # a call, and the value that it gave to one place


def _ended(call: Call) -> float:
    """When it was over; a call of unknown outcome may be done at any time after it began."""
    return call.ended if call.outcome == "ok" and call.ended is not None else inf


def values_left(writes: Iterable[Write], begun: float = inf, ended: float = inf) -> list[Any]:
    """What a place may hold for a reader of that time: what no acknowledged write has replaced before."""
    seen = [(call, value) for call, value in writes if call.begun <= ended]
    latest = max((call.begun for call, _ in seen if _ended(call) < begun), default=-inf)
    return [value for call, value in seen if _ended(call) >= latest]


class _Highest:
    """The highest number that anybody had been given by a moment."""

    def __init__(self, given: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(given)
        self._moments = [moment for moment, _ in ordered]
        self._numbers = list(accumulate((number for _, number in ordered), max, initial=0))

    def before(self, moment: float) -> int:
        return self._numbers[bisect_left(self._moments, moment)]


def a_read_shows_what_was_acknowledged(case: Case) -> Iterator[Violation]:
    """I15: of the messages acknowledged, or shown to anybody, before a read began, none is missing in it."""
    if case.terms.lossy or case.terms.stale_reads:
        return
    for session, calls in case.calls_of.items():
        if session in case.ended:
            continue
        messages = {call.id: call for call in reversed(calls) if call.id and call.outcome == "ok"}
        done = sorted(messages.values(), key=_ended)
        written = _Highest((_ended(call), max(number, call.seq or 0)) for number, call in enumerate(done, 1))
        reads = [call for call in calls if call.kind in ("history", "get") and call.outcome == "ok"]
        shown = _Highest((_ended(read), read.seq or 0) for read in reads)
        for read in reads:
            least = written.before(read.begun)
            if not case.terms.unconfirmed_reads:
                least = max(least, shown.before(read.begun))
            if (read.seq or 0) < least:
                text = f"{read.writer} was shown messages up to {read.seq or 0}; {least} were known before it asked"
                yield Violation("I15", session, text)
            wanted = min(read.limit, read.seq or 0, case.terms.bound)
            if read.kind == "history" and read.limit and read.count != wanted:
                text = f"{read.writer} asked for {read.limit} messages and was given {read.count} of {read.seq}"
                yield Violation("I15", session, text)


def each_switch_begins_one_epoch(case: Case) -> Iterator[Violation]:
    """I11: the epochs are as many as the switches; the last of them says who the agent is."""
    if case.terms.lossy:
        return
    for session, seen in case.look.sessions.items():
        if session not in case.created:
            continue
        switches = [call for call in case.calls_of.get(session, ()) if call.kind == "switch"]
        by_note = {call.id: call for call in switches if call.id}
        landed = [by_note[stored.id] for stored in seen.messages if stored.id in by_note]
        done = sum(call.outcome == "ok" or call in landed for call in switches)
        trimmed = seen.count > len(seen.messages)
        most = len(switches) if trimmed else done
        if not done <= seen.epoch <= most:
            yield Violation("I11", session, f"its epoch is {seen.epoch} after {done} to {most} switches")
        ranked = landed if not trimmed and len(landed) == done else []
        for epoch, call in enumerate(ranked, 1):
            if call.epoch not in (None, epoch):
                yield Violation("I11", session, f"the {epoch}. switch began epoch {call.epoch}")
                break
        agents = [FIRST_AGENT, *(call.agent for call in ranked)]
        if len(ranked) == len(switches) and all(agents) and seen.agent != agents[-1]:
            yield Violation("I11", session, f"{seen.agent} is its agent; the last switch was to {agents[-1]}")


def a_session_is_shown_as_it_was_written(case: Case) -> Iterator[Violation]:
    """I16: ttl, metadata and epoch, in every read and at the end."""
    if case.terms.lossy:
        return
    for session, calls in case.calls_of.items():
        if session not in case.created:
            continue
        for read in calls:
            if read.kind == "get" and read.outcome == "ok" and read.count and not case.terms.stale_reads:
                where = f"{read.writer} was shown"
                yield from _as_written(session, calls, read.metadata, read.ttl, where, read.begun, _ended(read))
                yield from _in_its_epoch(session, calls, read)
        seen, kept = case.look.sessions.get(session), case.look.kept.get(session)
        if seen is not None and kept is not None:
            yield from _as_written(session, calls, seen.metadata, kept.ttl, "it holds")


def _as_written(
    session: str,
    calls: Sequence[Call],
    metadata: dict[str, Any],
    ttl: int | None,
    where: str,
    begun: float = inf,
    ended: float = inf,
) -> Iterator[Violation]:
    ttls = values_left(((call, call.ttl) for call in calls if call.kind in ("create", "set_ttl")), begun, ended)
    if ttl not in ttls:
        yield Violation("I16", session, f"{where} a ttl of {ttl}; asked for was {_either(ttls)}")
    writes = [call for call in calls if call.kind in ("create", "update")]
    for name in sorted({name for call in writes for name in call.metadata} | metadata.keys()):
        named = [(c, c.metadata.get(name)) for c in writes if c.kind == "create" or name in c.metadata]
        values = values_left(named, begun, ended)
        if metadata.get(name) not in values:
            text = f"{where} the metadata {name}={metadata.get(name)!r}; written was {_either(values)}"
            yield Violation("I16", session, text)


def _in_its_epoch(session: str, calls: Sequence[Call], read: Call) -> Iterator[Violation]:
    switches = [call for call in calls if call.kind == "switch" and call.begun <= _ended(read)]
    least = max((call.epoch or 0 for call in switches if _ended(call) < read.begun), default=0)
    if not least <= (read.epoch or 0) <= len(switches):
        text = f"{read.writer} was shown epoch {read.epoch}; {least} to {len(switches)} had begun"
        yield Violation("I11", session, text)


def _either(values: Iterable[Any]) -> str:
    return " or ".join(sorted({repr(value) for value in values})) or "nothing"


def a_deadline_is_ttl_after_the_last_activity(case: Case) -> Iterator[Violation]:
    """I16."""
    zero = case.look.zero
    if zero is None or case.terms.lossy:
        return
    for session, kept in case.look.kept.items():
        deadline = kept.deadlines.get("meta")
        slides = [call for call in case.calls_of.get(session, ()) if call.kind in SLIDES]
        if deadline is None or kept.ttl is None or session not in case.created:
            continue
        last = (deadline - zero) / 1000 - kept.ttl  # when it was set, by the recorder's clock
        earliest = max(call.begun for call in slides if call.outcome == "ok")
        latest = max(map(_ended, slides))
        if not earliest - CLOCKS <= last <= latest + CLOCKS:
            text = f"its deadline is {last - earliest:+.2f} s from {kept.ttl} s after its last activity"
            yield Violation("I16", session, text)


def counts_and_lists_are_exact(case: Case) -> Iterator[Violation]:
    """I8, at every moment of a run: all that live for as long as the call takes are in it, and no dead."""
    if case.terms.lossy or case.terms.stale_reads:
        return
    users = {call.user for call in case.calls if call.kind == "list"}
    lives = [(calls, _Life(calls)) for calls in case.calls_of.values() if any(c.kind == "create" for c in calls)]
    of_user: dict[str, list[_Life]] = {user: [] for user in users}
    for calls, life in lives:
        user = next(call.user for call in calls if call.kind == "create")
        if user in of_user:
            of_user[user].append(life)
    everybody = _Population([life for _, life in lives])
    by_user = {user: _Population(members) for user, members in of_user.items()}
    for call in case.calls:
        if call.kind not in ("count", "list") or call.outcome != "ok":
            continue
        least, most = (everybody if call.kind == "count" else by_user[call.user]).between(call.begun, _ended(call))
        if not least <= call.count <= most:
            what = "counted" if call.kind == "count" else f"in the list of {call.user}"
            yield Violation("I8", "", f"{call.writer}: {call.count} {what}; {least} to {most} lived")


class _Life:
    """From when until when a session surely lived, and may have lived."""

    def __init__(self, calls: Sequence[Call]) -> None:
        creations = [call for call in calls if call.kind == "create"]
        deletes = [call for call in calls if call.kind == "delete"]
        asked = [call for call in calls if call.kind in ("create", "set_ttl")]
        ttls = [inf if call.ttl is None else call.ttl for call in asked]
        self.sure_from = min(map(_ended, creations))
        self.sure_until = min(
            [call.begun for call in deletes]
            + [call.begun + ttl - CLOCKS for call, ttl in zip(asked, ttls, strict=True)]
        )
        self.maybe_from = min(call.begun for call in creations)
        last = max(_ended(call) for call in calls if call.kind in SLIDES)
        self.maybe_until = min([_ended(call) for call in deletes] + [last + max(ttls) + CLOCKS])


class _Population:
    """How many sessions lived."""

    def __init__(self, lives: Sequence[_Life]) -> None:
        def moments(of: Callable[[_Life], float]) -> list[float]:
            return sorted(map(of, lives))

        lives = list(lives)
        self._maybe_from, self._maybe_until = moments(lambda x: x.maybe_from), moments(lambda x: x.maybe_until)
        lives = [life for life in lives if life.sure_from < life.sure_until]
        self._sure_from, self._sure_until = moments(lambda x: x.sure_from), moments(lambda x: x.sure_until)

    def between(self, begun: float, ended: float) -> tuple[int, int]:
        """At least and at most, for one who counts from ``begun`` until ``ended``."""
        least = bisect_left(self._sure_from, begun) - bisect_right(self._sure_until, ended)
        most = bisect_right(self._maybe_from, ended) - bisect_left(self._maybe_until, begun)
        return max(least, 0), most


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    a_read_shows_what_was_acknowledged,
    each_switch_begins_one_epoch,
    a_session_is_shown_as_it_was_written,
    a_deadline_is_ttl_after_the_last_activity,
    counts_and_lists_are_exact,
)
