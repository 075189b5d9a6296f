"""The history of the desk, arranged by session: the transcript, and which operation left which marker."""

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from math import inf

from chaos.case import Case
from chaos.desk_transcript import Stage, Transcript, read_transcript
from chaos.history import Operation, text_of
from chaos.realtime import CLOCKS, end_of

KINDS = {
    "requested": "request",
    "raised": "request",
    "claimed": "claim",
    "taken_over": "take over",
    "answered": "answer",
    "transferred": "transfer",
    "declined": "decline",
    "handed_back": "hand back",
}
SWEEP = 5.0  # seconds that may pass between the moment in a sweep's marker and the step


class HandledSession:
    """One session with its transcript, and the operation that left each marker."""

    def __init__(self, transcript: Transcript, operations: list[Operation], zero: float) -> None:
        self.transcript = transcript
        self.operations = operations
        self.zero = zero
        self.unexplained: list[Stage] = []
        self.op_of: dict[int, Operation] = {}  # by the seq of the marker
        self.marker_of: dict[int, Stage] = {}  # by the number of the operation
        for stage in transcript.stages[1:]:
            self._explain(stage)

    def moment(self, stage: Stage) -> float:
        """When the step was decided, in seconds since the recorder began."""
        return (stage.message.at - self.zero) / 1000

    def lasted_until(self, number: int) -> float:
        """The latest moment at which the next stage may have begun."""
        if number + 1 == len(self.transcript.stages):
            return inf
        following = self.transcript.stages[number + 1]
        op = self.op_of.get(following.message.seq)
        return self.moment(following) + SWEEP if op is None else end_of(op)

    def _explain(self, stage: Stage) -> None:
        marker = stage.message.marker
        if not marker:
            self.op_of[stage.message.seq] = next(op for op in self.operations if op.id == stage.message.id)
            return
        if stage.event == "lapsed" or marker.get("automatic"):
            return
        fitting = [op for op in self.operations if op.number not in self.marker_of and self._fits(op, stage)]
        if not fitting:
            self.unexplained.append(stage)
            return
        known = [op for op in fitting if op.outcome == "ok"] or fitting
        op = min(known, key=lambda each: (self._distance(each, stage), end_of(each)))
        self.op_of[stage.message.seq] = op
        self.marker_of[op.number] = stage

    def _distance(self, op: Operation, stage: Stage) -> float:
        """How many seconds the step was decided before or after the call, 0 if during it."""
        moment = self.moment(stage)
        return max(op.begun - moment, moment - end_of(op), 0.0)

    def _answer_behind(self, stage: Stage) -> str | None:
        """The id of the answer of the same operator that is directly behind the marker."""
        behind = [message.id for message in self.transcript.visible.messages if message.seq == stage.message.seq + 1]
        operator = stage.message.marker.get("operatorId")
        answers = {op.id for op in self.operations if op.kind == "answer" and op.writer == operator}
        return next((message_id for message_id in behind if message_id in answers), None)

    def _fits(self, op: Operation, stage: Stage) -> bool:
        marker = stage.message.marker
        if op.kind != KINDS.get(stage.event) or op.outcome == "failed":
            return False
        if self._distance(op, stage) > CLOCKS:
            return False
        if op.kind == "answer" and (known := self._answer_behind(stage)) is not None:
            return op.id == known
        if stage.event == "raised":
            return bool(op.asked["priority"] == marker.get("priority", 0))
        if stage.event == "requested":
            reason = text_of(self.transcript.session, op.asked["tag"]) if op.asked["has_reason"] else None
            return reason == marker.get("reason")
        return op.writer == marker.get("operatorId")


@lru_cache(maxsize=1)  # all rules look at one case after the other
def handled_sessions(case: Case) -> list[HandledSession]:
    """Those whose histories are complete. None where acknowledged steps may be lost."""
    return list(_read(case))


def _read(case: Case) -> Iterator[HandledSession]:
    if case.allowances.lossy or case.snapshot.zero is None:
        return
    operations: dict[str, list[Operation]] = defaultdict(list)
    homeless: list[Operation] = []  # claims of unknown outcome
    for op in case.history:
        if op.kind == "claim" and not op.session:
            homeless += [op] if op.outcome == "unknown" else []
        else:
            operations[op.session].append(op)
    for session in sorted(case.handled):
        visible = case.snapshot.visible.get(session)
        if visible is None or visible.count > len(visible.messages):
            continue
        own = operations[session]
        switches = {op.id: op for op in own if op.kind == "switch"}
        transcript = read_transcript(session, visible, switches)
        yield HandledSession(transcript, [*own, *homeless], case.snapshot.zero)
