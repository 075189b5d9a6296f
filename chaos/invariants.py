"""The invariants I1 to I13. Each function checks one of them, or a part, and yields what breaks it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from chaos.case import Case, Violation, fate_of
from chaos.history import Operation, version_of
from chaos.snapshot import Snapshot, StoredSession, VisibleSession

PARTS = frozenset(("meta", "agent"))  # a complete session has these keys, and two more once it has a message
TOUCHED = 60_000  # milliseconds for which an index entry that a writer has begun is left to that writer
_GROUNDLESS = (
    "StoreCorrupt",
    "StoreDenied",
    "StoreIncompatible",
    "InvalidInput",
)  # no fault test has a fault that justifies these


def _acknowledged_is_there_once(case: Case) -> Iterator[Violation]:
    """I1: every acknowledged message is stored exactly once, and every acknowledged session exists.

    A session may be missing only if it was deleted or if its ttl ran out.
    """
    if case.allowances.empty:
        return
    for session in sorted(case.created.keys() - case.ended - case.snapshot.visible.keys()):
        case.lost.append(case.created[session])
        if not case.allowances.lossy:
            yield Violation("I1", session, "was created and is gone")
    for (session, message_id), operations in case.messages.items():
        if fate_of(operations) != "ok" or session in case.edited:
            continue
        visible = case.snapshot.visible.get(session)
        if visible is None and session in case.ended:
            continue
        acknowledged = next(op for op in operations if op.outcome == "ok")
        if not _is_kept(visible, message_id, acknowledged):
            case.lost.append(acknowledged)
            if not case.allowances.lossy:
                where = f"seq {acknowledged.seq}" if acknowledged.seq else acknowledged.kind
                yield Violation("I1", session, f"{message_id} was acknowledged ({where}) and is not there")


def _is_kept(visible: VisibleSession | None, message_id: str, acknowledged: Operation) -> bool:
    if visible is None:
        return False
    oldest = visible.count - len(visible.messages) + 1
    if acknowledged.seq is None:
        return oldest > 1 or any(message.id == message_id for message in visible.messages)
    if acknowledged.seq < oldest:
        return True  # it was trimmed, as the oldest messages are
    position = acknowledged.seq - oldest
    return position < len(visible.messages) and visible.messages[position].id == message_id


def _counted_as_sent(case: Case) -> Iterator[Violation]:
    """I1 and I2 for trimmed messages: the count has every acknowledged message once, and no failed one.

    Trimmed messages can no longer be looked at, so their number is checked.
    """
    for session, visible in case.snapshot.visible.items():
        if visible.count == len(visible.messages) or session in case.edited:
            continue  # nothing was trimmed; the other rules look at each message
        fates = Counter(map(fate_of, case.by_session[session].values()))
        least, most = 0 if case.allowances.lossy else fates["ok"], fates["ok"] + fates["unknown"]
        if not least <= visible.count <= most:
            text = f"{visible.count} are counted; {fates['ok']} were acknowledged, {fates['unknown']} are unknown"
            yield Violation("I1" if visible.count < least else "I2", session, text)


def _unknown_at_most_once_failed_never(case: Case) -> Iterator[Violation]:
    """I1 and I2: no message is stored twice, no message that failed is stored, and none that nobody sent."""
    for session, visible in case.snapshot.visible.items():
        for message_id, times in Counter(message.id for message in visible.messages).items():
            operations = case.messages.get((session, message_id))
            if times > 1:
                case.doubled += times - 1
                which = "I1" if operations and fate_of(operations) == "ok" else "I2"
                yield Violation(which, session, f"{message_id} is there {times} times")
            if operations and fate_of(operations) == "failed":
                yield Violation("I2", session, f"{message_id} failed ({operations[-1].error[:80]}) and is there")
            if not operations and session not in case.edited | case.handled:
                yield Violation("I2", session, f"{message_id} is there and was never sent")


def _in_order_without_gaps(case: Case) -> Iterator[Violation]:
    """I3: the sequence numbers of a history have no gaps and end at the count, and each id is stored with its seq."""
    for session, visible in case.snapshot.visible.items():
        stored = case.snapshot.stored.get(session)
        seqs = [message.seq for message in visible.messages]
        if session in case.edited and stored is not None:
            seqs = sorted(stored.ids.values())  # with the messages that were retracted
        last = visible.count
        if seqs != list(range(last - len(seqs) + 1, last + 1)):
            yield Violation("I3", session, f"seqs {seqs[:3]}…{seqs[-3:]} of {len(seqs)} do not lead up to {last}")
        for message in visible.messages:
            remembered = stored.ids.get(message.id) if stored else None
            if remembered is not None and remembered != message.seq:
                yield Violation(
                    "I3", session, f"{message.id} is at seq {message.seq} and is remembered at {remembered}"
                )
                break
    yield from _each_writers_order(case)
    if not case.allowances.lossy:
        yield from _each_seq_given_once(case)


def _each_writers_order(case: Case) -> Iterator[Violation]:
    """I3: the messages of one writer are stored in the order in which the writer sent them."""
    by_writer: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (session, message_id), operations in case.messages.items():
        if not any(op.abandoned for op in operations) and operations[0].kind == "append":
            by_writer[session, operations[0].writer].append(message_id)
    seqs = {
        session: {message.id: message.seq for message in visible.messages}
        for session, visible in case.snapshot.visible.items()
    }
    for (session, writer), ids in by_writer.items():
        found = [(seqs[session][i], i) for i in ids if i in seqs.get(session, ())]
        for (before, first), (after, second) in pairwise(found):
            if before > after:
                text = f"{writer} sent {first} before {second}, and they are stored at {before} and {after}"
                yield Violation("I3", session, text)
                break


def _each_seq_given_once(case: Case) -> Iterator[Violation]:
    """I3: no sequence number was given to two messages."""
    given: dict[tuple[str, int], str] = {}
    for op in case.history:
        if op.kind == "append" and op.outcome == "ok" and op.seq is not None:
            first = given.setdefault((op.session, op.seq), op.id)
            if first != op.id:
                yield Violation("I3", op.session, f"seq {op.seq} was given to {first} and to {op.id}")


def _the_last_are_kept(case: Case) -> Iterator[Violation]:
    """I4: a history has the newest messages, as many as the bound allows."""
    for session, visible in case.snapshot.visible.items():
        wanted = min(visible.count, case.allowances.bound)
        if session in case.edited:
            continue
        if len(visible.messages) != wanted:
            text = f"{len(visible.messages)} messages kept of {visible.count}, not {wanted}"
            yield Violation("I4", session, text)


def _whole_or_absent(case: Case) -> Iterator[Violation]:
    """I5: a session is complete or absent. A session that nobody ended exists, and a deleted one does not return."""
    for session, stored in case.snapshot.stored.items():
        there = set(stored.deadlines)
        if stored.user is None:
            yield Violation("I5", session, f"it has no meta, but it has {', '.join(sorted(there))}")
            continue
        has_messages = stored.length if session in case.edited else stored.count  # a history may have been cleared
        wanted = PARTS | ({"history", "ids"} if has_messages else frozenset())
        if there != wanted:
            text = f"has {', '.join(sorted(there))} and should have {', '.join(sorted(wanted))}"
            yield Violation("I5", session, text)
        if stored.agent != stored.current_agent:
            yield Violation("I5", session, f"the agent's key says {stored.agent}, meta says {stored.current_agent}")
        visible = case.snapshot.visible.get(session)
        yield from _ids_fit_messages(session, stored, visible, edited=session in case.edited)
    for op in case.history:
        wrongly_gone = op.error.startswith("SessionNotFound") and op.session not in case.ended
        if wrongly_gone and op.session in case.created and not case.allowances.lossy:
            yield Violation("I5", op.session, f"{op.writer} was told that it does not exist, but nobody ended it")
        back = op.kind == "delete" and op.outcome == "ok" and op.session in case.snapshot.visible
        if back and not case.allowances.lossy:
            yield Violation("I5", op.session, "was deleted and exists")


def _a_living_session_is_found(case: Case) -> Iterator[Violation]:
    """I5: a reader never gets None for a session that exists, and never an empty list where messages are stored."""
    if case.allowances.lossy:
        return
    written: dict[str, float] = {}
    for op in case.history:
        if op.kind in ("append", "switch") and op.outcome == "ok" and op.ended is not None:
            written[op.session] = min(op.ended, written.get(op.session, op.ended))
    for op in case.history:
        if op.outcome != "ok" or op.count or op.session in case.ended or op.session not in case.created:
            continue
        created = case.created[op.session].ended
        if op.kind == "get" and created is not None and created < op.begun:
            yield Violation("I5", op.session, f"{op.writer} was answered None, but nobody ended it")
        if op.kind == "history" and written.get(op.session, op.begun) < op.begun:
            yield Violation("I5", op.session, f"{op.writer} was answered an empty list, but messages were stored")


def _ids_fit_messages(
    session: str, stored: StoredSession, visible: VisibleSession | None, *, edited: bool
) -> Iterator[Violation]:
    """I5: a caller finds every stored session, with all its messages, and their ids are those that are remembered.

    In an edited one, ids of messages that were retracted are remembered, too.
    """
    if visible is None:
        yield Violation("I5", session, "its keys exist, but a caller does not find it")
        return
    ids = {message.id for message in visible.messages}
    retracted = set(stored.ids) - ids if edited else set()
    if stored.length != len(visible.messages) + len(retracted):
        text = f"{stored.length} elements, {len(visible.messages)} messages, {len(retracted)} retracted"
        yield Violation("I5", session, text)
    if ids | retracted != set(stored.ids):
        odd = sorted((ids | retracted) ^ set(stored.ids))
        yield Violation("I5", session, f"{len(odd)} ids are remembered or stored, not both: {odd[:3]}")


def _one_deadline(case: Case) -> Iterator[Violation]:
    """I6: all keys of a session have the same deadline; they have none if and only if the session never expires."""
    for session, stored in case.snapshot.stored.items():
        deadlines = set(stored.deadlines.values())
        if len(deadlines) > 1:
            yield Violation("I6", session, f"several deadlines: {stored.deadlines}")
        elif None in deadlines and (stored.user is None or stored.ttl is not None):
            yield Violation("I6", session, f"no deadline on {', '.join(sorted(stored.deadlines))}")
        elif stored.ttl is None and stored.user is not None and None not in deadlines:
            yield Violation("I6", session, "never expires, but has a deadline")


def _living_in_both_indexes(case: Case) -> Iterator[Violation]:
    """I7: every living session is in both indexes, in the list of its user and in a scan. No dead session is.

    No index entry is in a place where nobody looks for it. On a cluster an entry that a writer has begun may wait
    a minute for the change of its session.
    """
    snapshot = case.snapshot
    living = {(session, stored.user) for session, stored in snapshot.stored.items() if stored.user is not None}
    begun = {entry for entry, score in snapshot.due.items() if score % 1 != 0 and snapshot.now - score < TOUCHED}
    for session, user in living:
        yield from _due_entry_is_in_time(snapshot, session, user or "")
        if session not in snapshot.scanned:
            yield Violation("I7", session, "lives, but a scan does not show it")
        if (session, user) in begun and session not in case.created:
            continue  # its creator was killed; the first count or sweep after the minute completes the indexes
        if session not in snapshot.listed.get(user or "", ()):
            yield Violation("I7", session, f"lives, but is not in the list of {user}")
        if snapshot.by_user.get((session, user or ""), 0) <= 0:
            yield Violation("I7", session, "lives, but has no entry in the user index")
    for index, entries in (("due", snapshot.due), ("user", snapshot.by_user)):
        for session, user in entries.keys() - living - begun:
            text = f"is dead and swept, but has an entry at {entries[session, user]:.1f} in the {index} index of {user}"
            yield Violation("I7", session, text)
    for stray in snapshot.strays:
        yield Violation("I7", "", f"an index entry that nobody looks for: {stray}")


def _due_entry_is_in_time(snapshot: Snapshot, session: str, user: str) -> Iterator[Violation]:
    """I7: the entry in the due index is not later than the deadline, so that a dead session is always found."""
    deadline = snapshot.stored[session].deadlines.get("meta")
    limit = float("inf") if deadline is None else deadline
    score = snapshot.due.get((session, user))
    if score is None:
        yield Violation("I7", session, "lives, but has no entry in the due index")
    elif score <= 0:
        yield Violation("I7", session, "lives, but its entry in the due index says that it is dead")
    elif score > limit:
        yield Violation("I7", session, f"its entry is {score - limit:.0f} ms later than its deadline")


def _count_is_exact(case: Case) -> Iterator[Violation]:
    """I8: the count of active sessions is exact when nothing else happens. realtime.py checks it during the run."""
    living = sum(stored.user is not None for stored in case.snapshot.stored.values())
    if case.snapshot.counted != living:
        yield Violation("I8", "", f"{case.snapshot.counted} counted, {living} living")


def _each_death_once(case: Case) -> Iterator[Violation]:
    """I9: all sweeps together count each death exactly once."""
    if case.allowances.deaths is not None:
        swept = sum(op.count for op in case.history if op.kind == "sweep" and op.outcome == "ok")
        if swept != case.allowances.deaths:
            yield Violation("I9", "", f"{swept} deaths were counted, {case.allowances.deaths} happened")


def _nothing_left(case: Case) -> Iterator[Violation]:
    """I10: nothing is left when all sessions have expired and a sweep has run."""
    if case.allowances.empty:
        left = [*case.snapshot.stored, *case.snapshot.due, *case.snapshot.by_user]
        if left:
            yield Violation("I10", "", f"{len(left)} keys or index entries are left of what has expired: {left[:3]}")


def _no_stale_epoch(case: Case) -> Iterator[Violation]:
    """I11: each epoch is given to one switch, and a message that names an epoch is stored within that epoch.

    The note of a switch is stored where its epoch begins.
    """
    won: dict[tuple[str, int], Operation] = {}
    for op in case.history:
        if op.kind == "switch" and op.outcome == "ok" and op.epoch is not None:
            first = won.setdefault((op.session, op.epoch), op)
            if first is not op and not case.allowances.lossy:
                text = f"epoch {op.epoch} was given to {first.writer} and to {op.writer}"
                yield Violation("I11", op.session, text)
    begins: dict[str, dict[int, int]] = defaultdict(dict)
    notes = {(c.session, c.id): c for c in case.history if c.kind == "switch" and c.id}
    for session, visible in case.snapshot.visible.items():
        for message in visible.messages:
            switch = notes.get((session, message.id))
            epoch = None if switch is None else switch.epoch
            if switch is not None and epoch is None and switch.expect is not None:
                epoch = switch.expect + 1  # its answer was lost, but the epoch that it expected says which one it began
            if epoch is not None:
                begins[session][epoch] = message.seq
    yield from _fenced_in_their_epoch(case, begins)


def _fenced_in_their_epoch(case: Case, begins: dict[str, dict[int, int]]) -> Iterator[Violation]:
    """I11: a message that names an epoch is after the begin of that epoch and before the begin of the next one."""
    for session, visible in case.snapshot.visible.items():
        if not begins[session]:
            continue
        seqs = {message.id: message.seq for message in visible.messages}
        for message_id, operations in case.by_session[session].items():
            epoch, seq = operations[0].epoch, seqs.get(message_id)
            if operations[0].kind != "append" or epoch is None or seq is None:
                continue
            later = [at for began, at in begins[session].items() if began > epoch]
            earlier = [at for began, at in begins[session].items() if began <= epoch]
            if any(at < seq for at in later) or any(at > seq for at in earlier):
                yield Violation("I11", session, f"{message_id} of epoch {epoch} is stored at {seq}, in another epoch")


def _only_typed_errors(case: Case) -> Iterator[Violation]:
    """I12: callers get typed errors only, and no error that nothing justifies."""
    for op in case.history:
        if op.error and not op.typed and op.error != "CancelledError":
            yield Violation("I12", op.session, f"{op.kind} by {op.writer} raised {op.error}")
        if op.error.startswith("MessageConflict") and op.kind != "replace":
            yield Violation("I12", op.session, f"{op.id} was sent with one content only, but refused as different")
        if op.kind == "create" and op.error.startswith("SessionExists"):
            yield Violation("I12", op.session, "nobody else created it, but it was refused as taken")
        if op.error.startswith(_GROUNDLESS):
            yield Violation(
                "I12", op.session, f"{op.kind} by {op.writer} got an error that nothing justifies: {op.error}"
            )


def _the_answer_is_mine(case: Case) -> Iterator[Violation]:
    """I13: every answer belongs to the call that asked, and every stored text to its message."""
    for op in case.history:
        if op.mismatch:
            yield Violation("I13", op.session, f"{op.kind} by {op.writer} was answered {op.mismatch}")
    for session, visible in case.snapshot.visible.items():
        for message in visible.messages:
            if session in case.handled and (session, message.id) not in case.messages:
                continue  # a marker, a note, or what the customer is told
            version = version_of(message.text, session, message.id)
            may_differ = session in case.edited or (session, message.id) in case.streamed
            if version is None or (version and not may_differ):
                yield Violation("I13", session, f"{message.id} has the text of another message: {message.text[:80]!r}")


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    _acknowledged_is_there_once,
    _counted_as_sent,
    _unknown_at_most_once_failed_never,
    _in_order_without_gaps,
    _the_last_are_kept,
    _whole_or_absent,
    _a_living_session_is_found,
    _one_deadline,
    _living_in_both_indexes,
    _count_is_exact,
    _each_death_once,
    _nothing_left,
    _no_stale_epoch,
    _only_typed_errors,
    _the_answer_is_mine,
)
