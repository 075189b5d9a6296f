"""The rules of the desk, which every store applies, over any sequence of steps. No store takes part."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_session import DeskConflict, Message
from chat_session.clock import from_us, to_us
from chat_session.desk_status import (
    HIGHEST_PRIORITY,
    NEVER_HANDLED,
    OPEN,
    DeskFacts,
    current_facts,
    decode_facts,
    encode_facts,
    facts_of,
    find_status,
    own_ttl,
)
from chat_session.handoff import (
    Change,
    Decide,
    Read,
    answer,
    assign,
    complete,
    decline,
    hand_back,
    hand_back_if_silent,
    lapse,
    queue_place,
    request,
    transfer_to_operator,
    transfer_to_team,
)
from chat_session.message import Draft
from chat_session.session import Agent

WAITING_TTL = 1000
START = to_us(datetime(2026, 1, 31, tzinfo=UTC))
OPERATORS = st.sampled_from(["anna", "ben", "carl"])
TEAMS = st.sampled_from([None, "billing", "sales"])
TTLS = st.none() | st.integers(1, 3 * WAITING_TTL)
SAY = Draft(Message(sender="assistant", text="soon", id="say"), timestamp_generated=True)


class Simulated(NamedTuple):
    """A session as a store keeps it. ``ttl`` is the one that is stored, ``own`` the one that the application set."""

    facts: DeskFacts | None
    agent: Agent
    epoch: int
    switched_at: datetime | None
    ttl: int | None
    own: int | None
    now: int

    @property
    def current(self) -> DeskFacts:
        return current_facts(self.facts, self.agent, self.epoch, self.switched_at)

    def read(self, presence: int = 1) -> Read:
        return Read("s", self.current, self.epoch, self.now, presence)

    def take(self, decide: Decide) -> tuple["Simulated", Change | None]:
        """The session after the step. Raises DeskConflict."""
        read = self.read()
        change = decide(read)
        if change is None:
            return self, None
        facts, ttl = complete(read, change, self.ttl, WAITING_TTL)
        facts = msgspec.structs.replace(facts, stamp=max(self.now, facts.stamp + 1))
        switched_at = self.switched_at if change.agent is None else from_us(self.now)
        after = self._replace(
            facts=facts, agent=change.agent or self.agent, epoch=facts.epoch, switched_at=switched_at, ttl=ttl
        )
        return after, change

    def switch(self, agent: Agent) -> "Simulated":
        """As a process does that knows no desk."""
        return self._replace(agent=agent, epoch=self.epoch + 1, switched_at=from_us(self.now))


def new_session(ttl: int | None = 600) -> Simulated:
    return Simulated(None, "ai", 0, None, ttl, ttl, START)


requests = st.builds(
    lambda priority, team, hold_ai: request(reason="x", priority=priority, team=team, say=SAY, hold_ai=hold_ai),
    st.integers(0, HIGHEST_PRIORITY),
    TEAMS,
    st.booleans(),
)
steps = st.one_of(
    requests,
    st.builds(lambda operator, event: assign(operator, event, lambda _: True), OPERATORS, st.just("taken_over")),
    st.builds(lambda operator: assign(operator, "claimed", lambda read: read.facts.state == "waiting"), OPERATORS),
    st.builds(lambda operator, polite: answer(operator, polite=polite), OPERATORS, st.booleans()),
    st.builds(lambda operator, to: transfer_to_operator(operator, to, "x"), OPERATORS, OPERATORS),
    st.builds(lambda operator: transfer_to_team(operator, "sales", None), OPERATORS),
    st.builds(decline, OPERATORS),
    st.builds(lambda operator: hand_back(operator, note=None, say=SAY, resolved=True), st.none() | OPERATORS),
    st.builds(lapse, OPERATORS, st.integers(0, 1)),
    st.builds(hand_back_if_silent, st.sampled_from([0.001, 1000.0])),
)
pauses = st.sampled_from([0, 1, 1_000_000, 10**10])  # microseconds; 0: two steps in the same microsecond
moves = st.lists(st.tuples(pauses, steps | st.sampled_from(["ai", "human"]) | TTLS), max_size=25)


def check_facts(session: Simulated, *, bypassed: bool) -> None:
    """What is true of the facts after any steps."""
    facts = session.current
    assert facts.state in ("open", "waiting", "assigned")
    assert facts.epoch == session.epoch
    if facts.state == "open":
        assert (facts.operator, facts.presence, facts.waiting_since, facts.answered) == (None, 0, None, None)
        assert (facts.reason, facts.priority, facts.team, facts.asked) == (None, 0, None, False)
        assert session.agent == "ai"
    else:
        assert facts.waiting_since is not None
        assert facts.since is not None
        assert facts.waiting_since <= facts.since <= session.now
    if facts.state == "waiting":
        assert (facts.operator, facts.presence, facts.asked) == (None, 0, True)
    if facts.state == "assigned":
        assert session.agent == "human"
        assert facts.operator is not None or bypassed
    assert find_status(session.facts, session.agent, session.epoch, session.switched_at) == facts.status


def check_ttl(session: Simulated, *, bypassed: bool) -> None:
    """The session's own ttl can always be told, and people have the time that they need."""
    assert own_ttl(session.facts, session.ttl) == session.own
    if bypassed:
        return
    if session.current.state == "open" or session.own is None:
        assert session.ttl == session.own
    else:
        assert session.ttl == max(session.own, WAITING_TTL)


