"""The contract of the fences of a reply: a store takes nothing from a worker whose turn is over."""

import pytest

from chat_session.errors import SessionNotFound, TurnLost
from chat_session.manager import SessionManager
from chat_session.testing.replies.scene import (
    OTHER,
    Worker,
    begin,
    expect_end,
    lose,
    make_draft,
    replies_of,
    take,
    until_over,
)
from chat_session.testing.turns.scene import LONG_LEASE, RENEWED_LEASE, SHORT_LEASE, create_asking, history, unanswered

WAYS = {  # how a turn ends, and the reasons that are given to the worker and to watchers
    "taken_over": ("taken_over", "taken_over"),
    "handed_back": ("taken_over", "taken_over"),
    "stopped": ("stopped", "stopped"),
    "released": (None, "released"),
}


async def end_turn(worker: Worker, how: str) -> None:
    if how == "released":
        await worker.release()
    else:
        await lose(worker.manager, how)


class FenceContract:
    """Only the worker that has the turn writes."""

    @pytest.mark.parametrize("how", WAYS)
    async def test_a_reply_ends_with_its_turn(self, manager: SessionManager, how: str) -> None:
        worker = await begin(manager, b"hello")
        await end_turn(worker, how)
        reason, told = WAYS[how]
        for call in (worker.write(5, b" you"), worker.commit("hello you"), worker.begin(OTHER), worker.begin()):
            with pytest.raises(TurnLost) as lost:
                await call
            assert reason in (lost.value.reason, None)
        await expect_end(manager, "aborted", told)
        assert await history(manager, "s") == ["question in s"]

    async def test_another_token_writes_nothing(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        other = worker._replace(token="other")  # noqa: S106 - no secret
        for call in (other.write(5, b" you"), other.commit("hello you"), other.begin(OTHER), other.begin()):
            with pytest.raises(TurnLost):
                await call
        assert await worker.count_bytes() == 5
        assert await history(manager, "s") == ["question in s"]

    async def test_a_reply_of_a_worker_that_died_ends_with_its_lease(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello", lease=2 * SHORT_LEASE)
        assert (await until_over(worker)).reason == "expired"
        await expect_end(manager, "aborted", "expired")
        with pytest.raises(TurnLost):
            await worker.commit("hello you")

    async def test_another_worker_ends_the_reply_of_one_that_died(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello", lease=SHORT_LEASE)
        async with manager.turn("s", wait=20) as turn, turn.stream() as reply:
            await expect_end_of_first(worker)
            await reply.write("another answer")
        assert await history(manager, "s") == ["question in s", "another answer"]

    async def test_a_turn_that_is_taken_again_after_a_takeover_ends_the_reply(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await lose(manager, "handed_back")
        other = await take(manager, "other")
        await expect_end(manager, "aborted", "taken_over")
        await other.begin(OTHER)
        await expect_end_of_first(worker)
        assert await other.write(0, b"fine", OTHER) == 4

    async def test_a_repeat_of_taking_a_turn_ends_no_reply(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await take(manager)
        assert await worker.count_bytes() == 5

    async def test_a_renewal_keeps_the_reply(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello", lease=RENEWED_LEASE)
        await manager._turns.renew_turn("s", worker.token, LONG_LEASE)  # noqa: SLF001 - the facade does so by itself
        await create_asking(manager, "t")
        other = await take_of(manager, "t", RENEWED_LEASE)
        await until_lease_is_over(manager, other)
        assert await worker.write(5, b" you") == 9
        assert await worker.commit("hello you") == 2

    async def test_a_reply_grows_as_long_as_its_block_runs(self, manager: SessionManager) -> None:
        replies = replies_of(manager)
        await create_asking(manager, "s", "t")
        async with manager.turn("s", lease=RENEWED_LEASE) as turn, turn.stream() as reply:
            await reply.write("hello")
            for _ in range(2):
                await until_lease_is_over(manager, await take_of(manager, "t", RENEWED_LEASE))
            worker = Worker(manager, replies, turn._token)  # noqa: SLF001 - as above
            assert await worker.count_bytes(reply.id) == 5
            await reply.write(" you")
        assert await history(manager, "s") == ["question in s", "hello you"]

    async def test_a_step_to_the_next_round_keeps_the_reply(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await manager.add_message("s", {"from": "user", "text": "more"})
        assert not await manager._turns.release_turn("s", worker.token, 1, unless_newer=True)  # noqa: SLF001 - as above
        assert await worker.write(5, b" you") == 9

    async def test_a_session_that_is_gone_has_no_reply(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await manager.delete_session("s")
        for call in (worker.write(5, b"x"), worker.begin(), worker.commit("x"), worker.commit_partial("hello")):
            with pytest.raises(SessionNotFound):
                await call
        await worker.abort()

    async def test_a_session_that_is_created_again_has_no_reply(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await manager.delete_session("s")
        await create_asking(manager, "s")
        for call in (worker.write(5, b"x"), worker.commit("x")):
            with pytest.raises(TurnLost):
                await call
        assert await worker.commit_partial("hello") is None
        await worker.abort()
        assert await unanswered(manager, "s") == ["question in s"]

    async def test_the_store_s_own_commit_answers_up_to_where_the_round_was_read(self, manager: SessionManager) -> None:
        worker = await begin(manager, b"hello")
        await manager.add_message("s", {"from": "user", "text": "more"})
        await worker.replies.commit_reply("s", worker.token, make_draft("hello"), 1)
        await worker.release()
        assert await unanswered(manager, "s") == ["more"]


async def expect_end_of_first(worker: Worker) -> None:
    with pytest.raises(TurnLost):
        await worker.write(5, b" you")
    assert await worker.commit_partial("hello") is None


async def take_of(manager: SessionManager, session_id: str, lease: float) -> str:
    await manager._turns.take_turn(session_id, "clock", lease)  # noqa: SLF001 - as above
    return session_id


async def until_lease_is_over(manager: SessionManager, session_id: str) -> None:
    """Another session's lease is the clock."""
    async with manager.turn(session_id, wait=20):
        pass
