"""The order in which a framework gets a history: as it was stored, but fit for a model provider."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from chat_session.message import Message

IsOwn = Callable[[Message], bool]  # whether a message is the framework's own


def is_of(message_format: str) -> IsOwn:
    """Own messages by their format. A customer's that names calls or answers is none: no adapter writes it so."""

    def is_own(message: Message) -> bool:
        is_forged = message.sender == "user" and bool(message.calls or message.answers)
        return message.format == message_format and not is_forged

    return is_own


def pair_messages(
    messages: Sequence[Message],
    is_own: IsOwn,
    *,
    is_whole: bool = False,
    is_shown: Callable[[Message], bool] | None = None,
) -> list[Message]:
    """The messages as they were stored, with two exceptions.

    Answers whose call was trimmed or retracted are left out, as providers refuse them; with ``is_whole`` nothing was,
    and an answer without a call was stored so. What somebody else said between a call and its answer comes
    after the answer. Calls without answers stay: frameworks look after them.

    Only the framework's own calls and answers count; it reads those of others as text. ``is_shown``: which messages
    the framework gets at all.
    """
    kept = list(messages)
    if not is_whole:
        lost = find_lost_answers(messages, is_own)
        kept = [message for message, calls in zip(messages, lost, strict=True) if not calls]
    return move_behind_answers(kept if is_shown is None else list(filter(is_shown, kept)), is_own)


def find_lost_answers(messages: Sequence[Message], is_own: IsOwn) -> list[set[str]]:
    """For each message which calls it answers that are not before it. The messages are in the order of the store.

    A call may be answered twice, and its id may be used again. So where sequence numbers are missing, an answer belongs
    to the call before them only if nothing else has ended the wait for it: another answer, or something that the
    framework stored after it and that is no answer.
    """
    lost: list[set[str]] = []
    opened: set[str] = set()
    answered: set[str] = set()
    has_gap = follows_call = False
    seq: int | None = None
    for message in messages:
        if seq is not None and message.seq is not None and message.seq > seq + 1:
            has_gap = True
            answered.clear()
        seq = message.seq
        if not is_own(message):
            lost.append(set())
            continue
        is_next_step = not message.answers and not (message.calls and follows_call)  # not one more call of a response
        if has_gap and is_next_step:
            opened.clear()
            has_gap = False
        lost.append(set(message.answers) - opened - answered)
        if not lost[-1]:
            opened.difference_update(message.answers)
            answered.update(message.answers)
            opened.update(message.calls)
            follows_call = bool(message.calls)
    return lost


def move_behind_answers(messages: Sequence[Message], is_own: IsOwn) -> list[Message]:
    """While calls are open, everything from the first message of somebody else on waits, except their answers.

    The framework's own messages so keep their order where nobody else speaks, and its reply to somebody stays behind
    what it replies to.
    """
    if not any(message.answers for message in messages):
        return list(messages)
    steps = [
        _Step(place, *((message.calls, message.answers) if is_own(message) else ((), ())), is_own(message))
        for place, message in enumerate(messages)
    ]
    answered = _find_answered(steps)
    queue = deque(steps)
    waiting: list[_Step] = []
    ordered: list[Message] = []
    open_calls: set[str] = set()  # those whose answer comes later
    while queue:
        step = queue.popleft()
        if open_calls and open_calls.isdisjoint(step.answers) and (waiting or not step.is_own):
            waiting.append(step)
            continue
        for each in [*_take_calls(waiting, step), step]:
            ordered.append(messages[each.place])
            open_calls.difference_update(each.answers)
            open_calls.update(call for call in each.calls if (each.place, call) in answered)
        if not open_calls and waiting:
            queue.extendleft(reversed(waiting))
            waiting.clear()
    return ordered + [messages[step.place] for step in waiting]


class _Step(NamedTuple):
    """A message by its place, with the calls and answers that count."""

    place: int
    calls: Sequence[str]
    answers: Sequence[str]
    is_own: bool


def _find_answered(steps: Sequence[_Step]) -> set[tuple[int, str]]:
    """The calls that are answered, by place and id, before their id is used again."""
    answered: set[tuple[int, str]] = set()
    next_answers: set[str] = set()
    for step in reversed(steps):
        answered.update((step.place, call) for call in step.calls if call in next_answers)
        next_answers.difference_update(step.calls)
        next_answers.update(step.answers)
    return answered


def _take_calls(waiting: list[_Step], answer: _Step) -> list[_Step]:
    """Those that wait and that the answer needs before it: one message may answer calls of several."""
    needed = set(answer.answers)
    taken: list[_Step] = []
    for step in reversed(waiting):
        if not needed.isdisjoint(step.calls):
            taken.insert(0, step)
            needed.difference_update(step.calls)
            needed.update(step.answers)
    for step in taken:
        waiting.remove(step)
    return taken