@given(TTLS, moves)
def test_any_sequence_of_steps_leaves_a_session_in_one_of_three_states(ttl: int | None, moves: list[Any]) -> None:
    session = new_session(ttl)
    bypassed = False
    for pause, move in moves:
        before = session = session._replace(now=session.now + pause)
        if isinstance(move, str):
            session, bypassed = session.switch("ai" if move == "ai" else "human"), True
        elif callable(move):
            try:
                session, change = session.take(move)
            except DeskConflict as refused:
                check_refusal(before, refused)
                continue
            check_change(before, session, change)
            bypassed = bypassed and change is None
        elif move == WAITING_TTL:
            continue  # an own ttl that happens to be the raised one cannot be told apart, and need not be
        else:
            session, bypassed = session._replace(ttl=move, own=move), True
        check_facts(session, bypassed=bypassed)
        check_ttl(session, bypassed=bypassed)


def check_refusal(session: Simulated, refused: DeskConflict) -> None:
    """The error says what is so."""
    status = session.current.status
    assert (refused.state, refused.operator_id, refused.since) == (status.state, status.operator_id, status.since)
    assert (refused.session_id, refused.current_epoch) == ("s", session.epoch)


def check_change(before: Simulated, after: Simulated, change: Change | None) -> None:
    """A new epoch begins exactly when the change names an agent, and a marker is left when something has changed."""
    assert after.epoch == before.epoch + (change is not None and change.agent is not None)
    if change is None:
        assert after == before
        return
    old, new = before.current, after.current
    assert after.facts is not None
    assert after.facts.stamp > (before.facts.stamp if before.facts else 0)
    who_has_it = (old.state, old.operator) != (new.state, new.operator)
    given_to_the_same = change.event == "transferred" and not who_has_it
    assert (change.event is not None) == (who_has_it or old.priority != new.priority or given_to_the_same)
    assert (change.event is not None) == bool(change.messages)
    if change.event:
        marker = change.messages[0].message
        assert (marker.type, marker.extra["handoff"]["event"]) == ("handoff", change.event)
        assert list(change.messages[1:]) in ([], [SAY])
    if old.operator != new.operator:
        assert change.agent is not None, "replies computed before are refused"
    if change.event == "raised":
        assert new.priority > old.priority
        assert new.waiting_since == old.waiting_since
    if change.event in ("declined", "lapsed"):
        assert new.waiting_since == old.waiting_since
    if change.event in ("declined", "lapsed", "claimed", "taken_over", "answered") and old.state != "open":
        assert (new.reason, new.priority, new.team) == (old.reason, old.priority, old.team)


