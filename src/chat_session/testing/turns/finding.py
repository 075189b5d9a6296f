"""The contract of how a session comes to wait for a worker, by whatever call, and stops to."""

from collections.abc import Callable

import pytest

from chat_session.desk import Desk
from chat_session.manager import SessionManager
from chat_session.testing.turns.scene import LONG_LEASE, answer, ask, create, create_asking, leave_turn_of_dead_worker

QUESTION = {"from": "user", "text": "hello"}


class FindingContract:
    """How sessions come to wait for a worker, and stop to."""

    @pytest.mark.parametrize("setting", [True, False])
    async def test_the_setting_decides_for_sessions_that_do_not_say(
        self, open_manager: Callable[..., SessionManager], *, setting: bool
    ) -> None:
        manager = open_manager(turns=setting)
        for name, turns in (("left-out", None), ("with", True), ("without", False)):
            created = await manager.create_session("u", session_id=name, ttl=600, turns=turns)
            assert created.turns == (setting if turns is None else turns)
            await ask(manager, name, "hello")
        listed = await manager.pending_turns()
        assert listed == (["left-out", "with"] if setting else ["with"])

    async def test_a_session_says_whether_workers_find_it(self, manager: SessionManager) -> None:
        await create(manager, "with", turns=True)
        await create(manager, "without")
        found = [await manager.get_session(name) for name in ("with", "without")]
        assert [session.turns for session in found if session] == [True, False]
        assert (await manager.get_or_create_session("with", "u"))[0].turns
        created, is_new = await manager.get_or_create_session("other", "u", ttl=600, turns=True)
        assert (created.turns, is_new) == (True, True)
        await ask(manager, "other", "hello")
        assert await manager.pending_turns() == ["other"]

    async def test_messages_of_the_creation_are_found(self, manager: SessionManager) -> None:
        await manager.create_session("u", session_id="s", ttl=600, turns=True, messages=[QUESTION])
        assert await manager.pending_turns() == ["s"]
        assert await answer(manager, "s") == ["hello"]
        assert await manager.pending_turns() == []

    async def test_a_creation_without_a_question_is_not_found(self, manager: SessionManager) -> None:
        greeting = {"from": "assistant", "text": "how can I help?"}
        await manager.create_session("u", session_id="greeted", ttl=600, turns=True, messages=[greeting])
        await manager.create_session("u", session_id="answered", ttl=600, turns=True, messages=[QUESTION, greeting])
        await create(manager, "empty", turns=True)
        assert await manager.pending_turns() == []

    async def test_messages_with_conditions_are_found(self, manager: SessionManager) -> None:
        await create(manager, "s", turns=True)
        await manager.add_messages("s", [QUESTION], expect_seq=0, metadata={"a": 1})
        assert await manager.pending_turns() == ["s"]
        await answer(manager, "s")
        await manager.add_messages("s", [QUESTION], state={"user:u": {"a": 1}})
        assert await manager.pending_turns() == ["s"]

    async def test_several_messages_at_once_are_found(self, manager: SessionManager) -> None:
        await create(manager, "s", turns=True)
        await manager.add_messages("s", [QUESTION, {"from": "system", "text": "night"}, QUESTION])
        assert await manager.pending_turns() == ["s"]

    async def test_messages_of_others_are_no_work(self, manager: SessionManager) -> None:
        await create(manager, "s", turns=True)
        for sender in ("assistant", "system", "operator", "tool"):
            await manager.add_message("s", {"from": sender, "text": "hello"})
        assert await manager.pending_turns() == []

    async def test_a_repeated_message_is_no_work(self, manager: SessionManager) -> None:
        await create(manager, "s", turns=True)
        message = {"id": "m", **QUESTION}
        await manager.add_message("s", message)
        await answer(manager, "s")
        assert (await manager.add_message("s", message)).duplicate
        assert await manager.pending_turns() == []

    async def test_a_message_of_an_operator_ends_the_wait(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        await manager.add_message("s", {"from": "operator", "text": "here I am"})
        assert await manager.pending_turns() == []

    @pytest.mark.parametrize("looked", [True, False], ids=["looked at before", "not looked at before"])
    async def test_a_session_that_a_person_has_is_listed_again_after_the_hand_back(
        self, manager: SessionManager, *, looked: bool
    ) -> None:
        await create_asking(manager, "s", turns=True)
        await Desk(manager).take_over("s", "anna")
        if looked:
            assert await manager.pending_turns() == []
        await ask(manager, "s", "is a person there?")
        if looked:
            assert await manager.pending_turns() == []
        await Desk(manager).hand_back("s", "anna")
        assert await manager.pending_turns() == ["s"]
        assert await answer(manager, "s") == ["question in s", "is a person there?"]

    async def test_a_session_that_waits_with_the_ai_silenced_is_not_listed(self, manager: SessionManager) -> None:
        await create_asking(manager, "held", "goes-on", turns=True)
        await Desk(manager).request_human("held")
        await Desk(manager).request_human("goes-on", hold_ai=False)
        assert await manager.pending_turns() == ["goes-on"]

    @pytest.mark.parametrize("looked", [True, False], ids=["looked at before", "not looked at before"])
    async def test_a_session_is_listed_again_after_a_switch_to_the_ai(
        self, manager: SessionManager, *, looked: bool
    ) -> None:
        await create_asking(manager, "s", turns=True)
        await manager.switch_agent("s", "human")
        if looked:
            assert await manager.pending_turns() == []
        await manager.switch_agent("s", "ai")
        assert await manager.pending_turns() == ["s"]

    async def test_a_takeover_during_a_turn_is_listed_after_the_hand_back(self, manager: SessionManager) -> None:
        await create_asking(manager, "s", turns=True)
        await leave_turn_of_dead_worker(manager, "s", LONG_LEASE)
        assert await manager.pending_turns() == []
        await Desk(manager).take_over("s", "anna")
        assert await manager.pending_turns() == []
        await Desk(manager).hand_back("s", "anna")
        assert await manager.pending_turns() == ["s"]

    async def test_a_deleted_session_is_not_listed(self, manager: SessionManager) -> None:
        await create_asking(manager, "a", "b", turns=True)
        await manager.delete_session("a")
        for _ in range(3):
            assert await manager.pending_turns() == ["b"]
        await create(manager, "a", turns=True)
        assert await manager.pending_turns() == ["b"]
        await ask(manager, "a", "here again")
        assert sorted(await manager.pending_turns()) == ["a", "b"]
