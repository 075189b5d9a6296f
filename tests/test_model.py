"""The manager against a plain Python model: random operations, some by several tasks at once, same answers."""

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from chat_session import AgentConflict, Inspector, MessageConflict, SessionExists, SessionManager, SessionNotFound
from chat_session.testing import until
from testkit.present import present

HISTORY = 5
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "12"))  # runs of 30 steps on each backend
IDS = st.sampled_from(["s1", "s2", "s3", "s4"])
USERS = st.sampled_from(["u", "user:1", "{x}", "客服 😀"])
MESSAGE_IDS = st.sampled_from(["a", "b", 'c"\\', "d", "e", "f", "g", "h"])
TEXTS = st.sampled_from(["", "x", "你好 \x00"])
TTLS = st.sampled_from([None, 600, 5000])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=5), st.just("12"))
METADATA = st.dictionaries(st.sampled_from(["a", "b", "客", "__proto__"]), VALUES, max_size=3)


@dataclass
class Model:
    """What a session should be."""

    user: str
    ttl: int | None
    agent: str = "ai"
    epoch: int = 0
    count: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    history: list[tuple[int, str, str]] = field(default_factory=list)  # seq, id, text

    def append(self, *batch: tuple[str, str]) -> list[tuple[int, bool]]:
        """Append (id, text) pairs. Returns the seq of each, and whether it was stored before the call."""
        known = {message_id: seq for seq, message_id, _ in self.history}
        answers = []
        for message_id, text in batch:
            if message_id not in known:
                self.count += 1
                self.history.append((self.count, message_id, text))
            answers.append((known.get(message_id, self.count), message_id in known))
        self.history = self.history[-HISTORY:]
        return answers

    def conflicts(self, *batch: tuple[str, str]) -> bool:
        known = {message_id: text for _, message_id, text in self.history}
        return any(known.get(message_id, text) != text for message_id, text in batch)

    def knows(self, message_id: str) -> bool:
        return any(known == message_id for _, known, _ in self.history)