REPEATABLE: dict[str, Decide] = {
    "request": request(reason=None, priority=3, team=None, say=None, hold_ai=True),
    "take over": assign("anna", "taken_over", lambda _: True),
    "take over while it waits": assign("anna", "taken_over", lambda read: read.facts.state == "waiting"),
    "hand back": hand_back("anna", note=None, say=None, resolved=False),
}


@pytest.mark.parametrize("name", REPEATABLE)
@given(moves)
def test_a_step_that_is_repeated_at_once_changes_nothing(name: str, moves: list[Any]) -> None:
    session = new_session()
    for pause, move in moves:
        session = session._replace(now=session.now + pause)
        if callable(move):
            try:
                session, _ = session.take(move)
            except DeskConflict:
                continue
    try:
        session, _ = session.take(REPEATABLE[name])
    except DeskConflict:
        return
    assert session.take(REPEATABLE[name]) == (session, None)


def let_wait(priority: int = 0, *, hold_ai: bool = True) -> Simulated:
    asked = request(reason="a refund", priority=priority, team="billing", say=None, hold_ai=hold_ai)
    return new_session().take(asked)[0]


def assigned_to(operator: str, session: Simulated) -> Simulated:
    return session.take(assign(operator, "taken_over", lambda _: True))[0]


@pytest.mark.parametrize("hold_ai", [True, False])
def test_a_request_silences_the_ai_unless_it_may_go_on(hold_ai: bool) -> None:
    session = let_wait(hold_ai=hold_ai)
    assert (session.agent, session.epoch) == (("human", 1) if hold_ai else ("ai", 0))
    assert assigned_to("anna", session).epoch == session.epoch + 1


def test_the_same_operator_in_a_new_presence_keeps_the_session_without_a_marker() -> None:
    session = assigned_to("anna", let_wait())
    change = assign("anna", "taken_over", lambda _: False)(session.read(presence=2))
    assert change == Change(msgspec.structs.replace(session.current, presence=2), None, None)


def test_a_lapse_takes_the_sessions_of_that_presence_and_of_those_before() -> None:
    session = assigned_to("anna", let_wait())
    for operator, generation, lapses in (("anna", 1, True), ("anna", 2, True), ("anna", 0, False), ("ben", 1, False)):
        change = lapse(operator, generation)(session.read())
        assert (change is not None) == lapses
        if change is not None:
            assert change.facts.waiting_since == session.current.waiting_since
    assert lapse("anna", 1)(let_wait().read()) is None
    assert lapse("anna", 1)(new_session().read()) is None


def test_who_writes_nothing_for_long_gives_the_session_back() -> None:
    decide = hand_back_if_silent(10)
    session = assigned_to("anna", let_wait())
    assert decide(session._replace(now=START + 9_999_999).read()) is None
    assert decide(session._replace(now=START + 10_000_000).read()) is not None
    session, _ = session._replace(now=START + 5_000_000).take(answer("anna", polite=True))
    assert decide(session._replace(now=START + 14_999_999).read()) is None
    given_back = decide(session._replace(now=START + 15_000_000).read())
    assert given_back is not None
    assert (given_back.agent, given_back.facts.state) == ("ai", "open")
    facts = given_back.messages[0].message.extra["handoff"]
    assert facts == {"event": "handed_back", "operatorId": "anna", "seconds": 15, "automatic": True}
    for other in (let_wait(), new_session()):
        assert decide(other._replace(now=START + 10**12).read()) is None


def test_a_message_of_the_operator_before_does_not_count_for_the_next_one() -> None:
    session, _ = let_wait().take(answer("anna", polite=False))
    session = assigned_to("ben", session._replace(now=START + 60_000_000))
    assert hand_back_if_silent(50)(session._replace(now=START + 100_000_000).read()) is None


# The queue

