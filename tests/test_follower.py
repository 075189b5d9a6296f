"""Which events follow from an observation, for what no store can easily be brought into."""

import pytest

from chat_session.events import (
    AgentSwitched,
    HistoryCleared,
    MessageAppended,
    SessionUpdated,
    State,
)
from chat_session.feed_cursor import ENDED, Cursor, hash_id
from chat_session.follower import NEWEST, Follower
from chat_session.message import RETRACTED
from chat_session.storage.contract import Edit, Position, ReplyState
from testkit.observations import MOMENT, follower_at, growing, look, message, seen, shape


class TestWhereAFeedBegins:
    def test_one_without_a_cursor_asks_for_no_message(self) -> None:
        assert Follower("s", None, include_internal=False).position == Position(NEWEST)

    def test_it_begins_behind_the_newest_message(self) -> None:
        follower = Follower("s", None, include_internal=False)
        events = look(follower, seen(7, edits=[Edit(3, 2, 2, "x")], revision=3))
        assert shape(events) == ["state"]
        assert (follower.cursor.seq, follower.cursor.revision, follower.cursor.tag) == (7, 3, "x")

    def test_a_reply_that_grows_already_is_told_from_its_start(self) -> None:
        follower = Follower("s", None, include_internal=False)
        follower.begin(seen(2, reply=growing(b"Hel")))
        assert follower.position.reply_id == ""
        assert shape(look(follower, seen(2, reply=growing(b"Hello")))) == ["state", "reply_started", (0, "Hello")]

    def test_a_reply_that_was_over_before_is_not_told(self) -> None:
        follower = Follower("s", None, include_internal=False)
        over = ReplyState("r", "aborted", reason="stopped")
        assert shape(look(follower, seen(2, reply=over))) == ["state"]
        assert shape(look(follower, seen(2, reply=over))) == []

    def test_the_message_at_a_cursor_without_its_hash_is_learnt(self) -> None:
        follower = Follower("s", Cursor("aa", 2), include_internal=False)
        look(follower, seen(2, told=message(2)))
        assert look(follower, seen(2, told=message(2, "other")))[0].name == "reset"


class TestReset:
    def test_another_incarnation(self) -> None:
        assert follower_at(1).find_reset(seen(1, incarnation="bb")) == "recreated"

    def test_a_cursor_that_is_ahead(self) -> None:
        assert follower_at(5).find_reset(seen(4)) == "rewritten"

    def test_another_message_in_the_place_of_the_last_one(self) -> None:
        follower = follower_at(4, message=hash_id("m4"))
        assert follower.find_reset(seen(4, told=message(4))) is None
        assert follower.find_reset(seen(9, told=message(4, "other"))) == "rewritten"

    def test_a_message_that_is_no_longer_kept_proves_nothing(self) -> None:
        assert follower_at(4, message=hash_id("m4")).find_reset(seen(9, first=6)) is None

    def test_a_revision_that_is_ahead(self) -> None:
        assert follower_at(4, revision=3).find_reset(seen(9, revision=2)) == "rewritten"

    def test_a_revision_with_another_tag(self) -> None:
        follower = follower_at(4, revision=2, tag="mine")
        assert follower.find_reset(seen(4, revision=2, edits=[Edit(2, 1, 1, "mine")])) is None
        assert follower.find_reset(seen(4, revision=2, edits=[Edit(2, 1, 1, "other")])) == "rewritten"

    def test_an_older_revision_with_another_tag_below_newer_ones(self) -> None:
        follower = follower_at(4, revision=2, tag="mine")
        edits = [Edit(2, 1, 1, "other"), Edit(3, 2, 2, "x")]
        assert follower.find_reset(seen(4, revision=3, edits=edits)) == "rewritten"

    def test_edits_that_are_no_longer_listed(self) -> None:
        follower = follower_at(4, revision=2)
        listed = [Edit(revision, 1, 1, "x") for revision in range(3, 67)]
        assert follower.find_reset(seen(4, revision=66, edits=listed)) is None
        assert follower.find_reset(seen(4, revision=67, edits=[*listed[1:], Edit(67, 1, 1, "x")])) == "too_old"

    def test_a_hole_in_the_list_of_edits(self) -> None:
        """As an older release leaves it, which counts edits and does not list them."""
        edits = [Edit(3, 1, 1, "x"), Edit(5, 1, 1, "x")]
        assert follower_at(4, revision=2).find_reset(seen(4, revision=5, edits=edits)) == "too_old"

    def test_many_edits_of_which_none_is_listed_are_found_at_once(self) -> None:
        assert follower_at(4, revision=1).find_reset(seen(4, revision=2**50)) == "too_old"

    def test_it_goes_on_behind_what_is_there_with_a_state(self) -> None:
        follower = follower_at(5, revision=9, reply_id="r", offset=3)
        events = look(follower, seen(4, revision=1, edits=[Edit(1, 1, 1, "x")], reply=growing(b"new")))
        assert shape(events) == [("reset", "rewritten")]
        assert follower.starts
        assert follower.cursor == Cursor("aa", 4, "", 1, "x", "", ENDED)
        assert events[0].cursor == str(follower.cursor)
        assert shape(look(follower, seen(4, revision=1, reply=growing(b"new")))) == [
            "state",
            "reply_started",
            (0, "new"),
        ]