class Machine(RuleBasedStateMachine):
    """``backend`` and ``loop`` are set by the test."""

    backend: Any
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.backend.clear()
        self.manager: SessionManager = self.backend.open(max_message_history=HISTORY)
        self.sessions: dict[str, Model] = {}
        self.run(self.manager.cleanup_expired_sessions())
        for session in self.run(self._all()):
            self.run(self.manager.delete_session(session))
        self.dead: set[str] = set()
        self.died = False

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    async def _all(self) -> list[str]:
        return [present(session.session_id) async for session in Inspector(self.manager).scan_sessions()]

    @rule(session_id=IDS, user=USERS, ttl=TTLS, metadata=METADATA)
    def create(self, session_id: str, user: str, ttl: int | None, metadata: dict[str, Any]) -> None:
        create = self.manager.create_session(user, metadata, session_id=session_id, ttl=ttl)
        if session_id in self.sessions:
            with pytest.raises(SessionExists):
                self.run(create)
            return
        if session_id in self.dead:
            self.sweep()
        assert self.run(create).metadata == metadata
        self.sessions[session_id] = Model(user, ttl, metadata=dict(metadata))

    @rule(session_id=IDS, message_id=MESSAGE_IDS, text=TEXTS, fence=st.sampled_from([None, 0, -1, 1]))
    def append(self, session_id: str, message_id: str, text: str, fence: int | None) -> None:
        model = self.sessions.get(session_id)
        epoch = None if fence is None else max(0, (model.epoch if model else 0) + fence)
        send = self.manager.add_message(session_id, {"id": message_id, "from": "user", "text": text}, epoch=epoch)
        if model is None:
            with pytest.raises(SessionNotFound):
                self.run(send)
        elif model.conflicts((message_id, text)):
            with pytest.raises(MessageConflict):
                self.run(send)
        elif epoch not in (None, model.epoch) and not model.knows(message_id):
            with pytest.raises(AgentConflict):
                self.run(send)
        else:
            result = self.run(send)
            assert [(result.seq, result.duplicate)] == model.append((message_id, text))

    @rule(session_id=IDS, batch=st.dictionaries(MESSAGE_IDS, TEXTS, min_size=1, max_size=8))
    def append_batch(self, session_id: str, batch: dict[str, str]) -> None:
        model = self.sessions.get(session_id)
        messages = [{"id": message_id, "from": "user", "text": text} for message_id, text in batch.items()]
        if model is None:
            with pytest.raises(SessionNotFound):
                self.run(self.manager.add_messages(session_id, messages))
        elif len(batch) > HISTORY and any(map(model.knows, batch)):
            return  # a repeat is told by its end: see the contract
        elif model.conflicts(*batch.items()):
            with pytest.raises(MessageConflict):
                self.run(self.manager.add_messages(session_id, messages))
        else:
            results = self.run(self.manager.add_messages(session_id, messages))
            assert [(r.seq, r.duplicate) for r in results] == model.append(*batch.items())

    @rule(session_id=IDS, count=st.integers(2, 6))
    def append_by_several_tasks(self, session_id: str, count: int) -> None:
        model = self.sessions.get(session_id)
        if model is None:
            return

        async def together() -> list[Any]:
            texts = [f"task {model.count} {i}" for i in range(count)]
            return await asyncio.gather(
                *(self.manager.add_message(session_id, {"id": t, "from": "tool", "text": t}) for t in texts)
            )

        results = sorted(self.run(together()), key=lambda result: result.seq)
        for result in results:
            assert model.append((result.message_id, result.message.text)) == [(result.seq, False)]

    @rule(plan=st.dictionaries(IDS, st.sampled_from(["append", "switch", "extend", "delete", "look"]), min_size=2))
    def several_sessions_at_once(self, plan: dict[str, str]) -> None:
        """Different calls on different sessions are sent together, and each gets its own answer or error."""
        manager = self.manager
        calls = {
            "append": lambda session_id: manager.add_message(session_id, {"from": "user", "text": session_id}),
            "switch": lambda session_id: manager.switch_agent(session_id, "human"),
            "extend": manager.extend_session,
            "delete": manager.delete_session,
            "look": manager.get_session,
        }

        async def together() -> list[Any]:
            made = (calls[kind](session_id) for session_id, kind in plan.items())
            answers: list[Any] = await asyncio.gather(*made, return_exceptions=True)
            return answers

        for (session_id, kind), answer in zip(plan.items(), self.run(together()), strict=True):
            model = self.sessions.get(session_id)
            if model is None:
                assert answer is None if kind == "look" else not getattr(answer, "success", False)
                assert isinstance(answer, SessionNotFound) or kind in ("look", "delete")
            elif kind == "append":
                assert [(answer.seq, answer.duplicate)] == model.append((answer.message_id, session_id))
            elif kind == "switch":
                model.agent, model.epoch = "human", model.epoch + 1
                assert answer.epoch == model.epoch
            elif kind == "delete":
                assert answer.success
                del self.sessions[session_id]
            elif kind == "look":
                assert (answer.session_id, answer.message_count) == (session_id, model.count)
            else:
                assert answer.success

    @rule(session_id=IDS, agent=st.sampled_from(["ai", "human"]), fence=st.sampled_from([None, 0, 1, "ai", "human"]))
    def switch(self, session_id: str, agent: Any, fence: Any) -> None:
        model = self.sessions.get(session_id)
        expect = fence + model.epoch if isinstance(fence, int) and model else fence
        switch = self.manager.switch_agent(session_id, agent, expect=expect)
        if model is None:
            with pytest.raises(SessionNotFound):
                self.run(switch)
        elif expect not in (None, model.agent, model.epoch):
            with pytest.raises(AgentConflict):
                self.run(switch)
        else:
            model.agent, model.epoch = agent, model.epoch + 1
            assert self.run(switch).epoch == model.epoch

    @rule(session_id=IDS, metadata=METADATA)
    def update(self, session_id: str, metadata: dict[str, Any]) -> None:
        model = self.sessions.get(session_id)
        update = self.manager.update_session(session_id, metadata)
        if model is None:
            with pytest.raises(SessionNotFound):
                self.run(update)
            return
        merged = {**model.metadata, **metadata}
        model.metadata = {k: v for k, v in merged.items() if k not in metadata or metadata[k] is not None}
        assert self.run(update).metadata == model.metadata

    @rule(session_id=IDS, ttl=TTLS)
    def change_ttl(self, session_id: str, ttl: int | None) -> None:
        model = self.sessions.get(session_id)
        change = self.manager.set_session_ttl(session_id, ttl)
        if model is None:
            with pytest.raises(SessionNotFound):
                self.run(change)
            return
        self.run(change)
        model.ttl = ttl

    @rule(session_id=IDS)
    def delete(self, session_id: str) -> None:
        assert self.run(self.manager.delete_session(session_id)).success == (session_id in self.sessions)
        self.sessions.pop(session_id, None)

    @precondition(lambda self: self.sessions and not self.died)
    @rule()
    def let_all_die(self) -> None:
        """It takes a second of real time, so it happens only once in a run."""

        async def die() -> None:
            for session_id in self.sessions:
                await self.manager.set_session_ttl(session_id, 1)

            async def none_left() -> bool:
                return await self.manager.get_active_sessions_count() == 0

            await until(none_left)

        self.run(die())
        self.died = True
        self.dead = set(self.sessions)
        self.sessions = {}

    @precondition(lambda self: self.dead)
    @rule()
    def sweep(self) -> None:
        assert self.run(self.manager.cleanup_expired_sessions()).cleaned_count == len(self.dead)
        self.dead = set()

    @rule()
    def look_at_everything(self) -> None:
        manager, run = self.manager, self.run
        assert run(manager.get_active_sessions_count()) == len(self.sessions)
        assert sorted(run(self._all())) == sorted(self.sessions)
        for user in {model.user for model in self.sessions.values()}:
            mine = {session_id for session_id, model in self.sessions.items() if model.user == user}
            assert {session.session_id for session in run(manager.get_user_sessions(user))} == mine
        for session_id, model in self.sessions.items():
            seen = run(manager.get_session(session_id))
            assert (
                seen.user_id,
                seen.ttl,
                seen.current_agent,
                seen.agent_epoch,
                seen.message_count,
                seen.metadata,
            ) == (*(model.user, model.ttl, model.agent, model.epoch, model.count, model.metadata),)
            assert run(manager.get_session_agent(session_id)) == model.agent
            assert run(manager.is_session_active(session_id))
            history = run(manager.get_history(session_id, 100))
            assert [(m.seq, m.id, m.text) for m in history] == model.history
            last = max(model.count, 1)
            window = run(manager.get_history(session_id, 2, before=last, after=max(0, last - 4)))
            within = [seq for seq, _, _ in model.history if last - 4 < seq < last]
            assert [m.seq for m in window] == within[-2:]
            left = run(manager.get_session_ttl(session_id))
            assert left == -1 if model.ttl is None else model.ttl - 60 < left <= model.ttl

    def teardown(self) -> None:
        self.look_at_everything()
        for session_id in self.sessions:
            self.run(self.manager.delete_session(session_id))
        self.run(self.manager.close())


def test_the_manager_answers_as_the_model_does(backend: Any) -> None:
    loop = asyncio.new_event_loop()
    machine = type("MachineOnABackend", (Machine,), {"backend": backend, "loop": loop})
    checks = (HealthCheck.too_slow, HealthCheck.filter_too_much)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=checks
            ),
        )
    finally:
        loop.close()