places = st.tuples(st.integers(0, HIGHEST_PRIORITY), st.integers(0, to_us(datetime(2053, 1, 1, tzinfo=UTC))))


@given(places, places)
def test_the_higher_priority_comes_first_and_then_who_has_waited_longest(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    scores = [queue_place(DeskFacts(stamp=1, priority=p, waiting_since=since)) for p, since in (one, other)]
    assert (scores[0] < scores[1]) == ((-one[0], one[1]) < (-other[0], other[1]))
    assert all(int(float(score)) == score < 2**53 for score in scores), "a sorted set keeps it exactly"


# What is stored

moments = st.none() | st.integers(0, to_us(datetime(2100, 1, 1, tzinfo=UTC)))
texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
all_facts = st.builds(
    DeskFacts,
    stamp=st.integers(0, 2**53),
    own_ttl=TTLS,
    desk_ttl=TTLS,
    epoch=st.integers(0, 2**53),
    state=st.sampled_from(["open", "waiting", "assigned"]),
    since=moments,
    waiting_since=moments,
    operator=texts,
    presence=st.integers(0, 2**53),
    answered=moments,
    asked=st.booleans(),
    reason=texts,
    priority=st.integers(0, HIGHEST_PRIORITY),
    team=texts,
)


@given(all_facts)
def test_the_facts_come_out_as_they_went_in(facts: DeskFacts) -> None:
    stored = encode_facts(facts)
    assert decode_facts(stored) == facts
    assert stored.startswith(b'{"stamp":')


DAMAGED = [
    *(b"", b"null", b"[]", b"1", b'"x"', b"{}", b'{"stamp":1', b'{"stamp":1}}', b"\xff\xfe", b'{"stamp":1}\x00'),
    *(b'{"stamp":"1"}', b'{"stamp":1.5}', b'{"stamp":true}', b'{"stamp":null}', b'{"stamp":-1}'),
    *(b'{"stamp":1,"priority":10}', b'{"stamp":1,"priority":-1}', b'{"stamp":1,"state":"lost"}'),
    *(b'{"stamp":1,"operator":7}', b'{"stamp":1,"team":[]}', b'{"stamp":1,"asked":1}', b'{"stamp":1,"team":"\xff"}'),
    b'{"stamp":1,"state":"waiting","since":999999999999999999}',
    b'{"stamp":1,"state":"assigned","waitingSince":-999999999999999999}',
    b'{"stamp":1,"since":99999999999999999999999}',
    *(b'{"stamp":1,"ownTtl":0,"deskTtl":600}', b'{"stamp":1,"ownTtl":-5,"deskTtl":600}'),
]


@pytest.mark.parametrize("stored", DAMAGED, ids=repr)
def test_what_the_desk_did_not_store_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="it is not what the desk stores"):
        decode_facts(stored)


@given(st.binary(max_size=40) | st.builds(lambda facts, cut: encode_facts(facts)[:cut], all_facts, st.integers(0, 300)))
def test_any_bytes_are_facts_or_are_refused(stored: bytes) -> None:
    try:
        facts = decode_facts(stored)
    except ValueError:
        return
    assert decode_facts(encode_facts(facts)) == facts


@given(all_facts)
def test_facts_of_the_current_epoch_are_what_is_true(facts: DeskFacts) -> None:
    agents: tuple[Agent, ...] = ("ai", "human")
    for agent in agents:
        assert current_facts(facts, agent, facts.epoch, None) is facts


@given(st.none() | all_facts, st.integers(0, to_us(datetime(2100, 1, 1, tzinfo=UTC))))
def test_a_switch_without_the_desk_is_an_unknown_operators(facts: DeskFacts | None, us: int) -> None:
    moment = from_us(us)
    epoch = 1 if facts is None else facts.epoch + 1
    stored = facts or NEVER_HANDLED
    opened = current_facts(facts, "ai", epoch, moment)
    assert (opened.state, opened.epoch, opened.operator, opened.waiting_since) == ("open", epoch, None, None)
    taken = current_facts(facts, "human", epoch, moment)
    assert (taken.state, taken.epoch, taken.operator, taken.presence) == ("assigned", epoch, None, 0)
    assert taken.since == us
    for current in (opened, taken):
        assert (current.stamp, current.own_ttl, current.desk_ttl) == (stored.stamp, stored.own_ttl, stored.desk_ttl)
        assert own_ttl(current, 600) == own_ttl(facts, 600)


