"""The contract of changes to a history that are not appends: retract, pop, replace, clear."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from chat_session.errors import (
    AgentConflict,
    InvalidInput,
    MessageConflict,
    MessageNotFound,
    SequenceConflict,
    SessionNotFound,
)
from chat_session.manager import SessionManager
from chat_session.message import Message
from chat_session.session import Session
from chat_session.testing.backend import Backend

SECRET = {"text": "secret", "content": {"a": 1}, "author": "bot", "calls": ["c"], "format": "f/1", "more": "extra"}


class EditContract:
    """Retract, pop, replace, clear."""

    async def test_a_retracted_message_is_left_out_of_every_read(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 10)
        for i in (2, 5, 6, 9, 10):
            assert (await manager.retract_message(session_id, f"m{i}")).success
        assert await seqs(manager, session_id) == [1, 3, 4, 7, 8]
        assert [m.seq for m in await manager.get_history(session_id, 3)] == [4, 7, 8]
        assert [m.seq for m in await manager.get_history(session_id, 3, after=1)] == [3, 4, 7]
        assert [m.seq for m in await manager.get_history(session_id, 2, before=7)] == [3, 4]
        assert [m.seq for m in await manager.get_history(session_id, 2, after=1, before=8)] == [4, 7]
        assert [m.seq async for m in manager.iter_history(session_id, page=2)] == [1, 3, 4, 7, 8]
        assert [m.seq for m in await manager.get_window(session_id, messages=4)] == [3, 4, 7, 8]
        assert (await read(manager, session_id)).message_count == 10

    async def test_what_was_retracted_is_erased_down_to_who_spoke_and_when(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        sent = {"id": "m", "from": "assistant", "internal": True, "type": "note", **SECRET}
        stored = (await manager.add_message(session_id, sent)).message
        retracted = await manager.retract_message(session_id, "m")
        tombstone = Message(
            id="m", sender="assistant", text="", timestamp=stored.timestamp, type="retracted", seq=1, internal=True
        )
        assert retracted.message == tombstone
        assert await positions(manager, session_id) == [tombstone]
        assert retracted.to_dict()["message"]["type"] == "retracted"

    async def test_a_message_retracted_again_is_a_success_that_changes_nothing(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 3)
        first = await manager.retract_message(session_id, "m2")
        revision = (await read(manager, session_id)).revision
        assert await manager.retract_message(session_id, "m2") == first
        assert (await read(manager, session_id)).revision == revision == 1

    async def test_retracting_what_is_not_there_is_no_error_and_changes_nothing(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = await fill(manager, 3)
        before = await backend.digest(manager)
        result = await manager.retract_message(session_id, "nobody's")
        assert (result.success, result.message) == (False, None)
        assert await backend.digest(manager) == before

    async def test_a_delivery_of_a_retracted_message_is_a_duplicate_and_restores_nothing(
        self, manager: SessionManager
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        sent = {"id": "m", "from": "user", "text": "x"}
        await manager.add_message(session_id, sent)
        await manager.retract_message(session_id, "m")
        again = await manager.add_message(session_id, sent)
        assert (again.duplicate, again.seq, again.message.type, again.message.text) == (True, 1, "retracted", "")
        assert await manager.get_history(session_id) == []
        with pytest.raises(MessageConflict):
            await manager.add_message(session_id, {**sent, "text": "y"})

    async def test_each_change_is_one_revision_and_appends_are_none(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 8)
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: manager.retract_message(session_id, "m1"),
            lambda: manager.pop_messages(session_id, 3),
            lambda: manager.replace_message(session_id, {"id": "m2", "from": "user", "text": "new"}),
            lambda: manager.replace_history(session_id, [{"from": "user", "text": "x"}] * 2),
            lambda: manager.clear_history(session_id),
            lambda: manager.clear_history(session_id),
        ]
        for revision, change in enumerate(changes, 1):
            await change()
            await manager.add_message(session_id, {"from": "user", "text": "x"})
            assert (await read(manager, session_id)).revision == revision

    async def test_popped_messages_come_oldest_first_as_they_were(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 5)
        await manager.add_message(session_id, {"from": "assistant", "internal": True, **SECRET})
        history = await manager.get_history(session_id, include_internal=True)
        assert await manager.pop_messages(session_id, 3) == history[3:]
        assert await manager.pop_messages(session_id) == [history[2]]
        assert await manager.get_history(session_id, include_internal=True) == history[:2]

    async def test_a_pop_passes_over_tombstones_and_takes_what_there_is(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 6)
        for i in (6, 4, 3):
            await manager.retract_message(session_id, f"m{i}")
        assert [m.seq for m in await manager.pop_messages(session_id, 2)] == [2, 5]
        revision = (await read(manager, session_id)).revision
        assert [m.seq for m in await manager.pop_messages(session_id, 9)] == [1]
        assert await manager.pop_messages(session_id, 9) == []
        assert (await read(manager, session_id)).revision == revision + 1

    async def test_sixty_four_pops_at_once_take_sixty_four_messages(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 100)
        popped = await asyncio.gather(*(manager.pop_messages(session_id) for _ in range(64)))
        assert sorted(message.seq or 0 for [message] in popped) == list(range(37, 101))
        assert await seqs(manager, session_id) == list(range(1, 37))

    async def test_pops_and_appends_at_once_lose_nothing_and_give_nothing_twice(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 20)

        async def pop() -> list[Message]:
            return await manager.pop_messages(session_id, 2)

        async def append(number: int) -> list[Message]:
            await manager.add_message(session_id, {"id": f"x{number}", "from": "user", "text": "x"})
            return []

        done = await asyncio.gather(*(pop() if i % 2 else append(i) for i in range(40)))
        taken = [message.id for messages in done for message in messages]
        kept = [message.id for message in await manager.get_history(session_id, 100)]
        assert sorted([*taken, *kept], key=str) == sorted(
            [f"m{i}" for i in range(1, 21)] + [f"x{i}" for i in range(0, 40, 2)]
        )

    async def test_a_loop_of_pops_and_appends_leaves_a_session_no_larger_than_its_bound(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(max_message_history=5)
        session_id = (await manager.create_session("u")).session_id
        given: list[int] = []
        for i in range(100):
            given.append((await manager.add_message(session_id, {"from": "user", "text": str(i)})).seq)
            assert [message.seq for message in await manager.pop_messages(session_id)] == given[-1:]
        assert given == list(range(1, 101))
        assert [message.seq for message in await positions(manager, session_id)] == list(range(96, 101))

    async def test_no_sequence_number_is_given_twice(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 3)
        await manager.pop_messages(session_id, 3)
        assert await append(manager, session_id) == 4
        await manager.clear_history(session_id)
        assert await append(manager, session_id) == 5
        replaced = await manager.replace_history(session_id, [{"from": "user", "text": "x"}] * 2)
        assert [message.seq for message in replaced] == [6, 7]
        await manager.retract_message(session_id, replaced[-1].id or "")
        assert await append(manager, session_id) == 8
        assert await seqs(manager, session_id) == [6, 8]

    async def test_a_replaced_message_keeps_its_place_and_its_privacy(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 2)
        await manager.add_message(session_id, {"id": "note", "from": "operator", "text": "x", "internal": True})
        [old] = (await manager.get_history(session_id, 1, include_internal=True))[-1:]
        await append(manager, session_id)
        stored = await manager.replace_message(session_id, {"id": "note", "from": "assistant", "text": "y", "n": [1]})
        assert (stored.seq, stored.internal, stored.timestamp) == (3, True, old.timestamp)
        assert (stored.sender, stored.text, stored.extra) == ("assistant", "y", {"n": [1]})
        assert (await manager.get_history(session_id, include_internal=True))[2] == stored
        public = await manager.replace_message(session_id, {"id": "m1", "from": "user", "text": "y", "internal": True})
        assert not public.internal

    async def test_a_replacement_with_a_time_of_its_own_has_that_time(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 1)
        given = {"id": "m1", "from": "user", "text": "y", "timestamp": "2026-01-31T08:00:00.000Z"}
        assert (await manager.replace_message(session_id, given)).to_dict() == {**given, "seq": 1}

    async def test_a_replacement_that_expects_another_message_is_refused(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        content = msgspec.Raw(b'{"n": 1e400, "n": 2}')
        await manager.add_message(session_id, Message(sender="user", text="x", id="m", content=content))
        [seen] = await manager.get_history(session_id)
        new = {"id": "m", "from": "user", "text": "new"}
        before = await backend.digest(manager)
        for other in (
            msgspec.structs.replace(seen, text="other"),
            msgspec.structs.replace(seen, content=msgspec.Raw(b'{"n":1e400,"n":2}')),
            msgspec.structs.replace(seen, author="somebody"),
        ):
            with pytest.raises(MessageConflict) as refused:
                await manager.replace_message(session_id, new, expect=other)
            assert refused.value.message_id == "m"
        assert await backend.digest(manager) == before
        await manager.replace_message(session_id, new, expect=seen)
        with pytest.raises(MessageConflict):
            await manager.replace_message(session_id, new, expect=seen)
        [now] = await manager.get_history(session_id)
        assert (await manager.replace_message(session_id, new, expect=now.to_dict())).text == "new"

    async def test_of_many_who_replace_what_they_read_one_succeeds(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 1)
        [seen] = await manager.get_history(session_id)
        tries = (
            manager.replace_message(session_id, {"id": "m1", "from": "user", "text": f"new {i}"}, expect=seen)
            for i in range(20)
        )
        results = await asyncio.gather(*tries, return_exceptions=True)
        [winner] = [result for result in results if isinstance(result, Message)]
        assert sum(isinstance(result, MessageConflict) for result in results) == 19
        assert await manager.get_history(session_id) == [winner]

    async def test_a_delivery_of_a_replaced_message_is_a_duplicate_with_what_is_stored_now(
        self, manager: SessionManager
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        sent = {"id": "m", "from": "user", "text": "first"}
        await manager.add_message(session_id, sent)
        stored = await manager.replace_message(session_id, {**sent, "text": "second"})
        again = await manager.add_message(session_id, sent)
        assert (again.duplicate, again.message) == (True, stored)

    async def test_what_is_not_there_cannot_be_replaced(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 2)
        await manager.retract_message(session_id, "m2")
        for message_id in ("nobody's", "m2"):
            with pytest.raises(MessageNotFound) as refused:
                await manager.replace_message(session_id, {"id": message_id, "from": "user", "text": "x"})
            assert (refused.value.session_id, refused.value.message_id) == (session_id, message_id)
        with pytest.raises(InvalidInput, match=r"message\.id"):
            await manager.replace_message(session_id, {"from": "user", "text": "x"})

    async def test_a_cleared_history_forgets_its_ids_and_goes_on_counting(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 5)
        await manager.pop_messages(session_id, 2)
        assert await manager.clear_history(session_id) == 3
        assert await positions(manager, session_id) == []
        assert (await read(manager, session_id)).message_count == 5
        again = await manager.add_message(session_id, {"id": "m1", "from": "user", "text": "other"})
        assert (again.duplicate, again.seq) == (False, 6)
        assert await manager.clear_history(session_id) == 1
        assert await manager.clear_history(session_id) == 0

    async def test_a_replaced_history_is_all_there_is(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 5)
        new = [{"id": f"m{i}", "from": "user", "text": f"new {i}"} for i in range(3)]
        stored = await manager.replace_history(session_id, new)
        assert [(m.id, m.text, m.seq) for m in stored] == [("m0", "new 0", 6), ("m1", "new 1", 7), ("m2", "new 2", 8)]
        assert await manager.get_history(session_id) == stored == await positions(manager, session_id)
        assert (await manager.add_message(session_id, new[1])).duplicate
        assert await manager.replace_history(session_id, []) == []
        assert await manager.get_history(session_id) == []
        assert await append(manager, session_id) == 9

    async def test_of_a_history_longer_than_the_bound_the_last_are_stored(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u", max_history=3)).session_id
        before = await append(manager, session_id)
        new = [{"id": f"n{i}", "from": "user", "text": str(i)} for i in range(5)]
        stored = await manager.replace_history(session_id, new)
        assert [message.id for message in stored] == ["n2", "n3", "n4"]
        assert await manager.get_history(session_id) == stored
        assert (stored[0].seq or 0) > before
        assert (await read(manager, session_id)).message_count == stored[-1].seq

    async def test_a_replacement_of_a_history_that_was_changed_since_is_refused(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = await fill(manager, 3)
        await manager.retract_message(session_id, "m1")
        await append(manager, session_id)
        before = await backend.digest(manager)
        for revision in (0, 2):
            with pytest.raises(SequenceConflict) as refused:
                await manager.replace_history(session_id, [{"from": "user", "text": "x"}], expect_revision=revision)
            assert (refused.value.current_seq, refused.value.current_revision) == (4, 1)
        assert await backend.digest(manager) == before
        await manager.replace_history(session_id, [{"from": "user", "text": "x"}], expect_revision=1)

    async def test_a_change_computed_before_a_takeover_is_refused(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = await fill(manager, 3)
        await manager.switch_agent(session_id, "human")
        before = await backend.digest(manager)
        for change in changes_of(manager, session_id, epoch=0):
            with pytest.raises(AgentConflict) as refused:
                await change()
            assert (refused.value.current_epoch, refused.value.current_agent) == (1, "human")
        assert await backend.digest(manager) == before
        for change in changes_of(manager, session_id, epoch=1):
            await change()

    async def test_where_there_is_nothing_to_change_no_epoch_is_compared(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = await fill(manager, 1)
        await manager.retract_message(session_id, "m1")
        await manager.switch_agent(session_id, "human")
        before = await backend.digest(manager)
        assert (await manager.retract_message(session_id, "m1", epoch=0)).success
        assert not (await manager.retract_message(session_id, "nobody's", epoch=0)).success
        assert await manager.pop_messages(session_id, epoch=0) == []
        with pytest.raises(MessageNotFound):
            await manager.replace_message(session_id, {"id": "m1", "from": "user", "text": "x"}, epoch=0)
        assert await backend.digest(manager) == before

    async def test_a_change_of_a_missing_session_raises(self, manager: SessionManager) -> None:
        for change in changes_of(manager, "missing", epoch=None):
            with pytest.raises(SessionNotFound) as refused:
                await change()
            assert refused.value.session_id == "missing"

    async def test_a_change_is_an_activity_and_slides_the_deadline(self, manager: SessionManager) -> None:
        for number in range(5):
            session_id = await fill(manager, 3)
            await manager.set_session_ttl(session_id, 900)
            before = await read(manager, session_id)
            await changes_of(manager, session_id, epoch=None)[number]()
            assert (await read(manager, session_id)).last_active_at >= before.last_active_at
            assert 899 <= await manager.get_session_ttl(session_id) <= 900

    @pytest.mark.parametrize("kind", ["retracted", "unreadable"])
    async def test_a_type_that_only_the_store_gives_is_refused_from_callers(
        self, manager: SessionManager, backend: Backend, kind: str
    ) -> None:
        session_id = await fill(manager, 1)
        message = {"id": "m1", "from": "user", "text": "x", "type": kind}
        before = await backend.digest(manager)
        for call in (
            lambda: manager.add_message(session_id, message),
            lambda: manager.add_messages(session_id, [message]),
            lambda: manager.replace_message(session_id, message),
            lambda: manager.replace_history(session_id, [message]),
            lambda: manager.switch_agent(session_id, "human", note=message),
            lambda: manager.create_session("u", messages=[message]),
        ):
            with pytest.raises(InvalidInput, match="type"):
                await call()
        assert await backend.digest(manager) == before


def changes_of(manager: SessionManager, session_id: str, *, epoch: int | None) -> list[Callable[[], Awaitable[object]]]:
    """Every change, to be made one after the other."""
    message = {"id": "m1", "from": "user", "text": "new"}
    return [
        lambda: manager.replace_message(session_id, message, epoch=epoch),
        lambda: manager.retract_message(session_id, "m2", epoch=epoch),
        lambda: manager.pop_messages(session_id, epoch=epoch),
        lambda: manager.replace_history(session_id, [message], epoch=epoch),
        lambda: manager.clear_history(session_id, epoch=epoch),
    ]


async def fill(manager: SessionManager, count: int) -> str:
    """The id of a new session with the messages m1, m2, …"""
    session_id = (await manager.create_session("u")).session_id
    await manager.add_messages(
        session_id, [{"id": f"m{i}", "from": "user", "text": str(i)} for i in range(1, count + 1)]
    )
    return session_id


async def append(manager: SessionManager, session_id: str) -> int:
    return (await manager.add_message(session_id, {"from": "user", "text": "x"})).seq


async def read(manager: SessionManager, session_id: str) -> Session:
    session = await manager.get_session(session_id)
    assert session is not None
    return session


async def seqs(manager: SessionManager, session_id: str) -> list[int | None]:
    return [message.seq for message in await manager.get_history(session_id, 1000)]


async def positions(manager: SessionManager, session_id: str) -> list[Message]:
    """All that the store keeps of a history, tombstones too."""
    return await manager._sessions.get_history(session_id, 10_000, None, None)  # noqa: SLF001 - the manager hides them
