"""The invariants I31 to I33: what watchers were told of the messages of their sessions."""

from collections.abc import Callable, Iterator

from chaos.case import Case, Violation
from chaos.feeds import APPENDED, CHANGED, CLEARED, GAP, GONE, RESET, Feed, Part, feeds_of


def _complete_and_in_order(case: Case) -> Iterator[Violation]:
    """I31: a watcher is told every message it may see, in order and none twice; what it is not told, a Gap names."""
    for feed in feeds_of(case):
        for part in feed.parts:
            for text in _find_disorder(feed, part):
                yield Violation("I31", feed.session, f"{feed.watcher} {text}")
        visible = case.snapshot.visible.get(feed.session)
        if visible is None or feed.has_ended or feed.session in case.edited:
            continue
        part = feed.parts[-1]
        told = {event.told["seq"]: event.told["id"] for event in part.events if event.told["event"] == APPENDED}
        until = part.events[-1].told["at"]
        trimmed = visible.count - len(visible.messages)
        for message in visible.messages:
            if part.begin < message.seq <= until and feed.may_see(message) and told.get(message.seq) != message.id:
                was = told.get(message.seq, "nothing")
                yield Violation("I31", feed.session, f"{feed.watcher} was told {was} at {message.seq}: {message.id}")
        stored = {message.seq for message in visible.messages}
        for seq in sorted(told):
            if seq > trimmed and seq not in stored:
                yield Violation(
                    "I31", feed.session, f"{feed.watcher} was told {told[seq]} at {seq}, which is not there"
                )


def _find_disorder(feed: Feed, part: Part) -> Iterator[str]:
    """Within a part the sequence numbers rise; those of one who is told all have no holes."""
    last = part.begin
    for event in part.events:
        told = event.told
        kind = told["event"]
        first: int = told["from"] if kind == GAP else told.get("seq") or 0
        to: int = told["to"] if kind == GAP else first
        if kind == CLEARED:
            last = max(last, told["at"])
        if kind in CHANGED and first > last:
            yield f"was told of a change at {first}, and had been told of nothing behind {last}"
        if kind not in (APPENDED, GAP):
            continue
        if first <= last:
            yield f"was told {kind} at {first}, after {last}"
        elif feed.inside and first != last + 1 and not any(each.told["event"] == CLEARED for each in part.events):
            yield f"was told {kind} at {first}, directly after {last}"
        last = max(last, to)


def _no_needless_reset(case: Case) -> Iterator[Violation]:
    """I31: a Reset has a reason: another session has the id, or a failover lost writes, or too many edits."""
    excused = case.allowances.lossy or case.allowances.unconfirmed_reads
    for feed in feeds_of(case):
        for event in feed.events:
            if event.told["event"] != RESET:
                continue
            reason = event.told["reason"]
            is_right = {"recreated": feed.session in case.ended, "rewritten": excused, "too_old": False}
            if feed.session not in case.edited and not (is_right[reason] or case.allowances.lossy):
                yield Violation("I31", feed.session, f"{feed.watcher} got a Reset, {reason}, for nothing")


def _nothing_internal_is_told(case: Case) -> Iterator[Violation]:
    """I32: a customer is told no internal message, no metadata and no operator's id."""
    for feed in feeds_of(case):
        for event in feed.events:
            if event.told.get("secret"):
                yield Violation(
                    "I32", feed.session, f"{feed.watcher} was told {event.told['event']} with internal data"
                )


def _all_is_told_at_the_end(case: Case) -> Iterator[Violation]:
    """I33: at the end each watcher has been told everything, and the end of a session that is gone."""
    for feed in feeds_of(case):
        visible = case.snapshot.visible.get(feed.session)
        if visible is None:
            if not feed.has_ended and not case.allowances.lossy:
                yield Violation("I33", feed.session, f"{feed.watcher} was not told that it is gone")
            continue
        seen = [message.seq for message in visible.messages if feed.may_see(message)]
        at = feed.events[-1].told["at"]
        if seen and at < seen[-1]:
            yield Violation("I33", feed.session, f"{feed.watcher} was told up to {at} of {seen[-1]}")
        if feed.events[-1].told["event"] in GONE:
            yield Violation("I33", feed.session, f"{feed.watcher} was told last that it is gone, and it is there")


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    _complete_and_in_order,
    _no_needless_reset,
    _nothing_internal_is_told,
    _all_is_told_at_the_end,
)
