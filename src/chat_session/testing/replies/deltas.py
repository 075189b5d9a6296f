"""The contract of the text that grows in a store: text is put at offsets, once, and without a hole."""

import pytest

from chat_session.errors import InvalidInput, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.replies.scene import (
    OTHER,
    REPLY,
    Worker,
    begin,
    expect_end,
    look,
    make_draft,
    take,
)
from chat_session.testing.turns.scene import create_asking, history


async def end(worker: Worker, how: str) -> None:
    match how:
        case "committed":
            await worker.commit("hello")
        case "aborted":
            await worker.abort()
        case "partial":
            assert await worker.commit_partial("hello")


ENDS = {"committed": ("committed", ""), "aborted": ("aborted", "failed"), "partial": ("aborted", "failed")}


class DeltaContract:
    """Deltas of a reply."""

    async def test_a_delta_is_put_at_its_offset(self, manager: SessionManager) -> None:
        worker = await begin(manager)
        assert [await worker.write(0, b"he"), await worker.write(2, "lló".encode()), await worker.write(6, b"!")] == [
            *(2, 6, 7)
        ]
        seen = await look(manager)
        assert seen is None or (seen.reply_id, seen.state, seen.text) == (REPLY, "growing", "helló!".encode())

    async def test_a_repeated_delta_changes_nothing(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        assert await worker.write(0, b"hello") == 5
        assert await worker.write(5, b" you") == 9
        assert [await worker.write(5, b" you"), await worker.write(0, b"hello"), await worker.write(2, b"l")] == [9] * 3
        seen = await look(manager)
        assert seen is None or seen.text == b"hello you"

    async def test_of_a_delta_that_overlaps_only_what_is_new_is_written(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        assert await worker.write(3, b"lo you") == 9
        assert await worker.write(0, b"hello you!") == 10
        seen = await look(manager)
        assert seen is None or seen.text == b"hello you!"

    async def test_a_delta_that_would_leave_a_hole_is_answered_with_the_length_that_is_there(
        self, manager: SessionManager
    ) -> None:
        worker = await begin(manager, b"hello")
        assert [await worker.write(6, b"you"), await worker.write(1000, b""), await worker.count_bytes()] == [5] * 3
        assert await worker.write(5, b" you") == 9

    async def test_an_empty_delta_is_answered_with_the_length(self, manager: SessionManager) -> None:
        worker = await begin(manager)
        assert await worker.count_bytes() == 0
        await worker.write(0, b"hello")
        assert [await worker.write(5, b""), await worker.count_bytes()] == [5, 5]

    @pytest.mark.parametrize("how", ENDS)
    async def test_a_late_delta_never_brings_a_finished_reply_back(self, manager: SessionManager, how: str) -> None:
        worker = await begin(manager, b"hello")
        await end(worker, how)
        for offset, text in ((0, b"hello"), (5, b" you"), (0, b""), (0, b"hello and more")):
            with pytest.raises(TurnLost):
                await worker.write(offset, text)
        await expect_end(manager, *ENDS[how])
        assert await history(manager, "s") == ["question in s", *["hello"] * (how != "aborted")]

    @pytest.mark.parametrize("how", ENDS)
    async def test_a_late_beginning_never_brings_a_finished_reply_back(self, manager: SessionManager, how: str) -> None:
        worker = await begin(manager, b"hello")
        await end(worker, how)
        with pytest.raises(TurnLost):
            await worker.begin()
        await expect_end(manager, *ENDS[how])

    @pytest.mark.parametrize("how", ENDS)
    async def test_a_late_delta_is_no_part_of_the_next_reply(self, manager: SessionManager, how: str) -> None:
        worker = await begin(manager, b"hello")
        await end(worker, how)
        await worker.begin(OTHER)
        with pytest.raises(TurnLost):
            await worker.write(0, b"hello")
        assert await worker.count_bytes(OTHER) == 0
        await worker.abort(reply_id=REPLY)
        assert await worker.write(0, b"next", OTHER) == 4

    async def test_a_repeated_beginning_keeps_the_text(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await worker.begin()
        assert await worker.count_bytes() == 5

    async def test_a_second_reply_cannot_begin_while_one_grows(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        with pytest.raises(InvalidInput):
            await worker.begin(OTHER)
        assert await worker.count_bytes() == 5

    async def test_a_watcher_sees_the_author_while_the_reply_grows(self, manager: SessionManager) -> None:
        await create_asking(manager, "s")
        worker = await take(manager)
        await worker.begin(author='Anna "the bot" 漢 growing 1')
        seen = await look(manager)
        assert seen is None or (seen.state, seen.author) == ("growing", 'Anna "the bot" 漢 growing 1')
        await worker.write(0, b"hi")
        assert await worker.count_bytes() == 2

    async def test_a_repeated_commit_answers_as_the_first_time(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hel")
        draft = make_draft("hello")
        first = await worker.replies.commit_reply("s", worker.token, draft, 1)
        again = await worker.replies.commit_reply("s", worker.token, draft, 1)
        assert (first.message.seq, first.duplicate, again.message, again.duplicate) == (2, False, first.message, True)
        assert await history(manager, "s") == ["question in s", "hello"]

    async def test_a_reply_that_was_aborted_cannot_be_committed(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await worker.abort()
        with pytest.raises(TurnLost):
            await worker.commit("hello")
        assert await history(manager, "s") == ["question in s"]

    async def test_a_repeated_abort_changes_nothing(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await worker.abort("failed")
        await worker.abort("stopped")
        await expect_end(manager, "aborted", "failed")

    async def test_an_abort_of_a_reply_that_was_committed_changes_nothing(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await worker.commit("hello")
        await worker.abort()
        await expect_end(manager, "committed")
