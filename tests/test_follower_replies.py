"""What a watcher is told of replies that grow, for what no store can easily be brought into."""

import pytest

from chat_session.events import (
    ReplyAborted,
    ReplyCommitted,
    ReplyDelta,
    ReplyStarted,
)
from chat_session.feed_cursor import Cursor
from chat_session.follower import Follower
from chat_session.message import RETRACTED
from chat_session.storage.contract import Position, ReplyState
from testkit.observations import SMILE, follower_at, growing, look, message, seen, shape


class TestReplies:
    def test_text_that_is_cut_within_a_sign_is_told_up_to_it(self) -> None:
        follower = follower_at(1)
        text = f"a{SMILE}b".encode()
        assert shape(look(follower, seen(1, reply=growing(text[:3])))) == ["reply_started", (0, "a")]
        assert follower.position == Position(1, "r", 1)
        assert shape(look(follower, seen(1, reply=growing(text[1:], 1)))) == [(1, f"{SMILE}b")]
        assert follower.cursor.offset == len(text)

    @pytest.mark.parametrize("cut", range(5))
    def test_a_sign_is_told_once_wherever_it_is_cut(self, cut: int) -> None:
        follower = follower_at(1)
        text = SMILE.encode()
        events = look(follower, seen(1, reply=growing(text[:cut])))
        events += look(follower, seen(1, reply=growing(text[follower.cursor.offset :], follower.cursor.offset)))
        deltas = [event for event in events if isinstance(event, ReplyDelta)]
        assert [delta.text for delta in deltas] == [SMILE]

    def test_text_from_another_offset_is_left_out(self) -> None:
        """The observation is older than the cursor."""
        follower = follower_at(1, reply_id="r", offset=5)
        assert look(follower, seen(1, reply=growing(b"abc", 2))) == []
        assert follower.cursor.offset == 5

    def test_the_rest_of_its_text_is_told_before_its_message(self) -> None:
        follower = follower_at(1, reply_id="r", offset=3)
        stored = message(2, "r", sender="assistant", text=f"abc{SMILE}")
        events = look(follower, seen(2, stored, reply=ReplyState("r", "committed", seq=2)))
        assert shape(events) == [(3, SMILE), ("message_appended", 2), "reply_committed"]
        assert look(follower, seen(2, reply=ReplyState("r", "committed", seq=2))) == []

    def test_a_cursor_between_the_message_and_the_end_tells_the_end(self) -> None:
        follower = follower_at(1, reply_id="r", offset=1)
        events = look(follower, seen(2, message(2, "r", text="a"), reply=ReplyState("r", "committed", seq=2)))
        again = Follower("s", Cursor.parse(events[0].cursor), include_internal=False)
        committed = look(again, seen(2, told=message(2, "r"), reply=ReplyState("r", "committed", seq=2)))[-1]
        assert isinstance(committed, ReplyCommitted)
        assert committed.seq == 2

    @pytest.mark.parametrize("reply", [growing(b"new", reply_id="r2"), ReplyState("r2", "aborted", reason="failed")])
    def test_a_cursor_between_the_message_and_the_end_tells_the_end_though_others_came(self, reply: ReplyState) -> None:
        follower = follower_at(1, reply_id="r", offset=1)
        appended = look(follower, seen(2, message(2, "r", text="a")))[0]
        again = Follower("s", Cursor.parse(appended.cursor), include_internal=False)
        observation = seen(3, message(3), told=message(2, "r"), reply=reply)
        assert shape(look(again, observation))[:3] == ["state", "reply_committed", ("message_appended", 3)]
        assert not any(isinstance(event, ReplyAborted) for event in look(again, observation))

    def test_its_message_that_was_retracted_meanwhile_has_no_text_to_tell(self) -> None:
        follower = follower_at(1, reply_id="r", offset=1)
        tombstone = message(2, "r", type=RETRACTED, text="")
        assert shape(look(follower, seen(2, tombstone))) == [("message_appended", 2), "reply_committed"]

    def test_its_message_that_was_trimmed_ends_it_all_the_same(self) -> None:
        follower = follower_at(1, reply_id="r", offset=1)
        events = look(follower, seen(4, message(4), first=4, reply=ReplyState("r", "committed", seq=2)))
        assert shape(events) == [(2, 3), ("message_appended", 4), "reply_committed"]

    @pytest.mark.parametrize("reason", ["taken_over", "expired", "stopped", "released", "failed"])
    def test_an_end_says_why(self, reason: str) -> None:
        follower = follower_at(1, reply_id="r", offset=1)
        over = ReplyState("r", "aborted", reason=reason)
        assert shape(look(follower, seen(1, reply=over))) == [("reply_aborted", reason)]
        assert look(follower, seen(1, reply=over)) == []

    def test_a_reply_of_which_nothing_is_known_any_more_has_ended(self) -> None:
        follower = follower_at(1, reply_id="r", offset=1)
        events = look(follower, seen(1, reply=growing(b"new", reply_id="r2")))
        assert shape(events) == [("reply_aborted", "expired"), "reply_started", (0, "new")]
        assert shape(look(follower_at(1, reply_id="r", offset=1), seen(1))) == [("reply_aborted", "expired")]

    def test_while_messages_are_missing_nothing_is_told_of_a_reply(self) -> None:
        """Its message may be among them."""
        follower = follower_at(1, reply_id="r", offset=1)
        over = ReplyState("r", "committed", seq=3)
        assert shape(look(follower, seen(3, message(2), reply=over))) == [("message_appended", 2)]
        rest = look(follower, seen(3, message(3, "r", text="abc"), reply=over))
        assert shape(rest) == [(1, "bc"), ("message_appended", 3), "reply_committed"]

    def test_a_text_that_filled_the_reading_is_behind(self) -> None:
        follower = follower_at(1)
        cut = seen(1, reply=growing(b"abcd"))
        look(follower, cut)
        assert follower.is_behind(cut, 4)
        assert not follower.is_behind(cut, 5)

    def test_a_start_has_the_author(self) -> None:
        [started] = look(follower_at(1), seen(1, reply=growing(b"", author="bot")))
        assert isinstance(started, ReplyStarted)
        assert started.author == "bot"