class TestMessages:
    def test_each_has_the_cursor_behind_it(self) -> None:
        follower = follower_at(1)
        events = look(follower, seen(3, message(2), message(3)))
        assert [Cursor.parse(event.cursor).seq for event in events] == [2, 3]
        assert Cursor.parse(events[0].cursor).message == hash_id("m2")

    def test_one_that_is_internal_moves_the_cursor_without_a_word(self) -> None:
        follower = follower_at(1)
        assert shape(look(follower, seen(2, message(2, internal=True)))) == []
        assert follower.cursor.seq == 2
        assert shape(look(follower_at(1, inside=True), seen(2, message(2, internal=True)))) == [("message_appended", 2)]

    def test_a_cut_reading_is_behind(self) -> None:
        follower = follower_at(1)
        observation = seen(3, message(2))
        look(follower, observation)
        assert follower.is_behind(observation, 100)
        rest = seen(3, message(3))
        look(follower, rest)
        assert not follower.is_behind(rest, 100)

    def test_the_name_of_an_operator_is_for_the_staff(self) -> None:
        said = message(2, sender="operator", author="ann")
        [event] = look(follower_at(1), seen(2, said))
        [inside] = look(follower_at(1, inside=True), seen(2, said))
        assert isinstance(event, MessageAppended)
        assert isinstance(inside, MessageAppended)
        assert (event.message.author, inside.message.author) == (None, "ann")

    def test_the_author_of_a_reply_of_the_ai_is_told(self) -> None:
        [event] = look(follower_at(1), seen(2, message(2, sender="assistant", author="bot")))
        assert isinstance(event, MessageAppended)
        assert event.message.author == "bot"


class TestGap:
    def test_trimmed_messages(self) -> None:
        follower = follower_at(2)
        events = look(follower, seen(9, message(7), message(8), message(9), first=7))
        assert shape(events) == [(3, 6), *[("message_appended", seq) for seq in (7, 8, 9)]]
        assert Cursor.parse(events[0].cursor).seq == 6

    def test_a_history_of_which_nothing_is_left(self) -> None:
        follower = follower_at(2)
        assert shape(look(follower, seen(9, first=10))) == [(3, 9)]
        assert follower.cursor.seq == 9

    @pytest.mark.parametrize(("trimmed", "told"), [(0, []), (2, []), (3, [(3, 3)]), (5, [(3, 5)]), (6, [(3, 6)])])
    def test_a_customer_is_told_of_one_up_to_the_newest_trimmed_message_it_could_see(
        self, trimmed: int, told: list[tuple[int, int]]
    ) -> None:
        assert shape(look(follower_at(2), seen(6, first=7, trimmed=trimmed))) == told

    def test_the_staff_is_told_of_all(self) -> None:
        assert shape(look(follower_at(2, inside=True), seen(6, first=7, trimmed=0))) == [(3, 6)]

    def test_the_hash_of_a_message_that_was_told_before_it_does_not_count_behind_it(self) -> None:
        follower = follower_at(2, message=hash_id("m2"))
        look(follower, seen(6, first=7))
        assert follower.find_reset(seen(6, told=message(6, "any"), first=6)) is None


