"""Runs with parallel tools and others who talk in between, trimmed and retracted: what providers take."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from chat_session import Message
from chat_session.adapters.pairing import is_of, pair_messages

OWN = "own/1"


class Run(NamedTuple):
    """``ids``: of the calls of one response. ``together``: in one message, else each has its own, as OpenAI's items."""

    ids: list[str]
    together: bool


def messages_of(run: Run) -> list[Message]:
    calls = [tuple(run.ids)] if run.together else [(each,) for each in run.ids]
    return [
        Message(sender="user", text="q", format=OWN),
        *(Message(sender="assistant", text="", format=OWN, calls=ids) for ids in calls if ids),
        *(Message(sender="tool", text="", format=OWN, answers=(each,)) for each in run.ids),
        Message(sender="assistant", text="r", format=OWN),
    ]


def numbered(message: Message, seq: int) -> Message:
    return Message(
        sender=message.sender,
        text=message.text,
        format=message.format,
        calls=message.calls,
        answers=message.answers,
        seq=seq,
    )


def read(
    runs: list[Run], others: set[int], removed: set[int], bound: int, *, is_whole: bool = False
) -> tuple[list[Message], list[Message]]:
    """What is stored, and what the framework gets. ``others``: the places after which somebody else says something."""
    history: list[Message] = []
    for message in [each for run in runs for each in messages_of(run)]:
        history.append(message)
        if len(history) in others:
            history.append(Message(sender="operator", text="o", answers=("a",)))
    stored = [numbered(message, seq) for seq, message in enumerate(history, 1) if seq not in removed][-bound:]
    return stored, pair_messages(stored, is_of(OWN), is_whole=is_whole)


def check(history: list[Message]) -> None:
    """Each call is answered once, and between it and its answer stand calls and answers alone."""
    waiting: set[str] = set()
    for message in history:
        if message.format != OWN or not (message.calls or message.answers):
            waiting.clear()  # calls without answers are the framework's to look after
            continue
        assert waiting.issuperset(message.answers), history
        waiting.difference_update(message.answers)
        waiting.update(message.calls)


reused = st.builds(Run, st.lists(st.sampled_from("abc"), max_size=3, unique=True), st.just(value=True))
places = st.sets(st.integers(1, 30), max_size=8)
bounds = st.integers(1, 40)


@settings(max_examples=400)
@given(st.lists(reused, max_size=5), places, places, bounds)
def test_ids_that_are_used_again_in_messages_with_all_calls_of_a_response(
    runs: list[Run], others: set[int], removed: set[int], bound: int
) -> None:
    _, history = read(runs, others, removed, bound)
    check(history)


@settings(max_examples=400)
@given(st.lists(st.integers(0, 3), max_size=5), st.booleans(), places, places, bounds)
def test_an_answer_is_left_out_only_if_its_call_is_missing(
    counts: list[int], together: bool, others: set[int], removed: set[int], bound: int
) -> None:
    runs = [Run([f"{number}-{each}" for each in range(count)], together) for number, count in enumerate(counts)]
    stored, history = read(runs, others, removed, bound)
    check(history)
    called = {call for message in stored for call in message.calls}
    expected = [message.seq or 0 for message in stored if message.format != OWN or called.issuperset(message.answers)]
    assert sorted(message.seq or 0 for message in history) == expected


@given(st.lists(reused, max_size=5), places)
def test_a_whole_history_loses_nothing(runs: list[Run], others: set[int]) -> None:
    stored, history = read(runs, others, set(), 10_000, is_whole=True)
    check(history)
    assert sorted(message.seq or 0 for message in history) == [message.seq for message in stored]
    own = [message for message in history if message.format == OWN]
    assert own == [message for message in stored if message.format == OWN]
