"""The contract of the state capability: small mappings that belong to a user or an application."""

import asyncio
from collections.abc import Callable

import pytest

from chat_session.errors import AgentConflict, InvalidInput, SequenceConflict
from chat_session.manager import SessionManager
from chat_session.testing.backend import Backend
from chat_session.testing.sessions.lifecycle import AWKWARD_USERS, VALUES, metadata_of

MESSAGE = {"from": "user", "text": "x"}


class StateContract:
    """Read, merge, erase."""

    async def test_a_state_begins_empty_and_is_merged(self, manager: SessionManager) -> None:
        assert await manager.get_state("user:u") == {}
        assert await manager.update_state("user:u", {"a": 1, "b": "x"}) == {"a": 1, "b": "x"}
        assert await manager.update_state("user:u", {"a": None, "c": [1], "no": None}) == {"b": "x", "c": [1]}
        assert await manager.update_state("user:u", {}) == {"b": "x", "c": [1]}
        assert await manager.get_state("user:u") == {"b": "x", "c": [1]}
        assert await manager.update_state("user:u", {"b": None, "c": None}) == {}
        assert await manager.get_state("user:u") == {}

    async def test_a_state_comes_out_as_it_went_in_type_and_all(self, manager: SessionManager) -> None:
        values = {name: value for name, value in VALUES.items() if value is not None}
        assert await manager.update_state("app:shop", values) == values
        stored = await manager.get_state("app:shop")
        assert stored == values
        assert all(type(stored[name]) is type(value) for name, value in values.items())

    async def test_every_scope_has_a_state_of_its_own(self, manager: SessionManager) -> None:
        scopes = [f"{kind}:{name}" for kind in ("user", "app") for name in AWKWARD_USERS]
        for scope in scopes:
            await manager.update_state(scope, {"me": scope})
        for scope in scopes:
            assert await manager.get_state(scope) == {"me": scope}
        await manager.erase_user("user:1")
        left = [scope for scope in scopes if await manager.get_state(scope)]
        assert left == [scope for scope in scopes if scope != "user:user:1"]

    @pytest.mark.parametrize(
        "scope", ["", "u", "user", "user:", "users:u", ":u", "user:\n", "app:" + "x" * 257, None, 1]
    )
    async def test_what_is_no_scope_is_refused(self, manager: SessionManager, scope: str) -> None:
        session_id = (await manager.create_session("u")).session_id
        calls: tuple[Callable[[], object], ...] = (
            lambda: manager.get_state(scope),
            lambda: manager.update_state(scope, {"a": 1}),
            lambda: manager.add_messages(session_id, [MESSAGE], state={scope: {"a": 1}}),
        )
        for call in calls:
            with pytest.raises(InvalidInput, match="scope"):
                await call()  # type: ignore[misc]  # they are coroutines

    async def test_a_state_has_the_limits_of_metadata(self, manager: SessionManager, backend: Backend) -> None:
        await manager.update_state("user:u", {f"n{i}": i for i in range(64)})
        await manager.update_state("user:big", metadata_of(65_536, "漢"))
        session_id = (await manager.create_session("u")).session_id
        before = await backend.digest(manager)
        for scope, changes in (("user:u", {"one more": 1}), ("user:big", {"x": "x"}), ("user:new", {"cs:x": 1})):
            with pytest.raises(InvalidInput):
                await manager.update_state(scope, changes)
            with pytest.raises(InvalidInput):
                await manager.add_messages(session_id, [MESSAGE], state={scope: changes})
        assert await backend.digest(manager) == before
        assert len(await manager.update_state("user:u", {"n0": None, "one more": 1})) == 64

    async def test_updates_at_once_lose_nothing(self, manager: SessionManager) -> None:
        await asyncio.gather(*(manager.update_state("app:a", {f"n{i}": i}) for i in range(40)))
        assert await manager.get_state("app:a") == {f"n{i}": i for i in range(40)}

    async def test_a_state_is_updated_with_an_append(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.update_state("user:u", {"old": 1, "keep": 2})
        states: dict[str, dict[str, object]] = {"user:u": {"old": None, "new": 3}, "app:a": {"b": "c"}}
        await manager.add_messages(session_id, [{"id": "m", **MESSAGE}], state=states)
        assert await manager.get_state("user:u") == {"keep": 2, "new": 3}
        assert await manager.get_state("app:a") == {"b": "c"}
        assert await manager.add_messages(session_id, [], state={"app:a": {"b": None}}) == []
        assert await manager.get_state("app:a") == {}

    async def test_a_state_outlives_the_sessions_but_not_the_user(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.add_messages(session_id, [MESSAGE], state={"user:u": {"a": 1}, "app:a": {"a": 1}})
        await manager.delete_session(session_id)
        assert await manager.get_state("user:u") == {"a": 1}
        erased = await manager.erase_user("u")
        assert (erased.success, erased.sessions, erased.state_entries) == (True, 0, 1)
        assert await manager.get_state("user:u") == {}
        assert await manager.get_state("app:a") == {"a": 1}


class StateInOneStepContract:
    """For a store that keeps the states where it keeps the sessions. On a cluster the state is written first."""

    async def test_an_append_that_is_refused_changes_no_state(self, manager: SessionManager, backend: Backend) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.switch_agent(session_id, "human")
        before = await backend.digest(manager)
        with pytest.raises(AgentConflict):
            await manager.add_messages(session_id, [MESSAGE], epoch=0, state={"user:u": {"a": 1}})
        with pytest.raises(SequenceConflict):
            await manager.add_messages(session_id, [MESSAGE], expect_seq=5, state={"user:u": {"a": 1}})
        assert await backend.digest(manager) == before

    async def test_a_repeated_append_changes_no_state_again(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        message = {"id": "m", **MESSAGE}
        await manager.add_messages(session_id, [message], state={"user:u": {"a": 1}})
        await manager.update_state("user:u", {"a": 2})
        await manager.add_messages(session_id, [message], state={"user:u": {"a": 1}})
        assert await manager.get_state("user:u") == {"a": 2}
