"""The invariants I17 to I19, for histories that are edited: messages are retracted, popped, replaced, cleared.

A look is whatever showed messages to a caller: a read, a pop, and the store at the end. Calls that overlap in time may
have happened in either order, and a call of unknown outcome at any time after it began, or never.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from chaos.case import Case, Violation
from chaos.history import Operation, version_of
from chaos.realtime import end_of, values_left
from chaos.snapshot import VisibleSession


@dataclass(slots=True)
class _Life:
    """Of one message: when it may have been stored first, from when it was known, and what removed it.

    ``removed``: the operations that removed it, with the moment from which it was gone. ``endangered``: from when
    something may have removed it. ``restored``: it may be stored again after a clear, which forgets ids, because its
    append was not answered before.
    """

    sent: Operation
    begun: float
    known: float = inf
    failed: bool = False
    endangered: float = inf
    restored: bool = False
    removed: list[tuple[float, Operation]] | None = None

    def gone(self, but: Operation) -> float:
        return min((moment for moment, op in self.removed or () if op is not but), default=inf)


class _Edited:
    """One session: its operations by kind, the lives of its messages, and all looks."""

    def __init__(self, session: str, operations: Sequence[Operation], case: Case) -> None:
        self.session = session
        self.allowances = case.allowances
        self.visible = case.snapshot.visible.get(session)
        self.done = [op for op in operations if op.outcome != "failed"]
        self.failed = [op for op in operations if op.outcome == "failed"]
        self.lives: dict[str, _Life] = {}
        self._bear()
        self._remove()
        self.looks = [op for op in self.done if op.kind == "pop" and op.outcome == "ok"]
        if not case.allowances.stale_reads:
            self.looks += [op for op in self.done if op.kind == "look" and op.outcome == "ok"]
        if self.visible is not None:
            self.looks.append(_last_look(session, self.visible))

    def of(self, *kinds: str, outcome: str = "") -> list[Operation]:
        return [op for op in self.done if op.kind in kinds and outcome in ("", op.outcome)]

    def _bear(self) -> None:
        clears = self.of("clear", "rewrite")
        for op in (*self.done, *self.failed):
            for message_id in op.ids if op.kind == "rewrite" else [op.id] if op.id else []:
                failed = op.outcome == "failed"
                life = self.lives.setdefault(message_id, _Life(op, op.begun, failed=failed))
                life.failed = life.failed and failed
                life.begun = min(life.begun, op.begun)
                life.known = min(life.known, inf if failed else end_of(op))
        for life in self.lives.values():
            life.restored = life.sent.kind != "rewrite" and any(
                life.begun < end_of(op) and op.begun < life.known for op in clears
            )

    def _remove(self) -> None:
        for op in self.of("retract", "pop"):
            for message_id in op.ids:
                life = self.lives.get(message_id)
                if life is not None:
                    _remove(life, op, end_of(op) if op.count else inf)
        for op in self.of("clear", "rewrite"):
            for message_id, life in self.lives.items():
                if life.begun < end_of(op) and message_id not in op.ids:
                    _remove(life, op, end_of(op) if life.known < op.begun else inf)


def _remove(life: _Life, op: Operation, gone: float) -> None:
    life.endangered = min(life.endangered, op.begun)
    if gone < inf:
        life.removed = [*(life.removed or ()), (gone, op)]


def _last_look(session: str, visible: VisibleSession) -> Operation:
    versions = {m.id: version_of(m.text, session, m.id) or "" for m in visible.messages}
    return Operation(
        -1,
        "look",
        session,
        "the observer",
        inf,
        limit=10**9,
        ids=[message.id for message in visible.messages],
        seqs=[message.seq for message in visible.messages],
        versions={message_id: version for message_id, version in versions.items() if version},
        outcome="ok",
        ended=inf,
    )


def _what_is_gone_stays_away(edited: _Edited) -> Iterator[Violation]:
    """I17: no message is popped twice, and none that was retracted, popped or cleared is shown again."""
    popped = Counter(i for op in edited.of("pop", outcome="ok") for i in op.ids)
    for message_id, times in popped.items():
        life = edited.lives.get(message_id)
        if times > 1 and not (life and life.restored):
            yield Violation("I17", edited.session, f"{message_id} was popped {times} times")
    for look in edited.looks:
        for message_id in look.ids:
            life = edited.lives.get(message_id)
            if life is None or life.failed or life.begun > end_of(look):
                what = "had failed" if life and life.failed else "was never sent"
                yield Violation("I17", edited.session, f"{look.writer} was shown {message_id}, which {what}")
            elif life.gone(look) < look.begun and not life.restored:
                kinds = " and ".join(op.kind for moment, op in life.removed or () if moment < look.begun)
                text = f"{look.writer} was shown {message_id} by a {look.kind} after a {kinds}"
                yield Violation("I17", edited.session, text)


def _nothing_else_goes(edited: _Edited) -> Iterator[Violation]:
    """I18: each look shows the newest messages, and all that nothing can have removed.

    So a pop takes the newest, and no more than it returns; a clear takes nothing that came after it. A pop of unknown
    outcome may have taken as many as it asked for.
    """
    seqs = {message_id: seq for message_id, seq, _ in _given(edited)}
    count = edited.visible.count if edited.visible else 0
    sure = sorted((life.known, i, life.endangered) for i, life in edited.lives.items() if life.known < inf)
    unknown = edited.of("pop", outcome="unknown")
    for look in edited.looks:
        oldest = min(look.seqs, default=0) if len(look.ids) >= look.limit else 0
        shown = set(look.ids)
        missing = [
            message_id
            for known, message_id, endangered in sure
            if known < look.begun and endangered >= end_of(look) and message_id not in shown
        ]
        trimmed = count - edited.allowances.bound
        missing = [i for i in missing if seqs.get(i, 0 if oldest else count) > max(oldest, trimmed)]
        spared = sum(op.limit for op in unknown if op.begun <= end_of(look))
        if len(missing) > spared:
            text = f"{look.writer} was not shown {len(missing)} messages by a {look.kind}: {missing[:3]}"
            yield Violation("I18", edited.session, text)


def _each_change_counts_once(edited: _Edited) -> Iterator[Violation]:
    """I18: the revision counts each edit once, and what clears counted adds up with all else that happened."""
    visible = edited.visible
    if visible is None:
        return
    sure = edited.of("replace", "clear", "rewrite", outcome="ok")
    least = len(sure) + sum(bool(op.ids) for op in edited.of("pop", outcome="ok"))
    unknown = edited.of("replace", "clear", "rewrite", "pop", "retract", outcome="unknown")
    most = least + sum(op.count for op in edited.of("retract", outcome="ok")) + len(unknown)
    if not least <= visible.revision <= most:
        yield Violation("I18", edited.session, f"its revision is {visible.revision} after {least} to {most} edits")
    if edited.of("rewrite") or edited.of("clear", outcome="unknown"):
        return
    there = {message.id for message in visible.messages}
    there.update(i for op in edited.of("pop", "retract", outcome="ok") for i in op.ids if op.count)
    found = len(there) + sum(op.count for op in edited.of("clear", outcome="ok"))
    stored = sum(life.known < inf for life in edited.lives.values())
    maybe = sum(life.known == inf and not life.failed for life in edited.lives.values())
    again = sum(life.restored for life in edited.lives.values())
    taken = sum(op.limit or 1 for op in edited.of("pop", "retract", outcome="unknown"))
    trimmed = max(visible.count - edited.allowances.bound, 0)
    if not stored - taken - trimmed <= found <= stored + maybe + again:
        text = f"{found} messages are there or were popped, retracted or cleared; {stored} were sent, {maybe} may be"
        yield Violation("I18", edited.session, text)


def _given(edited: _Edited) -> Iterator[tuple[str, int, Operation]]:
    """Every message id and sequence number that callers were told belong together."""
    for op in edited.of("append", outcome="ok"):
        if op.seq is not None:
            yield op.id, op.seq, op
    for op in (*edited.of("replace", "rewrite", outcome="ok"), *edited.looks):
        if op.kind != "look" or not edited.allowances.unconfirmed_reads or op.begun == inf:
            yield from ((message_id, seq, op) for message_id, seq in zip(op.ids, op.seqs, strict=True))


def _a_seq_belongs_to_one_message(edited: _Edited) -> Iterator[Violation]:
    """I19: no edit changes the sequence number of a message, and none is given twice."""
    by_id: dict[str, int] = {}
    by_seq: dict[int, str] = {}
    for message_id, seq, op in _given(edited):
        life = edited.lives.get(message_id)
        first = by_id.setdefault(message_id, seq)
        if first != seq and not (life and life.restored):
            text = f"{message_id} has seq {first}, and seq {seq} by a {op.kind}"
            yield Violation("I19", edited.session, text)
        if by_seq.setdefault(seq, message_id) != message_id:
            text = f"seq {seq} is that of {by_seq[seq]}, and of {message_id} by a {op.kind}"
            yield Violation("I19", edited.session, text)
    for op in edited.of("append"):
        if op.expect is not None and by_id.get(op.id, op.expect + 1) != op.expect + 1:
            yield Violation("I19", edited.session, f"{op.id} expected seq {op.expect} and has seq {by_id[op.id]}")


def _one_of_those_that_expect_the_same(edited: _Edited) -> Iterator[Violation]:
    """I19: of several writes that expect the same version, value or revision, one succeeds at most."""
    writes = [(op, (op.kind, " ".join(op.ids), op.old)) for op in edited.of("replace") if op.old is not None]
    writes += [(op, ("metadata", "", op.old)) for op in edited.of("update", "append") if op.old is not None]
    writes += [(op, (op.kind, "", str(op.expect))) for op in edited.of("rewrite") if op.expect is not None]
    won = Counter(key for op, key in writes if op.outcome == "ok")
    for key, times in won.items():
        if times > 1:
            yield Violation("I19", edited.session, f"{times} writes succeeded that expected {key}")


def _the_version_that_was_written_last(edited: _Edited) -> Iterator[Violation]:
    """I19: each look shows the version of a message that was written last."""
    writes: dict[str, list[tuple[Operation, str]]] = defaultdict(list)
    for message_id, life in edited.lives.items():
        known = life.known < inf
        outcome, moment = ("ok", life.known) if known else ("unknown", None)
        writes[message_id].append((replace(life.sent, begun=life.begun, outcome=outcome, ended=moment), ""))
    for op in edited.of("replace"):
        writes[op.ids[0]].append((op, op.new))
    for look in edited.looks:
        for message_id in look.ids:
            version = look.versions.get(message_id, "")
            if version not in values_left(writes[message_id], look.begun, end_of(look)):
                text = f"{look.writer} was shown version {version!r} of {message_id} by a {look.kind}"
                yield Violation("I19", edited.session, text)


def _no_edit_in_a_later_epoch(edited: _Edited) -> Iterator[Violation]:
    """I11: no edit succeeds after the epoch that it names."""
    begins = [(op.ended or 0.0, op.epoch or 0) for op in edited.of("switch", outcome="ok")]
    for op in edited.of("pop", outcome="ok"):
        if op.epoch is not None and any(epoch > op.epoch and began < op.begun for began, epoch in begins):
            yield Violation("I11", edited.session, f"{op.writer} popped in epoch {op.epoch}, which was over")


def _refused_with_a_ground(edited: _Edited) -> Iterator[Violation]:
    """I12: a message is not found only if it may be gone, and is another than expected only if it was replaced."""
    unknown = edited.of("pop", outcome="unknown")
    if edited.visible is None or edited.visible.count > edited.allowances.bound:
        return  # it may have been trimmed
    for op in edited.failed:
        life = edited.lives.get(op.ids[0]) if op.kind == "replace" else None
        gone = life is None or life.endangered < (op.ended or inf) or any(each.begun < inf for each in unknown)
        if op.error.startswith("MessageNotFound") and not gone:
            yield Violation("I12", edited.session, f"{op.ids[0]} was not found, but nothing can have removed it")
        others = [each for each in edited.of("replace") if each.ids == op.ids and each.begun < (op.ended or inf)]
        if op.error.startswith("MessageConflict") and op.kind == "replace" and not others:
            yield Violation("I12", edited.session, f"{op.ids[0]} was refused as different, but nobody replaced it")


_RULES: tuple[Callable[[_Edited], Iterator[Violation]], ...] = (
    _what_is_gone_stays_away,
    _nothing_else_goes,
    _each_change_counts_once,
    _a_seq_belongs_to_one_message,
    _one_of_those_that_expect_the_same,
    _the_version_that_was_written_last,
    _no_edit_in_a_later_epoch,
    _refused_with_a_ground,
)


def edited_histories_are_right(case: Case) -> Iterable[Violation]:
    """I17 to I19, and I11 and I12 of edits, for each session that was edited. Not where writes may be lost."""
    if case.allowances.lossy:
        return
    operations: dict[str, list[Operation]] = {session: [] for session in case.edited - case.ended}
    for op in case.history:
        if op.session in operations:
            operations[op.session].append(op)
    for session, of_session in operations.items():
        edited = _Edited(session, of_session, case)
        for rule in _RULES:
            yield from rule(edited)


RULES: tuple[Callable[[Case], Iterable[Violation]], ...] = (edited_histories_are_right,)