def test_a_session_that_the_desk_never_handled_is_open() -> None:
    assert find_status(None, "ai", 0, None) == find_status(None, "ai", 7, from_us(START)) == OPEN
    assert current_facts(None, "ai", 7, from_us(START)) == msgspec.structs.replace(NEVER_HANDLED, epoch=7)


@given(all_facts)
def test_a_session_that_is_stored_elsewhere_keeps_its_status(facts: DeskFacts) -> None:
    if facts.state != "open" and facts.since is not None and facts.waiting_since is None:
        facts = msgspec.structs.replace(facts, waiting_since=facts.since)
    agent: Agent = "ai" if facts.state == "open" else "human"
    again = facts_of(facts.status, 5)
    assert find_status(again, agent, 5, facts.status.since) == facts.status
    assert again is None or (again.epoch, again.presence) == (5, 0)


def test_a_session_that_the_desk_never_handled_is_stored_elsewhere_without_its_facts() -> None:
    for agent in ("ai", "human"):
        assert facts_of(find_status(None, agent, 1, from_us(START)), 1) is None
        assert facts_of(find_status(None, agent, 0, None), 0) is None


@given(TTLS, TTLS)
def test_a_ttl_that_another_process_sets_is_the_sessions_own(ttl: int | None, other: int | None) -> None:
    waiting, _ = new_session(ttl).take(request(reason=None, priority=0, team=None, say=None, hold_ai=True))
    set_since = waiting._replace(ttl=other)
    handed_back, _ = set_since.take(hand_back(None, note=None, say=None, resolved=False))
    is_told_apart = other != waiting.ttl
    assert handed_back.ttl == (other if is_told_apart else ttl)
    assert handed_back.facts is not None
    assert (handed_back.facts.own_ttl, handed_back.facts.desk_ttl) == (None, None)


NEEDS_HOLDER: dict[str, Decide] = {
    "transfer": transfer_to_operator("anna", "ben", None),
    "transfer to a team": transfer_to_team("anna", "sales", None),
    "decline": decline("anna"),
    "polite answer": answer("anna", polite=True),
}


@pytest.mark.parametrize("name", NEEDS_HOLDER)
def test_a_step_of_one_who_has_not_got_the_session_is_refused_with_who_has_it(name: str) -> None:
    held = assigned_to("carl", let_wait())
    for session, state, operator, since in (
        (new_session(), "open", None, None),
        (let_wait(), "waiting", None, from_us(START)),
        (held, "assigned", "carl", from_us(START)),
        (held.switch("human"), "assigned", None, from_us(START)),
    ):
        with pytest.raises(DeskConflict) as refused:
            session.take(NEEDS_HOLDER[name])
        assert (refused.value.state, refused.value.operator_id, refused.value.since) == (state, operator, since)
        assert (refused.value.session_id, refused.value.current_epoch) == ("s", session.epoch)


def test_the_marker_of_a_hand_back_says_for_how_long() -> None:
    session = assigned_to("anna", let_wait())._replace(now=START + int(timedelta(minutes=7).total_seconds() * 10**6))
    _, change = session.take(hand_back("anna", note="n", say=None, resolved=True))
    assert change is not None
    marker = change.messages[0].message
    assert marker.extra["handoff"] == {
        "event": "handed_back",
        "operatorId": "anna",
        "seconds": 420,
        "note": "n",
        "resolved": True,
    }
    assert marker.text == (
        "Operator anna handed the session back to the AI after 7 min. The matter is resolved. Note: n"
    )
