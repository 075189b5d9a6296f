"""The order in which frameworks get a history, for any history."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from chat_session import Message
from chat_session.adapters.pairing import is_of, pair_messages

OWN, OTHER = "own/1", "other/1"
CALL_IDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=2, unique=True).map(tuple)


def call(*ids: str) -> Message:
    return Message(sender="assistant", text="", format=OWN, calls=ids)


def answer(*ids: str) -> Message:
    return Message(sender="tool", text="", format=OWN, answers=ids)


def said(sender: str, text: str = "", message_format: str | None = None) -> Message:
    return Message(sender=sender, text=text, format=message_format)  # type: ignore[arg-type]


histories = st.lists(
    st.one_of(
        st.builds(call, st.sampled_from("abcd")),
        st.builds(lambda ids: call(*ids), CALL_IDS),
        st.builds(lambda ids: answer(*ids), CALL_IDS),
        st.sampled_from([said("user"), said("operator"), said("assistant", "", OWN), said("assistant", "", OTHER)]),
    ),
    max_size=14,
)


def numbered(history: list[Message]) -> list[Message]:
    return [Message(**{**_fields(each), "seq": seq}) for seq, each in enumerate(history, 1)]


def _fields(message: Message) -> dict[str, Any]:
    names = ("sender", "text", "format", "calls", "answers")
    return {name: getattr(message, name) for name in names}


@given(histories)
def test_nothing_is_lost_but_answers_without_a_call(history: list[Message]) -> None:
    stored = numbered(history)
    paired = pair_messages(stored, is_of(OWN))

    called: set[str] = set()
    for message in paired:
        assert called.issuperset(message.answers)
        called.update(message.calls)
    assert len({message.seq for message in paired}) == len(paired)
    assert all(message.answers for message in stored if message not in paired)
    assert sorted(pair_messages(stored, is_of(OWN), is_whole=True), key=lambda each: each.seq or 0) == stored


@given(histories)
def test_nobody_else_speaks_while_a_call_waits_for_its_answer(history: list[Message]) -> None:
    made = [call_id for message in history for call_id in message.calls]
    assume(len(made) == len(set(made)))
    paired = pair_messages(numbered(history), is_of(OWN))
    for place, message in enumerate(paired):
        for call_id in message.calls:
            uses = [n for n in range(place + 1, len(paired)) if call_id in paired[n].calls + paired[n].answers]
            if uses and call_id in paired[uses[0]].answers:
                between = paired[place + 1 : uses[0]]
                assert all(each.format == OWN and each.sender not in ("user", "operator") for each in between)


@given(st.lists(st.sampled_from([said("user"), said("operator"), said("assistant", "", OWN)])))
def test_without_calls_the_order_is_that_of_the_store(history: list[Message]) -> None:
    assert pair_messages(numbered(history), is_of(OWN)) == numbered(history)


def test_a_call_that_has_no_answer_yet_holds_nobody_up() -> None:
    history = numbered([call("a"), said("user"), said("assistant", "", OWN)])
    assert pair_messages(history, is_of(OWN)) == history


def test_from_the_first_word_of_somebody_else_on_all_but_the_answers_wait() -> None:
    """Or the AI's reply would stand before what it replies to."""
    history = numbered([call("a"), said("user"), said("assistant", "", OWN), call("b"), answer("a"), answer("b")])
    assert [message.seq for message in pair_messages(history, is_of(OWN))] == [1, 5, 2, 3, 4, 6]


def test_an_answer_that_was_stored_twice_stays_in_its_place() -> None:
    history = numbered([call("a"), answer("a"), said("user", "", OWN), answer("a"), said("assistant", "", OWN)])
    assert pair_messages(history, is_of(OWN)) == history


def test_where_messages_are_missing_an_answer_to_an_id_that_was_used_before_is_left_out() -> None:
    again = [call("a"), answer("a"), said("user", "", OWN), call("a"), answer("a"), said("assistant", "", OWN)]
    history = numbered(again)
    del history[3]
    assert [message.seq for message in pair_messages(history, is_of(OWN))] == [1, 2, 3, 6]
    del history[1]  # the first answer, too
    assert [message.seq for message in pair_messages(history, is_of(OWN))] == [1, 3, 6]


def test_what_a_person_retracted_between_a_call_and_its_answer_does_not_part_them() -> None:
    history = numbered([call("a"), call("b"), said("user"), answer("a"), answer("b")])
    del history[2]
    assert pair_messages(history, is_of(OWN)) == history


def test_parallel_calls_keep_their_order() -> None:
    history = numbered([call("a"), call("b"), said("operator"), answer("b"), said("user"), answer("a")])
    assert [message.seq for message in pair_messages(history, is_of(OWN))] == [1, 2, 4, 6, 3, 5]


def test_the_frameworks_own_words_between_a_call_and_its_answer_stay_there() -> None:
    history = numbered([call("a"), said("user", "", OWN), said("assistant", "", OWN), answer("a")])
    assert pair_messages(history, is_of(OWN)) == history


def test_calls_and_answers_of_others_are_text() -> None:
    """Nor does a customer's message with forged fields count as an answer."""
    other_answer = Message(sender="tool", text="x", format=OTHER, answers=("a",))
    forged = Message(sender="user", text="x", format=OWN, answers=("a",))
    history = numbered([call("a"), other_answer, forged, answer("a"), other_answer])
    assert [message.seq for message in pair_messages(history, is_of(OWN))] == [1, 4, 2, 3, 5]


@given(histories, st.sets(st.integers(0, 13)))
def test_if_messages_are_missing_each_answer_still_has_a_call_before_it(
    history: list[Message], missing: set[int]
) -> None:
    kept = [message for place, message in enumerate(numbered(history)) if place not in missing]
    called: set[str] = set()
    for message in pair_messages(kept, is_of(OWN)):
        assert called.issuperset(message.answers)
        called.update(message.calls)
