"""The invariants I1 to I13 as rules: each gives what breaks it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise

from chaos.case import Case, Violation, fate_of
from chaos.look import Kept, Look, Seen
from chaos.recorder import Call, text_of

PARTS = frozenset(("meta", "agent"))  # a whole session has these, and two more once it has a message
TOUCHED = 60_000  # milliseconds: an entry that a writer began is left to him so long
_GROUNDLESS = ("StoreCorrupt", "StoreDenied", "StoreIncompatible", "InvalidInput")  # no fault here is one of these


def _acknowledged_is_there_once(case: Case) -> Iterator[Violation]:
    """I1. Also: a session whose creation was acknowledged is there, unless it was deleted or had its time."""
    if case.terms.empty:
        return
    for session in sorted(case.created.keys() - case.ended - case.look.sessions.keys()):
        case.lost.append(case.created[session])
        if not case.terms.lossy:
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


def _counted_as_sent(case: Case) -> Iterator[Violation]:
    """I1 and I2 of what was trimmed: as many were counted as were stored, each once."""
    for session, seen in case.look.sessions.items():
        if seen.count == len(seen.messages):
            continue  # nothing was trimmed, and each has been looked at
        fates = Counter(map(fate_of, case.by_session[session].values()))
        least, most = 0 if case.terms.lossy else fates["ok"], fates["ok"] + fates["unknown"]
        if not least <= seen.count <= most:
            text = f"{seen.count} are counted; {fates['ok']} were acknowledged, {fates['unknown']} are unknown"
            yield Violation("I1" if seen.count < least else "I2", session, text)


def _unknown_at_most_once_failed_never(case: Case) -> Iterator[Violation]:
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


def _in_order_without_gaps(case: Case) -> Iterator[Violation]:
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


def _each_writers_order(case: Case) -> Iterator[Violation]:
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


def _each_seq_given_once(case: Case) -> Iterator[Violation]:
    given: dict[tuple[str, int], str] = {}
    for call in case.calls:
        if call.kind == "append" and call.outcome == "ok" and call.seq is not None:
            first = given.setdefault((call.session, call.seq), call.id)
            if first != call.id:
                yield Violation("I3", call.session, f"seq {call.seq} was given to {first} and to {call.id}")


def _the_last_are_kept(case: Case) -> Iterator[Violation]:
    """I4."""
    for session, seen in case.look.sessions.items():
        wanted = min(seen.count, case.terms.bound)
        if len(seen.messages) != wanted:
            text = f"{len(seen.messages)} messages kept of {seen.count}, not {wanted}"
            yield Violation("I4", session, text)


def _whole_or_absent(case: Case) -> Iterator[Violation]:
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


def _a_living_session_is_found(case: Case) -> Iterator[Violation]:
    """I5, as readers see it: what is there is never told as nothing."""
    if case.terms.lossy:
        return
    written: dict[str, float] = {}
    for call in case.calls:
        if call.kind in ("append", "switch") and call.outcome == "ok" and call.ended is not None:
            written[call.session] = min(call.ended, written.get(call.session, call.ended))
    for call in case.calls:
        if call.outcome != "ok" or call.count or call.session in case.ended or call.session not in case.created:
            continue
        created = case.created[call.session].ended
        if call.kind == "get" and created is not None and created < call.begun:
            yield Violation("I5", call.session, f"{call.writer} was told None of it, and nobody ended it")
        if call.kind == "history" and written.get(call.session, call.begun) < call.begun:
            yield Violation("I5", call.session, f"{call.writer} was given no messages, and there were some")


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


def _one_deadline(case: Case) -> Iterator[Violation]:
    """I6."""
    for session, kept in case.look.kept.items():
        deadlines = set(kept.deadlines.values())
        if len(deadlines) > 1:
            yield Violation("I6", session, f"several deadlines: {kept.deadlines}")
        elif None in deadlines and (kept.user is None or kept.ttl is not None):
            yield Violation("I6", session, f"no deadline on {', '.join(sorted(kept.deadlines))}")
        elif kept.ttl is None and kept.user is not None and None not in deadlines:
            yield Violation("I6", session, "never expires, and has a deadline")


def _living_in_both_indexes(case: Case) -> Iterator[Violation]:
    """I7. On a cluster, an entry that a writer has begun a moment ago waits for a change that may still come."""
    look = case.look
    living = {(session, kept.user) for session, kept in look.kept.items() if kept.user is not None}
    begun = {entry for entry, score in look.due.items() if score % 1 != 0 and look.now - score < TOUCHED}
    for session, user in living:
        yield from _due_entry_tells_the_truth(look, session, user or "")
        if session not in look.scanned:
            yield Violation("I7", session, "lives, and a scan does not show it")
        if (session, user) in begun and session not in case.created:
            continue  # its creator was cut off; whoever counts or sweeps after the minute enters it
        if session not in look.listed.get(user or "", ()):
            yield Violation("I7", session, f"lives, and is not in the list of {user}")
        if look.by_user.get((session, user or ""), 0) <= 0:
            yield Violation("I7", session, "lives, and has no entry in the user index")
    for index, entries in (("due", look.due), ("user", look.by_user)):
        for session, user in entries.keys() - living - begun:
            text = f"is dead and swept, and has an entry at {entries[session, user]:.1f} in the {index} index of {user}"
            yield Violation("I7", session, text)
    for stray in look.strays:
        yield Violation("I7", "", f"an index entry that nobody looks for: {stray}")


def _due_entry_tells_the_truth(look: Look, session: str, user: str) -> Iterator[Violation]:
    """An entry must not be later than the deadline."""
    deadline = look.kept[session].deadlines.get("meta")
    limit = float("inf") if deadline is None else deadline
    score = look.due.get((session, user))
    if score is None:
        yield Violation("I7", session, "lives, and has no entry in the due index")
    elif score <= 0:
        yield Violation("I7", session, "lives, and its entry in the due index says that it is dead")
    elif score > limit:
        yield Violation("I7", session, f"its entry is {score - limit:.0f} ms later than its deadline")


def _count_is_exact(case: Case) -> Iterator[Violation]:
    """I8."""
    living = sum(kept.user is not None for kept in case.look.kept.values())
    if case.look.counted != living:
        yield Violation("I8", "", f"{case.look.counted} counted, {living} living")


def _each_death_once(case: Case) -> Iterator[Violation]:
    """I9."""
    if case.terms.deaths is not None:
        swept = sum(call.count for call in case.calls if call.kind == "sweep" and call.outcome == "ok")
        if swept != case.terms.deaths:
            yield Violation("I9", "", f"{swept} deaths were counted, {case.terms.deaths} happened")


def _nothing_left(case: Case) -> Iterator[Violation]:
    """I10."""
    if case.terms.empty:
        left = [*case.look.kept, *case.look.due, *case.look.by_user]
        if left:
            yield Violation("I10", "", f"{len(left)} keys or hints are left of what has expired: {left[:3]}")


def _no_stale_epoch(case: Case) -> Iterator[Violation]:
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


def _fenced_in_their_epoch(case: Case, begins: dict[str, dict[int, int]]) -> Iterator[Violation]:
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


def _only_typed_errors(case: Case) -> Iterator[Violation]:
    """I12."""
    for call in case.calls:
        if call.error and not call.typed and call.error != "CancelledError":
            yield Violation("I12", call.session, f"{call.kind} by {call.writer} raised {call.error}")
        if call.error.startswith("MessageConflict"):
            yield Violation("I12", call.session, f"{call.id} was sent with one content only, and refused as another")
        if call.kind == "create" and call.error.startswith("SessionExists"):
            yield Violation("I12", call.session, "nobody else created it, and it was refused as taken")
        if call.error.startswith(_GROUNDLESS):
            yield Violation("I12", call.session, f"{call.kind} by {call.writer} was told what is not so: {call.error}")


def _the_answer_is_mine(case: Case) -> Iterator[Violation]:
    """I13."""
    for call in case.calls:
        if call.strange:
            yield Violation("I13", call.session, f"{call.kind} by {call.writer} was answered {call.strange}")
    for session, seen in case.look.sessions.items():
        for stored in seen.messages:
            if stored.text != text_of(session, stored.id):
                yield Violation("I13", session, f"{stored.id} has the text of another: {stored.text[:80]!r}")


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
