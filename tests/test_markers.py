"""Markers as values: which of them a customer may read, and that a message holds all that they say."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_session import Message
from chat_session.markers import Marker
from chat_session.message import UNLIMITED, check_message

EVENTS = (
    "requested",
    "raised",
    "claimed",
    "taken_over",
    "answered",
    "transferred",
    "declined",
    "handed_back",
    "lapsed",
)
NOT_FOR_CUSTOMERS = ("operator_id", "before", "to", "reason", "note")
names = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
any_markers = st.builds(
    Marker,
    event=st.sampled_from(EVENTS),
    operator_id=names,
    before=names,
    to=names,
    team=names,
    reason=texts,
    priority=st.integers(0, 9),
    waited=st.none() | st.integers(0, 10**7),
    seconds=st.none() | st.integers(0, 10**7),
    note=texts,
    resolved=st.booleans(),
    automatic=st.booleans(),
)


@given(any_markers)
def test_a_marker_is_internal_if_and_only_if_it_names_an_operator_a_reason_or_a_note(marker: Marker) -> None:
    names_somebody = any(getattr(marker, name) is not None for name in NOT_FOR_CUSTOMERS)
    assert marker.is_internal == marker.draft().message.internal == names_somebody


@given(any_markers)
def test_a_message_holds_all_facts_of_its_marker(marker: Marker) -> None:
    message = marker.draft().message
    assert msgspec.convert(message.extra["handoff"], Marker) == marker
    assert Message.from_dict(message.to_dict()) == message
    assert check_message(message, UNLIMITED).message == message, "it is valid as any message is"


@pytest.mark.parametrize("event", EVENTS)
def test_no_visible_marker_says_more_than_a_customer_may_know(event: str) -> None:
    visible = Marker(event, team="billing", priority=3, waited=5, seconds=70)
    assert not visible.is_internal
    assert "operator" not in visible.sentence.lower()


SENTENCES: list[tuple[Marker, str]] = [
    (Marker("requested"), "A person was asked for."),
    (Marker("requested", reason="a refund", team="billing"), "A person was asked for. Reason: a refund"),
    (Marker("raised", priority=7), "The priority was raised to 7."),
    (Marker("claimed", operator_id="anna", waited=5), "Operator anna took the session from the queue."),
    (Marker("taken_over", operator_id="anna"), "Operator anna took over the session."),
    (Marker("answered", operator_id="ben", before="anna"), "Operator ben took over the session from operator anna."),
    (Marker("transferred", operator_id="anna", to="ben"), "Operator anna transferred the session to operator ben."),
    (
        Marker("transferred", operator_id="anna", team="sales", note="x"),
        "Operator anna transferred the session to team sales. Note: x",
    ),
    (
        Marker("declined", operator_id="ben"),
        "Operator ben declined the session, and it waits for a person again.",
    ),
    (Marker("lapsed", operator_id="ben"), "Operator ben is away, and the session waits for a person again."),
    (Marker("handed_back", operator_id="ben"), "Operator ben gave the waiting session back to the AI."),
    (
        Marker("handed_back", operator_id="ben", seconds=59, resolved=True),
        "Operator ben handed the session back to the AI after less than a minute. The matter is resolved.",
    ),
    (
        Marker("handed_back", operator_id="ben", seconds=125),
        "Operator ben handed the session back to the AI after 2 min.",
    ),
    (
        Marker("handed_back", operator_id="ben", seconds=600, automatic=True),
        "Operator ben had the session for 10 min and wrote no more, so it went back to the AI.",
    ),
    (Marker("handed_back", seconds=61), "A person handed the session back to the AI after 1 min."),
]


@pytest.mark.parametrize(("marker", "sentence"), SENTENCES, ids=lambda value: value if isinstance(value, str) else "")
def test_the_text_of_a_marker_is_a_sentence(marker: Marker, sentence: Any) -> None:
    assert marker.sentence == marker.draft().message.text == sentence
