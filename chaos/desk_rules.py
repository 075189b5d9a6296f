"""The invariants I21 to I24: what the steps of the desk leave in the transcripts, and what callers were told."""

from collections.abc import Callable, Iterator

from chaos.case import Case, Violation
from chaos.desk_case import HandledSession, handled_sessions
from chaos.desk_transcript import Stage
from chaos.history import Operation, text_of
from chaos.realtime import CLOCKS, end_of

NAMES = ("operatorId", "before", "to", "reason", "note")  # facts of a marker that no customer may read


def _each_step_leaves_one_marker(case: Case) -> Iterator[Violation]:
    """I21: each marker follows from the state before it, and one call left it. No call left two, none that failed."""
    for handled in handled_sessions(case):
        session = handled.transcript.session
        for text in handled.transcript.wrong:
            yield Violation("I21", session, text)
        for stage in handled.unexplained:
            who = stage.message.marker.get("operatorId", "a bot")
            text = (
                f"the marker {stage.event!r} of {who} at {stage.message.seq} is of no call, or of one that left another"
            )
            yield Violation("I21", session, text)
        yield from _each_answer_is_behind_its_marker(handled)
        yield from _each_note_is_there_once(handled)


def _each_answer_is_behind_its_marker(handled: HandledSession) -> Iterator[Violation]:
    for seq, op in handled.op_of.items():
        if op.kind == "answer" and _text_at(handled, seq + 1) != text_of(op.session, op.id):
            text = f"{op.writer} took it over at {seq} by {op.id}, which is not directly behind"
            yield Violation("I21", op.session, text)


def _each_note_is_there_once(handled: HandledSession) -> Iterator[Violation]:
    session = handled.transcript.session
    notes = [message.text for message in handled.transcript.visible.messages if message.type == "note"]
    for op in handled.operations:
        if op.kind == "note":
            times, least = notes.count(text_of(session, op.asked["tag"])), int(op.outcome == "ok")
            if not least <= times <= (op.outcome != "failed"):
                yield Violation("I21", session, f"the note {op.asked['tag']} ({op.outcome}) is there {times} times")


def _told_to_one_operator(case: Case) -> Iterator[Violation]:
    """I22: what callers were told of a session is what its markers say of that epoch.

    So no two operators are told at once that they have it. An answer stands where its operator has the session.
    """
    for handled in handled_sessions(case):
        for op in handled.operations:
            if op.kind == "request":
                yield from _was_so_during_the_request(handled, op)
            elif op.outcome == "ok" and op.told.get("state") and not _may_be_lost(case, handled, op):
                yield from _as_the_markers_say(handled, op)
        yield from _answers_stand_with_their_operator(handled)


def _may_be_lost(case: Case, handled: HandledSession, op: Operation) -> bool:
    """The call changed nothing, and may have read what a replica did not have yet."""
    return case.allowances.unconfirmed_reads and op.number not in handled.marker_of


def _as_the_markers_say(handled: HandledSession, op: Operation) -> Iterator[Violation]:
    told = op.told
    stages = handled.transcript.in_epoch(told["epoch"])
    seen = told["state"], told["operator"], told["priority"], told["team"]
    if not any(_shown(stage) == seen for stage in stages):
        said = " or ".join(str(_shown(stage)) for stage in stages) or "nothing"
        text = f"{op.kind} by {op.writer} was told {seen} in epoch {told['epoch']}; the markers say {said}"
        yield Violation("I22", op.session, text)


def _shown(stage: Stage) -> tuple[str, str | None, int, str | None]:
    """As a caller is shown it: an open session has no priority and no team."""
    if stage.state == "open":
        return "open", None, 0, None
    return stage.state, stage.operator, stage.priority, stage.team


