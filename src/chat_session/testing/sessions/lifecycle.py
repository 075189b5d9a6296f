"""The contract of sessions: create, read, update, delete."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from chat_session.clock import now
from chat_session.errors import InvalidInput, SessionExists, SessionNotFound
from chat_session.manager import SessionManager
from chat_session.session import Session

VALUES: dict[str, Any] = {
    "text": "客服会话 😀",
    "empty": "",
    "digits": "123",
    "word": "null",
    "quoted": '"x"',
    "spaced": " 12 ",
    "brackets": "[1, 2",
    "deep text": "[" * 5000,
    "number": 123,
    "fraction": 1.0,
    "huge": 1e300,
    "safe": -(2**53 - 1),
    "true": True,
    "nothing": None,
    "list": [1, "1", [], {}, {"a": [None, False]}],
    "mapping": {"": "empty name", "ü": {"b": 1}},
    "__proto__": {"polluted": True},
    "constructor": "inert",
    "separator": "line\u2028par\u2029 \x00\r\n\u202e",
}

AWKWARD_USERS = (
    "user:1",
    "user",
    "{x}",
    "x",
    "user:1:sessions",
    "a b",
    " lead",
    "😀👩‍👩‍👧",
    "مستخدم",
    "Ame\u0301lie",
    "Am\u00e9lie",
    "*",
    "?[a]",
    "%s",
    "u" * 256,
    "漢" * 256,
)


class LifecycleContract:
    """Create, read, update, delete."""

    async def test_a_new_session_is_as_it_was_asked_for(self, manager: SessionManager) -> None:
        before = now()
        session = await manager.create_session("user123", {"name": "客服会话", "type": "support"})
        assert session.user_id == "user123"
        assert session.metadata == {"name": "客服会话", "type": "support"}
        assert session.current_agent == "ai"
        assert (session.agent_epoch, session.message_count, session.agent_switched_at) == (0, 0, None)
        assert session.ttl == 86_400
        assert before <= session.created_at == session.last_active_at <= now()
        assert await manager.get_session(session.session_id) == session
        assert await manager.is_session_active(session.session_id)

    async def test_the_first_agent_id_and_ttl_can_be_chosen(self, manager: SessionManager) -> None:
        session = await manager.create_session("u", session_id="A-z_0.9~", ttl=60, agent="human")
        assert (session.session_id, session.ttl, session.current_agent) == ("A-z_0.9~", 60, "human")
        assert await manager.get_session_agent("A-z_0.9~") == "human"

    async def test_a_taken_id_is_refused_and_the_session_stays_as_it_was(self, manager: SessionManager) -> None:
        first = await manager.create_session("u1", {"a": 1}, session_id="taken")
        for user in ("u1", "u2"):
            with pytest.raises(SessionExists) as refused:
                await manager.create_session(user, {"a": 2}, session_id="taken", agent="human")
            assert refused.value.session_id == "taken"
        assert await manager.get_session("taken") == first
        assert await manager.get_user_sessions("u2") == []
        assert await manager.get_active_sessions_count() == 1

    async def test_of_many_who_create_one_id_at_once_one_succeeds(self, manager: SessionManager) -> None:
        tries = [manager.create_session(f"u{i}", session_id="race") for i in range(20)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        winners = [result for result in results if isinstance(result, Session)]
        assert len(winners) == 1
        assert sum(isinstance(result, SessionExists) for result in results) == 19
        assert await manager.get_session("race") == winners[0]
        assert await manager.get_active_sessions_count() == 1

    async def test_metadata_comes_out_as_it_went_in_type_and_all(self, manager: SessionManager) -> None:
        session = await manager.create_session("u", VALUES)
        stored = await manager.get_session(session.session_id)
        assert stored is not None
        assert stored.metadata == VALUES
        for name, value in VALUES.items():
            assert type(stored.metadata[name]) is type(value), name

    async def test_the_callers_metadata_is_copied(self, manager: SessionManager) -> None:
        inner = [1]
        session = await manager.create_session("u", {"list": inner})
        inner.append(2)
        assert session.metadata == {"list": [1]}

    async def test_an_update_merges_and_none_removes(self, manager: SessionManager) -> None:
        session = await manager.create_session("u", {"keep": 1, "change": "a", "drop": True})
        updated = await manager.update_session(
            session.session_id, {"change": ["b"], "drop": None, "new": "x", "no": None}
        )
        assert updated.metadata == {"keep": 1, "change": ["b"], "new": "x"}
        assert await manager.get_session(session.session_id) == updated
        assert updated.last_active_at == session.last_active_at
        assert (await manager.update_session(session.session_id, {})).metadata == updated.metadata

    async def test_an_update_that_would_grow_over_the_limits_changes_nothing(self, manager: SessionManager) -> None:
        session = await manager.create_session("u", {f"n{i}": i for i in range(64)})
        with pytest.raises(InvalidInput):
            await manager.update_session(session.session_id, {"one more": 1})
        replaced = await manager.update_session(session.session_id, {"n0": None, "one more": 1})
        assert len(replaced.metadata) == 64
        big = await manager.create_session("u", {"a": "x" * 40_000})
        with pytest.raises(InvalidInput):
            await manager.update_session(big.session_id, {"b": "y" * 40_000})
        assert await manager.get_session(big.session_id) == big

    @pytest.mark.parametrize("letter", ["x", "漢", '"'])
    async def test_metadata_of_64_kib_is_accepted_and_a_byte_more_refused_by_its_size(
        self, manager: SessionManager, letter: str
    ) -> None:
        full = metadata_of(65_536, letter)
        over = {**full, "pad": full["pad"] + "x"}
        session = await manager.create_session("u", full)
        assert await manager.get_session(session.session_id) == session
        assert Session.from_dict(session.to_dict()) == session
        small = await manager.create_session("u", {"name": full["name"]})
        grown = await manager.update_session(small.session_id, {"list": full["list"], "pad": full["pad"]})
        assert grown.metadata == full
        ways: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: manager.create_session("u", over),
            lambda: manager.update_session(small.session_id, {"pad": over["pad"]}),
        )
        for way in ways:
            with pytest.raises(InvalidInput, match=r"at most 65,536 bytes.*got 65,537 bytes"):
                await way()
        with pytest.raises(InvalidInput, match="got 65,537 bytes"):
            Session.from_dict({**session.to_dict(), **over})
        assert await manager.get_session(small.session_id) == grown

    async def test_metadata_that_is_much_too_large_is_refused_by_its_size(self, manager: SessionManager) -> None:
        with pytest.raises(InvalidInput, match="got 200,000 bytes"):
            await manager.create_session("u", metadata_of(200_000, "x"))
        with pytest.raises(InvalidInput, match=r"got at least [0-9,]+ bytes"):
            await manager.create_session("u", metadata_of(2_000_000, "x"))

    async def test_a_deleted_session_is_gone_with_all_it_had(self, manager: SessionManager) -> None:
        session = await manager.create_session("u")
        await manager.add_message(session.session_id, {"from": "user", "text": "hello"})
        deleted = await manager.delete_session(session.session_id)
        assert deleted.success
        assert deleted.deleted_keys >= 2
        assert await manager.get_session(session.session_id) is None
        assert await manager.get_history(session.session_id) == []
        assert await manager.get_user_sessions("u") == []
        assert await manager.get_active_sessions_count() == 0
        again = await manager.delete_session(session.session_id)
        assert (again.success, again.deleted_keys) == (False, 0)
        assert (await manager.cleanup_expired_sessions()).cleaned_count == 0

    async def test_an_id_used_again_starts_empty(self, manager: SessionManager) -> None:
        await manager.create_session("u1", {"old": 1}, session_id="again")
        await manager.add_message("again", {"id": "m", "from": "user", "text": "old"})
        await manager.switch_agent("again", "human")
        await manager.delete_session("again")
        session = await manager.create_session("u2", session_id="again")
        assert await manager.get_session("again") == session
        assert await manager.get_history("again") == []
        stored = await manager.add_message("again", {"id": "m", "from": "user", "text": "new"})
        assert (stored.seq, stored.duplicate) == (1, False)
        assert await manager.get_user_sessions("u1") == []

    async def test_reads_of_a_missing_session_answer_and_writes_raise(self, manager: SessionManager) -> None:
        assert await manager.get_session("missing") is None
        assert await manager.get_session_agent("missing") is None
        assert await manager.is_session_active("missing") is False
        assert await manager.get_history("missing") == []
        assert await manager.get_session_ttl("missing") == -2
        assert not (await manager.delete_session("missing")).success
        writes = (
            lambda: manager.update_session("missing", {"a": 1}),
            lambda: manager.extend_session("missing"),
            lambda: manager.add_message("missing", {"from": "user", "text": "x"}),
            lambda: manager.add_messages("missing", [{"from": "user", "text": "x"}]),
            lambda: manager.switch_agent("missing", "human", note="x"),
            lambda: manager.set_session_ttl("missing", 60),
        )
        for write in writes:
            with pytest.raises(SessionNotFound) as refused:
                await write()
            assert refused.value.session_id == "missing"

    async def test_awkward_user_ids_neither_collide_nor_break_an_index(self, manager: SessionManager) -> None:
        created = {user: await manager.create_session(user) for user in AWKWARD_USERS}
        for user, session in created.items():
            assert await manager.get_user_sessions(user) == [session]
            stored = await manager.get_session(session.session_id)
            assert stored is not None
            assert stored.user_id == user
        assert await manager.get_active_sessions_count() == len(AWKWARD_USERS)
        for user, session in created.items():
            await manager.delete_session(session.session_id)
            assert await manager.get_user_sessions(user) == []


def metadata_of(size: int, letter: str) -> dict[str, Any]:
    """Metadata that takes ``size`` bytes in the store, where names and texts are as they are and all else is JSON."""
    metadata: dict[str, Any] = {"name": letter * 10_000, "list": [letter, 1.5, None], "pad": ""}
    listed = len(msgspec.json.encode(metadata["list"]))
    metadata["pad"] = "x" * (size - len("namelistpad") - len(metadata["name"].encode()) - listed)
    return metadata
