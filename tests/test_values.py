"""Messages as mappings: what to_dict returns is accepted again, and is the same message."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_session import DeskEntry, DeskStatus, InvalidInput, Message, Session
from chat_session.desk_status import OPEN
from chat_session.message import SENDERS, Limits, check_message

_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=20)
_NAMES = _TEXTS.filter(
    lambda name: name not in {"id", "from", "sender", "text", "timestamp", "type", "seq", "role", "content"}
)
_MESSAGES = st.builds(
    Message,
    sender=st.sampled_from(SENDERS),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    id=st.none() | _TEXTS,
    timestamp=st.none() | st.datetimes(timezones=st.just(UTC)),
    type=st.none() | _TEXTS,
    seq=st.none() | st.integers(1, 2**53 - 1),
    extra=st.dictionaries(_NAMES, st.none() | st.booleans() | st.integers(-5, 5) | _TEXTS, max_size=3),
)


@given(_MESSAGES)
def test_a_message_is_read_back_from_its_mapping(message: Message) -> None:
    assert Message.from_dict(message.to_dict()) == message


@given(st.sampled_from([*SENDERS, "bot", ""]), st.text(st.characters(exclude_categories=()), max_size=12))
def test_a_dict_of_a_sender_and_a_text_is_checked_as_any_mapping(sender: str, text: str) -> None:
    fields = {"from": sender, "text": text}
    assert _check(fields) == _check(MappingProxyType(fields))


def _check(fields: Mapping[str, Any]) -> Any:
    """The sender and the text, or the error. A text may have 20 bytes."""
    try:
        checked = check_message(fields, Limits(text=20, content=0))
    except InvalidInput as error:
        return repr(error)
    assert checked.timestamp_generated
    return checked.message.sender, checked.message.text


def test_the_names_that_callers_use_are_read() -> None:
    read = Message.from_dict({"sender": "user", "text": "x", "timestamp": "2026-01-31T08:00:00Z", "score": 0.5})
    assert read == Message(
        sender="user", text="x", timestamp=datetime(2026, 1, 31, 8, tzinfo=UTC), extra={"score": 0.5}
    )


@pytest.mark.parametrize(
    ("fields", "argument"),
    [
        ("x", "message"),
        ({}, "message.from"),
        ({"from": "user"}, "message.text"),
        ({"role": "user", "content": "x"}, "message"),
        ({"from": "user", "text": "x", "seq": 0}, "message.seq"),
        ({"from": "user", "text": "x", "seq": True}, "message.seq"),
        ({"from": "user", "text": "x", "timestamp": "2026-01-31T08:00:00"}, "message.timestamp"),
        ({"from": "user", "text": "x", "more": {1}}, "message.extra.more"),
    ],
)
def test_a_bad_mapping_is_refused_by_the_field(fields: Any, argument: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Message.from_dict(fields)
    assert refused.value.argument == argument


_MOMENTS = st.none() | st.datetimes(timezones=st.just(UTC))
_STATUSES = st.builds(
    DeskStatus,
    state=st.sampled_from(["open", "waiting", "assigned"]),
    operator_id=st.none() | _TEXTS,
    since=_MOMENTS,
    waiting_since=_MOMENTS,
    reason=st.none() | _TEXTS,
    priority=st.integers(0, 9),
    team=st.none() | _TEXTS,
)


@given(_STATUSES)
def test_a_session_keeps_what_the_desk_says_of_it_in_its_mapping(status: DeskStatus) -> None:
    moment = datetime(2026, 1, 31, 8, tzinfo=UTC)
    session = Session(session_id="s", user_id="u", created_at=moment, last_active_at=moment, desk=status)
    fields = session.to_dict()
    assert Session.from_dict(fields) == session
    assert ("cs:desk" in fields) == (status != OPEN)
    assert Session.from_dict(json.loads(json.dumps(fields))) == session


@pytest.mark.parametrize(
    "desk", ["waiting", 1, [], {"state": "lost"}, {"state": "waiting", "priority": "1"}, {"since": "yesterday"}]
)
def test_what_no_desk_says_of_a_session_is_refused(desk: Any) -> None:
    moment = "2026-01-31T08:00:00Z"
    fields = {"sessionId": "s", "userId": "u", "createdAt": moment, "lastActiveAt": moment, "cs:desk": desk}
    with pytest.raises(InvalidInput) as refused:
        Session.from_dict(fields)
    assert refused.value.argument == "cs:desk"


def test_a_session_that_names_only_a_person_was_taken_by_an_unknown_operator() -> None:
    moment = "2026-01-31T08:00:00Z"
    fields = {"sessionId": "s", "userId": "u", "createdAt": moment, "lastActiveAt": moment, "agentSwitchedAt": moment}
    taken = Session.from_dict({**fields, "currentAgent": "human"}).desk
    assert (taken.state, taken.operator_id, taken.since) == ("assigned", None, datetime(2026, 1, 31, 8, tzinfo=UTC))
    assert Session.from_dict({**fields, "currentAgent": "ai"}).desk == OPEN


def test_an_entry_of_the_queue_is_a_mapping_with_the_names_of_the_specification() -> None:
    moment = datetime(2026, 1, 31, 8, tzinfo=UTC)
    entry = DeskEntry(session_id="s", state="waiting", since=moment, waiting_since=moment, priority=3, team="billing")
    assert json.loads(json.dumps(entry.to_dict())) == {
        "sessionId": "s",
        "state": "waiting",
        "since": "2026-01-31T08:00:00Z",
        "waitingSince": "2026-01-31T08:00:00Z",
        "priority": 3,
        "team": "billing",
    }
    assert DeskEntry(session_id="s").to_dict() == {"state": "open", "sessionId": "s"}
