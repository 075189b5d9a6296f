"""The contract of agents: who answers a session, and the epoch that refuses a reply that comes too late."""

import asyncio

import pytest

from chat_session.errors import AgentConflict, ChatSessionError, MessageConflict
from chat_session.manager import SessionManager
from chat_session.results import SwitchResult
from chat_session.session import Agent
from chat_session.testing.backend import Backend


class AgentContract:
    """Switching the agent, and refusing late replies."""

    async def test_a_switch_makes_the_agent_current_and_begins_an_epoch(self, manager: SessionManager) -> None:
        session = await manager.create_session("u")
        switched = await manager.switch_agent(session.session_id, "human")
        assert (switched.success, switched.new_agent, switched.epoch) == (True, "human", 1)
        seen = await manager.get_session(session.session_id)
        assert seen is not None
        assert (seen.current_agent, seen.agent_epoch) == ("human", 1)
        assert seen.agent_switched_at is not None
        assert seen.agent_switched_at >= session.created_at
        assert await manager.get_session_agent(session.session_id) == "human"
        assert (await manager.switch_agent(session.session_id, "human")).epoch == 2
        assert (await manager.switch_agent(session.session_id, "ai")).epoch == 3

    async def test_a_reply_computed_before_the_takeover_is_refused(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session = await manager.create_session("u")
        epoch = session.agent_epoch
        await manager.add_message(session.session_id, {"from": "assistant", "text": "in time"}, epoch=epoch)
        await manager.switch_agent(session.session_id, "human")
        before = await backend.digest(manager)
        with pytest.raises(AgentConflict) as refused:
            await manager.add_message(session.session_id, {"from": "assistant", "text": "late"}, epoch=epoch)
        assert refused.value.current_epoch == 1
        assert refused.value.current_agent == "human"
        assert refused.value.expected == 0
        with pytest.raises(AgentConflict):
            await manager.add_message(session.session_id, {"from": "assistant", "text": "early"}, epoch=7)
        assert await backend.digest(manager) == before
        await manager.add_message(session.session_id, {"from": "operator", "text": "hello"}, epoch=1)

    async def test_a_reply_that_was_stored_answers_the_same_after_the_takeover(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        reply = {"id": "r1", "from": "assistant", "text": "in time"}
        first = await manager.add_message(session_id, reply, epoch=0)
        await manager.switch_agent(session_id, "human")
        again = await manager.add_message(session_id, reply, epoch=0)
        assert again.duplicate
        assert again.message == first.message

    async def test_what_the_caller_expects_is_the_epoch_or_the_agent(
        self, manager: SessionManager, backend: Backend
    ) -> None:
        session_id = (await manager.create_session("u")).session_id
        assert (await manager.switch_agent(session_id, "human", expect=0)).epoch == 1
        before = await backend.digest(manager)
        stale: tuple[int | Agent, ...] = (0, 2, "ai")
        for expect in stale:
            with pytest.raises(AgentConflict) as refused:
                await manager.switch_agent(session_id, "human", expect=expect)
            assert refused.value.expected == expect
        assert await backend.digest(manager) == before
        assert (await manager.switch_agent(session_id, "ai", expect="human")).epoch == 2

    async def test_of_many_claims_on_one_epoch_one_wins(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id
        for epoch in range(5):
            agents: list[Agent] = ["ai", "human"] * 10
            claims = [manager.switch_agent(session_id, agent, expect=epoch) for agent in agents]
            results = await asyncio.gather(*claims, return_exceptions=True)
            winners = [result for result in results if isinstance(result, SwitchResult)]
            assert [winner.epoch for winner in winners] == [epoch + 1]
            assert sum(isinstance(result, AgentConflict) for result in results) == 19
            assert await manager.get_session_agent(session_id) == winners[0].new_agent

    async def test_a_note_is_stored_in_the_same_step(self, manager: SessionManager, backend: Backend) -> None:
        session_id = (await manager.create_session("u")).session_id
        await manager.add_message(session_id, {"id": "taken", "from": "user", "text": "help"})
        await manager.switch_agent(session_id, "human", note="an operator takes over")
        await manager.switch_agent(session_id, "ai", note={"from": "operator", "text": "back to you", "type": "note"})
        notes = (await manager.get_history(session_id))[1:]
        assert [(n.sender, n.text, n.type, n.seq) for n in notes] == [
            ("system", "an operator takes over", None, 2),
            ("operator", "back to you", "note", 3),
        ]
        before = await backend.digest(manager)
        refusals: tuple[tuple[int, dict[str, str], type[ChatSessionError]], ...] = (
            (2, {"id": "taken", "from": "user", "text": "other"}, MessageConflict),
            (0, {"from": "system", "text": "late"}, AgentConflict),
        )
        for expect, note, error in refusals:
            with pytest.raises(error):
                await manager.switch_agent(session_id, "human", expect=expect, note=note)
        assert await backend.digest(manager) == before

    async def test_late_replies_never_land_while_claims_race(self, manager: SessionManager) -> None:
        session_id = (await manager.create_session("u")).session_id

        async def reply(epoch: int, number: int) -> None:
            try:
                message = {"from": "assistant", "text": "x", "epoch": epoch, "number": number}
                await manager.add_message(session_id, message, epoch=epoch)
            except AgentConflict:
                pass

        for epoch in range(8):
            replies = [reply(epoch, number) for number in range(6)]
            note = {"from": "system", "text": "switch", "epoch": epoch + 1}
            await asyncio.gather(*replies[:3], manager.switch_agent(session_id, "human", note=note), *replies[3:])
        current = 0
        for message in await manager.get_history(session_id, 100):
            if message.sender == "system":
                current = message.extra["epoch"]
            else:
                assert message.extra["epoch"] == current