def _was_so_during_the_request(handled: HandledSession, op: Operation) -> Iterator[Violation]:
    if op.outcome != "ok":
        return
    for number, stage in enumerate(handled.transcript.stages):
        begun = handled.moment(stage) if number else -1.0
        overlaps = begun <= end_of(op) + CLOCKS and handled.lasted_until(number) >= op.begun - CLOCKS
        if stage.state == op.told["state"] and overlaps:
            return
    text = f"{op.writer} was told that it is {op.told['state']}, and it was not at that time"
    yield Violation("I22", op.session, text)


def _answers_stand_with_their_operator(handled: HandledSession) -> Iterator[Violation]:
    answers = {op.id: op.writer for op in handled.operations if op.kind == "answer"}
    for message in handled.transcript.visible.messages:
        if (operator := answers.get(message.id)) is not None:
            stage = handled.transcript.at(message.seq)
            if (stage.state, stage.operator) != ("assigned", operator):
                text = f"{message.id} of {operator} at {message.seq} stands where {stage.operator or stage.state} is"
                yield Violation("I22", handled.transcript.session, text)


def _no_stale_reply(case: Case) -> Iterator[Violation]:
    """I23: a reply of the AI stands in the epoch that it named; what a tool did is recorded in any epoch."""
    for handled in handled_sessions(case):
        session, seqs = handled.transcript.session, {}
        for message in handled.transcript.visible.messages:
            seqs[message.id] = message.seq
        for op in handled.operations:
            if op.kind == "append" and op.epoch is not None and op.id in seqs:
                stands = handled.transcript.at(seqs[op.id]).epoch
                if stands != op.epoch:
                    text = f"{op.id} of epoch {op.epoch} stands at {seqs[op.id]}, in epoch {stands}"
                    yield Violation("I23", session, text)
            if op.kind == "record" and op.error.startswith("AgentConflict"):
                yield Violation("I23", session, f"the record {op.id} of what was done was refused")
        yield from _checks_know_what_was_acknowledged(handled)


def _checks_know_what_was_acknowledged(handled: HandledSession) -> Iterator[Violation]:
    told = [(end_of(op), op.told.get("epoch", op.epoch) or 0) for op in handled.operations if op.kind not in _NAMING]
    for op in handled.operations:
        if op.kind == "check" and op.outcome == "ok" and op.epoch is not None:
            newest = max((epoch for ended, epoch in told if ended < op.begun), default=0)
            if newest > op.epoch:
                text = f"{op.writer} was told that epoch {op.epoch} is current; {newest} had begun"
                yield Violation("I23", op.session, text)


_NAMING = ("append", "check", "record")  # these name an epoch, they are not told one


def _said_once_and_nothing_leaks(case: Case) -> Iterator[Violation]:
    """I24: what the customer is told stands once, directly behind its marker. Names, reasons and notes are internal."""
    for handled in handled_sessions(case):
        session = handled.transcript.session
        texts = [message.text for message in handled.transcript.visible.messages if not message.marker]
        for op in handled.operations:
            say = op.asked.get("say")
            if say is None or op.session != session:
                continue
            stage = handled.marker_of.get(op.number)
            wanted = int(stage is not None and stage.event != "raised")
            times = texts.count(say)
            behind = stage is None or not wanted or _text_at(handled, stage.message.seq + 1) == say
            if times != wanted or not behind:
                where = "" if behind else ", and not directly behind its marker"
                yield Violation("I24", session, f"the sentence of {op.asked['tag']} is there {times} times{where}")
        for message in handled.transcript.visible.messages:
            secret = message.type == "note" or any(name in message.marker for name in NAMES)
            if secret and not message.internal:
                yield Violation("I24", session, f"a customer can read the {message.type} at {message.seq}")
            if message.marker and not secret and message.internal:
                yield Violation("I24", session, f"the marker at {message.seq} is hidden from the customer")


def _text_at(handled: HandledSession, seq: int) -> str:
    first = handled.transcript.visible.messages[0].seq
    position = seq - first
    messages = handled.transcript.visible.messages
    return messages[position].text if position < len(messages) else ""


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (
    _each_step_leaves_one_marker,
    _told_to_one_operator,
    _no_stale_reply,
    _said_once_and_nothing_leaks,
)
