"""The contract of how sessions come to be, change hands and go: get or create, fork, assign, delete, erase."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chat_session.errors import InvalidInput, SequenceConflict, SessionExists, SessionNotFound
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.session import LARGEST_HISTORY
from chat_session.testing.backend import Backend
from chat_session.testing.sessions.edits import append, fill, positions, read, seqs
from chat_session.testing.waiting import until_dead


class CreationContract:
    """Get or create, first messages, bounds, forks, assignments, erasure."""

    async def test_a_session_is_created_once_and_then_found(self, manager: SessionManager) -> None:
        session, created = await manager.get_or_create_session("s", "u", {"a": 1}, ttl=600, agent="human")
        assert created
        assert (session.user_id, session.metadata, session.ttl, session.current_agent) == ("u", {"a": 1}, 600, "human")
        await append(manager, "s")
        found, created = await manager.get_or_create_session("s", "u", {"a": 2}, ttl=None, max_history=5)
        assert not created
        assert found == await manager.get_session("s")
        assert (found.metadata, found.ttl, found.max_history, found.message_count) == ({"a": 1}, 600, None, 1)
        assert await manager.get_user_sessions("u") == [found]
        assert await manager.get_active_sessions_count() == 1

    async def test_a_session_of_another_user_is_not_given(self, manager: SessionManager, backend: Backend) -> None:
        await manager.create_session("u", session_id="s")
        before = await backend.digest(manager)
        with pytest.raises(SessionExists) as refused:
            await manager.get_or_create_session("s", "other")
        assert refused.value.session_id == "s"
        assert await manager.get_user_sessions("other") == []
        assert await backend.digest(manager) == before

    async def test_of_many_who_get_or_create_one_id_one_creates_it(self, manager: SessionManager) -> None:
        results = await asyncio.gather(*(manager.get_or_create_session("s", "u", {"by": i}) for i in range(30)))
        assert [created for _, created in results].count(True) == 1
        assert len({session.metadata["by"] for session, _ in results}) == 1
        assert await manager.get_active_sessions_count() == 1
        assert len(await manager.get_user_sessions("u")) == 1

    async def test_a_dead_session_is_created_anew(self, manager: SessionManager) -> None:
        await manager.create_session("u", {"old": 1}, session_id="s", ttl=1)
        await append(manager, "s")
        await until_dead(manager, "s")
        session, created = await manager.get_or_create_session("s", "other")
        assert (created, session.metadata, session.message_count) == (True, {}, 0)
        assert await manager.get_history("s") == []

    async def test_a_session_begins_with_its_first_messages(self, manager: SessionManager) -> None:
        first = [{"id": "a", "from": "user", "text": "1"}, {"id": "b", "from": "assistant", "text": "2"}]
        session = await manager.create_session("u", session_id="s", messages=[*first, first[0]])
        assert session.message_count == 2
        assert await manager.get_session("s") == session
        assert [(m.id, m.seq) for m in await manager.get_history("s")] == [("a", 1), ("b", 2)]
        assert (await manager.add_message("s", first[1])).duplicate
        assert await append(manager, "s") == 3
        with pytest.raises(SessionExists):
            await manager.create_session("u", session_id="s", messages=[{"from": "user", "text": "never stored"}])
        assert await seqs(manager, "s") == [1, 2, 3]

    async def test_of_more_first_messages_than_a_session_keeps_the_last_are_stored(
        self, manager: SessionManager
    ) -> None:
        first = [{"id": f"m{i}", "from": "user", "text": "x"} for i in range(1, 8)]
        session = await manager.create_session("u", max_history=3, messages=first)
        assert session.message_count == 7
        assert [(m.id, m.seq) for m in await manager.get_history(session.session_id)] == [
            ("m5", 5),
            ("m6", 6),
            ("m7", 7),
        ]

    @pytest.mark.parametrize("messages", [None, "x", {"from": "user", "text": "x"}, [{"from": "user"}], 7], ids=str)
    async def test_what_are_no_messages_creates_no_session(self, manager: SessionManager, messages: Any) -> None:
        with pytest.raises(InvalidInput, match="messages"):
            await manager.create_session("u", session_id="s", messages=messages)
        assert await manager.get_session("s") is None

    async def test_a_session_can_have_a_bound_of_its_own(self, open_manager: Callable[..., SessionManager]) -> None:
        manager = open_manager(max_message_history=5)
        for bound in (1, 3, 9):
            session, _ = await manager.get_or_create_session(f"s{bound}", "u", max_history=bound)
            assert session.max_history == bound
            for _ in range(12):
                await append(manager, session.session_id)
            await manager.switch_agent(session.session_id, "human", note="a note")
            assert await seqs(manager, session.session_id) == list(range(14 - bound, 14))
            assert (await read(manager, session.session_id)).max_history == bound
        default = await fill(manager, 12)
        assert await seqs(manager, default) == list(range(8, 13))

    @pytest.mark.parametrize("bound", [0, -1, LARGEST_HISTORY + 1, 1.5, "3", True])
    async def test_a_bound_that_no_session_can_have_is_refused(self, manager: SessionManager, bound: Any) -> None:
        with pytest.raises(InvalidInput, match="max_history"):
            await manager.create_session("u", max_history=bound)

    async def test_a_restored_session_keeps_its_bound_and_its_tombstones(
        self, open_manager: Callable[..., SessionManager]
    ) -> None:
        manager = open_manager(max_message_history=4)
        session = await manager.create_session("u", session_id="s", max_history=8)
        await manager.add_messages("s", [{"id": f"m{i}", "from": "user", "text": "x"} for i in range(1, 11)])
        await manager.retract_message("s", "m6")
        await manager.add_message("s", {"from": "user", "text": "x"}, epoch=0)
        session, stored = await read(manager, "s"), await positions(manager, "s")
        await manager.delete_session("s")
        assert await Inspector(manager).restore_session(session, stored) == session
        assert await positions(manager, "s") == stored
        assert (session.revision, session.max_history) == (1, 8)
        assert await seqs(manager, "s") == [4, 5, 7, 8, 9, 10, 11]
        assert await append(manager, "s") == 12

    async def test_a_fork_has_the_same_messages_and_a_life_of_its_own(self, manager: SessionManager) -> None:
        source = await manager.create_session("u", {"a": [1]}, session_id="s", ttl=600, max_history=50)
        await manager.add_messages("s", [{"id": f"m{i}", "from": "user", "text": str(i)} for i in range(1, 6)])
        await manager.switch_agent("s", "human")
        await manager.retract_message("s", "m2")
        fork = await manager.fork_session("s", new_id="f")
        assert (fork.session_id, fork.user_id, fork.metadata, fork.ttl) == ("f", "u", {"a": [1]}, 600)
        assert (fork.max_history, fork.current_agent, fork.agent_epoch, fork.revision) == (50, "human", 0, 0)
        assert fork.created_at >= source.created_at
        assert await manager.get_session("f") == fork
        assert await positions(manager, "f") == await positions(manager, "s")
        assert await seqs(manager, "f") == [1, 3, 4, 5]
        assert (await manager.add_message("f", {"id": "m3", "from": "user", "text": "3"})).duplicate
        assert await append(manager, "f") == 6
        assert await seqs(manager, "s") == [1, 3, 4, 5]
        assert {each.session_id for each in await manager.get_user_sessions("u")} == {"s", "f"}

    @pytest.mark.parametrize(("up_to", "kept"), [(0, []), (4, []), (6, [5, 6]), (7, [5, 6]), (9, [5, 6, 8, 9])])
    async def test_a_fork_up_to_a_message_goes_on_behind_it(
        self, manager: SessionManager, up_to: int, kept: list[int]
    ) -> None:
        await manager.create_session("u", session_id="s", max_history=5)
        await manager.add_messages("s", [{"id": f"m{i}", "from": "user", "text": "x"} for i in range(1, 10)])
        await manager.retract_message("s", "m7")
        fork = await manager.fork_session("s", up_to=up_to)
        assert fork.message_count == up_to
        assert await seqs(manager, fork.session_id) == kept
        assert await append(manager, fork.session_id) == up_to + 1

    async def test_a_fork_up_to_what_was_never_said_is_of_all(self, manager: SessionManager) -> None:
        session_id = await fill(manager, 3)
        fork = await manager.fork_session(session_id, up_to=99, user_id="other")
        assert (fork.message_count, fork.user_id) == (3, "other")
        await manager.clear_history(session_id)
        empty = await manager.fork_session(session_id)
        assert (empty.message_count, await seqs(manager, empty.session_id)) == (3, [])
        assert await append(manager, empty.session_id) == 4

    async def test_a_fork_of_nothing_or_under_a_taken_id_is_refused(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = await fill(manager, 1)
        before = await backend.digest(manager)
        with pytest.raises(SessionNotFound):
            await manager.fork_session("missing")
        with pytest.raises(SessionExists):
            await manager.fork_session(session_id, new_id=session_id)
        assert await backend.digest(manager) == before

    async def test_an_assigned_session_changes_lists_and_is_counted_once(self, manager: SessionManager) -> None:
        session = await manager.create_session("visitor", {"a": 1}, ttl=600)
        await append(manager, session.session_id)
        before, left = await read(manager, session.session_id), await manager.get_session_ttl(session.session_id)
        assigned = await manager.assign_session(session.session_id, "user:1")
        assert assigned == await manager.get_session(session.session_id)
        assert (assigned.user_id, assigned.last_active_at) == ("user:1", before.last_active_at)
        assert left - 1 <= await manager.get_session_ttl(session.session_id) <= left
        assert await manager.get_user_sessions("visitor") == []
        assert await manager.get_user_sessions("user:1") == [assigned]
        assert await manager.get_active_sessions_count() == 1
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 0
        assert await manager.assign_session(session.session_id, "user:1") == assigned
        await manager.delete_session(session.session_id)
        assert await manager.get_user_sessions("user:1") == []
        assert await manager.get_active_sessions_count() == 0
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 0
        with pytest.raises(SessionNotFound):
            await manager.assign_session(session.session_id, "user:1")

    async def test_while_sessions_change_hands_every_count_is_right(self, manager: SessionManager) -> None:
        for i in range(10):
            await manager.create_session("visitor", session_id=f"s{i}", ttl=600)

        async def assign(number: int) -> None:
            for user in ("a", "b", "visitor", "c"):
                await manager.assign_session(f"s{number}", user)

        async def count() -> list[int]:
            return [await manager.get_active_sessions_count() for _ in range(15)]

        counting, sweeping = asyncio.create_task(count()), asyncio.create_task(manager.cleanup_expired_sessions())
        await asyncio.gather(*(assign(i) for i in range(10)))
        assert await counting == [10] * 15
        assert (await sweeping).cleaned_count == 0
        assert {session.session_id for session in await manager.get_user_sessions("c")} == {f"s{i}" for i in range(10)}
        for user in ("a", "b", "visitor"):
            assert await manager.get_user_sessions(user) == []

    async def test_a_session_whose_history_was_changed_since_is_not_deleted(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = await fill(manager, 3)
        await manager.retract_message(session_id, "m1")
        before = await backend.digest(manager)
        for revision in (0, 2):
            with pytest.raises(SequenceConflict) as refused:
                await manager.delete_session(session_id, expect_revision=revision)
            assert refused.value.current_revision == 1
        assert await backend.digest(manager) == before
        assert (await manager.delete_session(session_id, expect_revision=1)).success
        again = await manager.delete_session(session_id, expect_revision=1)
        assert (again.success, again.deleted_keys) == (False, 0)

    async def test_an_erased_user_leaves_nothing(self, manager: SessionManager) -> None:
        for i in range(7):
            await manager.create_session("u", {"name": "Ada"}, session_id=f"s{i}", ttl=None if i % 2 else 600)
            await append(manager, f"s{i}")
        other = await manager.create_session("user:u")
        erased = await manager.erase_user("u")
        assert (erased.success, erased.user_id, erased.sessions) == (True, "u", 7)
        assert erased.to_dict() == {"success": True, "userId": "u", "sessions": 7, "stateEntries": 0}
        assert await manager.get_user_sessions("u") == []
        assert [await manager.get_session(f"s{i}") for i in range(7)] == [None] * 7
        assert await manager.get_user_sessions("user:u") == [other]
        assert await manager.get_active_sessions_count() == 1
        again = await manager.erase_user("u")
        assert (again.success, again.sessions) == (False, 0)

    async def test_an_erasure_takes_what_dead_sessions_left(self, manager: SessionManager) -> None:
        await manager.create_session("u", session_id="s", ttl=1)
        await append(manager, "s")
        await until_dead(manager, "s")
        await manager.erase_user("u")
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 0
