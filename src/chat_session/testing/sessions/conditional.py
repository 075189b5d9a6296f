"""The contract of compare and append: what an append expects, and what it writes in the same step."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from chat_session.errors import (
    AgentConflict,
    InvalidInput,
    MetadataConflict,
    SequenceConflict,
    SessionNotFound,
)
from chat_session.manager import SessionManager
from chat_session.testing.backend import Backend
from chat_session.testing.sessions.edits import fill, read, seqs

MESSAGE = {"from": "user", "text": "x"}


class ConditionalContract:
    """Compare and append; metadata that changes only if it is as expected; counters."""

    async def test_an_append_that_expects_the_newest_seq_is_stored(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        for seq in range(3):
            [result] = await manager.add_messages(session_id, [MESSAGE], expect_seq=seq)
            assert result.seq == seq + 1

    async def test_an_append_that_expects_another_seq_or_revision_is_refused(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = await fill(manager, 3)
        await manager.pop_messages(session_id)
        before = await backend.digest(manager)
        wrong: list[dict[str, Any]] = [
            {"expect_seq": 2},
            {"expect_seq": 4},
            {"expect_revision": 0},
            {"expect_revision": 2},
            {"expect_seq": 3, "expect_revision": 0},
            {"expect_seq": 2, "expect_revision": 1},
        ]
        for expected in wrong:
            for messages in ([MESSAGE], []):
                with pytest.raises(SequenceConflict) as refused:
                    await manager.add_messages(session_id, messages, metadata={"a": 1}, **expected)
                error = refused.value
                assert (error.session_id, error.current_seq, error.current_revision) == (session_id, 3, 1)
        assert await backend.digest(manager) == before
        await manager.add_messages(session_id, [MESSAGE], expect_seq=3, expect_revision=1)

    async def test_of_many_who_expect_one_seq_one_succeeds(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 3)
        tries = (manager.add_messages(session_id, [MESSAGE], expect_seq=3) for _ in range(20))
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(result, list) for result in results) == 1
        assert sum(isinstance(result, SequenceConflict) for result in results) == 19
        assert await seqs(manager, session_id) == [1, 2, 3, 4]

    async def test_an_append_repeated_answers_as_before_whatever_it_expects(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 1)
        message = {"id": "new", **MESSAGE}
        together: dict[str, Any] = {"expect_seq": 1, "expect_metadata": {"n": None}, "metadata": {"n": 1}}
        [first] = await manager.add_messages(session_id, [message], **together)
        await manager.update_session(session_id, {"n": 2})
        [again] = await manager.add_messages(session_id, [message], **together)
        assert (again.duplicate, again.message) == (True, first.message)
        assert (await read(manager, session_id)).metadata == {"n": 2}

    async def test_metadata_is_merged_in_the_step_of_the_append(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u", {"keep": 1, "change": "a", "drop": True})).session_id
        await manager.add_messages(session_id, [MESSAGE], metadata={"change": ["b"], "drop": None, "new": "1"})
        session = await read(manager, session_id)
        assert session.metadata == {"keep": 1, "change": ["b"], "new": "1"}
        assert session.message_count == 1

    @pytest.mark.parametrize(
        "expected",
        [{"n": 2}, {"n": "1"}, {"n": 1.0}, {"n": None}, {"missing": 1}, {"n": 1, "list": [1]}, {"yes": 1}, {"text": 1}],
        ids=str,
    )
    async def test_metadata_that_is_not_as_expected_refuses_the_append_and_the_update(
        self, manager: SessionManager, backend: Backend, expected: Mapping[str, Any]
    ) -> None:
        metadata = {"n": 1, "list": [1, {"a": None}], "yes": True, "text": "1"}
        session_id = (await manager.create_session("u", metadata)).session_id
        before = await backend.digest(manager)
        for messages in ([MESSAGE], []):
            with pytest.raises(MetadataConflict) as refused:
                await manager.add_messages(session_id, messages, expect_metadata=expected, metadata={"n": 5})
            assert refused.value.name in expected
        with pytest.raises(MetadataConflict):
            await manager.update_session(session_id, {"n": 5}, expect=expected)
        assert await backend.digest(manager) == before
        right = {**metadata, "missing": None}
        await manager.add_messages(session_id, [MESSAGE], expect_metadata=right, metadata={"n": 5})
        assert (await manager.update_session(session_id, {"n": 6}, expect={**right, "n": 5})).metadata["n"] == 6

    async def test_without_messages_the_rest_of_the_step_is_done_all_the_same(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 2)
        await manager.set_session_ttl(session_id, 900)
        assert await manager.add_messages(session_id, [], expect_seq=2, expect_revision=0, metadata={"a": 1}) == []
        assert await manager.add_messages(session_id, [], expect_metadata={"a": 1}) == []
        session = await read(manager, session_id)
        assert (session.metadata, session.message_count, session.revision) == ({"a": 1}, 2, 0)
        assert 899 <= await manager.get_session_ttl(session_id) <= 900
        with pytest.raises(InvalidInput, match="messages"):
            await manager.add_messages(session_id, [])
        with pytest.raises(SessionNotFound):
            await manager.add_messages("missing", [], metadata={"a": 1})

    async def test_a_takeover_refuses_the_whole_step(self, manager: SessionManager, backend: Backend) -> None:
        session_id = await fill(manager, 1)
        await manager.switch_agent(session_id, "human")
        before = await backend.digest(manager)
        for messages in ([{"id": "late", **MESSAGE}], []):
            with pytest.raises(AgentConflict) as refused:
                await manager.add_messages(session_id, messages, epoch=0, expect_seq=1, metadata={"a": 1})
            assert [message.id for message in refused.value.messages] == [each["id"] for each in messages]
        assert await backend.digest(manager) == before

    async def test_metadata_over_the_limits_stores_no_message(self, manager: SessionManager, backend: Backend) -> None:
        session_id = (await manager.create_session("u", {f"n{i}": i for i in range(64)})).session_id
        before = await backend.digest(manager)
        for patch in ({"one more": 1}, {"n0": "x" * 65_536}):
            with pytest.raises(InvalidInput, match="metadata"):
                await manager.add_messages(session_id, [MESSAGE], metadata=patch)
        assert await backend.digest(manager) == before
        await manager.add_messages(session_id, [MESSAGE], metadata={"one more": 1, "n0": None})
        assert len((await read(manager, session_id)).metadata) == 64

    async def test_counters_lose_no_step(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u", {"other": "x"})).session_id
        numbers = await asyncio.gather(*(manager.increment(session_id, "n") for _ in range(50)))
        assert sorted(numbers) == list(range(1, 51))
        assert await manager.increment(session_id, "n", -60) == -10
        assert await manager.increment(session_id, "n", 0) == -10
        assert (await read(manager, session_id)).metadata == {"other": "x", "n": -10}
        assert (await read(manager, session_id)).revision == 0

    @pytest.mark.parametrize("value", ["1", 1.0, True, [1], {"a": 1}, "x", 2**53 - 1])
    async def test_what_cannot_be_counted_stays_as_it_is(
        self, manager: SessionManager, backend: Backend, value: object
    ) -> None:
        session_id = (await manager.create_session("u", {"n": value})).session_id
        before = await backend.digest(manager)
        with pytest.raises(InvalidInput, match="whole number"):
            await manager.increment(session_id, "n")
        assert await backend.digest(manager) == before

    async def test_a_counter_is_an_entry_like_others_and_keeps_within_their_limits(
        self, manager: SessionManager
    ) -> None:
        session_id = (await manager.create_session("u", {f"n{i}": i for i in range(64)})).session_id
        assert await manager.increment(session_id, "n63", 2**53 - 1 - 63) == 2**53 - 1
        with pytest.raises(InvalidInput, match="64 entries"):
            await manager.increment(session_id, "one more")
        for name in ("ttl", "cs:revision", "", "x" * 65):
            with pytest.raises(InvalidInput):
                await manager.increment(session_id, name)
        with pytest.raises(SessionNotFound):
            await manager.increment("missing", "n")