class TestEdits:
    def test_only_those_of_messages_that_were_told(self) -> None:
        edits = [Edit(1, 2, 2, "a"), Edit(2, 4, 6, "b"), Edit(3, 5, 5, "c")]
        assert follower_at(4).missed_edits(seen(6, revision=3, edits=edits)) == edits[:2]

    def test_those_that_were_told_already_are_not_told_again(self) -> None:
        edits = [Edit(1, 2, 2, "a"), Edit(2, 1, 1, "b")]
        assert follower_at(4, revision=1, tag="a").missed_edits(seen(4, revision=2, edits=edits)) == edits[1:]

    def test_what_was_changed_before_the_history_was_cleared_is_gone(self) -> None:
        edits = [Edit(1, 2, 2, "a"), Edit(2, 0, 0, "b"), Edit(3, 0, 0, "c"), Edit(4, 3, 3, "d")]
        assert follower_at(4).missed_edits(seen(4, revision=4, edits=edits)) == edits[2:]

    def test_a_change_of_several_messages_has_its_cursor_behind_the_last(self) -> None:
        follower = follower_at(3)
        now = [message(1, text="better"), message(2, type=RETRACTED, text="")]
        events = list(follower.edited(Edit(1, 1, 2, "x"), now, is_last=True))
        assert shape(events) == [("message_replaced", 1), ("message_retracted", 2)]
        assert [Cursor.parse(event.cursor).revision for event in events] == [0, 1]

    def test_until_all_is_told_a_cursor_is_before_it(self) -> None:
        follower = follower_at(3)
        [event] = follower.edited(Edit(1, 1, 1, "x"), [message(1)], is_last=False)
        assert Cursor.parse(event.cursor).revision == 0
        [last] = follower.edited(Edit(2, 2, 2, "y"), [message(2)], is_last=True)
        assert (Cursor.parse(last.cursor).revision, Cursor.parse(last.cursor).tag) == (2, "y")

    def test_an_internal_message_that_is_changed_is_told_to_the_staff_only(self) -> None:
        changed = [message(1, internal=True)]
        assert list(follower_at(3).edited(Edit(1, 1, 1, "x"), changed, is_last=True)) == []
        assert len(list(follower_at(3, inside=True).edited(Edit(1, 1, 1, "x"), changed, is_last=True))) == 1

    def test_a_message_that_was_not_told_yet_is_not_told_as_changed(self) -> None:
        events = list(follower_at(3).edited(Edit(1, 3, 4, "x"), [message(3), message(4)], is_last=True))
        assert shape(events) == [("message_replaced", 3)]

    def test_a_cleared_history_is_one_event(self) -> None:
        [event] = follower_at(3).edited(Edit(1, 0, 0, "x"), (), is_last=True)
        assert isinstance(event, HistoryCleared)
        assert Cursor.parse(event.cursor).revision == 1

    def test_of_edits_that_concern_nobody_the_cursor_is_behind(self) -> None:
        follower = follower_at(3)
        assert look(follower, seen(3, revision=2, edits=[Edit(1, 5, 5, "a"), Edit(2, 6, 6, "b")])) == []
        assert (follower.cursor.revision, follower.cursor.tag) == (2, "b")


class TestTheSession:
    def test_nothing_is_compared_before_a_state_was_told(self) -> None:
        assert look(follower_at(1), seen(1, fields={"agent_epoch": 5})) == []

    def test_the_same_agent_in_a_new_epoch_is_a_switch(self) -> None:
        follower = Follower("s", None, include_internal=False)
        look(follower, seen(0))
        [event] = look(follower, seen(0, fields={"agent_epoch": 2}))
        assert isinstance(event, AgentSwitched)
        assert (event.agent, event.epoch) == ("ai", 2)

    def test_metadata_are_for_the_staff(self) -> None:
        for inside, names in ((False, []), (True, ["session_updated"])):
            follower = Follower("s", None, include_internal=inside)
            look(follower, seen(0))
            assert [event.name for event in look(follower, seen(0, fields={"metadata": {"a": 1}}))] == names

    def test_a_state_for_a_customer_has_nothing_of_the_staff(self) -> None:
        follower = Follower("s", None, include_internal=False)
        [event] = look(follower, seen(3, revision=7, fields={"metadata": {"a": 1}, "message_count": 3}))
        assert isinstance(event, State)
        shown = event.session
        assert (shown.metadata, shown.message_count, shown.revision, shown.max_history) == ({}, 0, 0, None)

    def test_activity_alone_is_no_change(self) -> None:
        follower = Follower("s", None, include_internal=True)
        look(follower, seen(0))
        later = MOMENT.replace(day=3)
        events = look(follower, seen(0, fields={"last_active_at": later, "message_count": 4}))
        assert not any(isinstance(event, SessionUpdated) for event in events)
