"""Changes of a history against a plain Python model: random operations, some by several tasks at once, same answers."""

import asyncio
import os
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chat_session import (
    AgentConflict,
    Inspector,
    MessageConflict,
    MessageNotFound,
    MetadataConflict,
    SequenceConflict,
    SessionManager,
)
from testkit.present import present

BOUND = 6
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "12"))  # runs of 40 steps on each backend
IDS = st.sampled_from(["a", 'b"\\', "漢", "d", "e", "f", "g", "h", "i"])
TEXTS = st.sampled_from(["", "x", "你好 \x00"])
SENT = st.tuples(TEXTS, st.booleans())  # the text, and whether it is internal
OFFSETS = st.sampled_from([None, None, 0, 0, 0, -1, 1])
FENCES = st.sampled_from([None, None, 0, 0, -1, 1])


@dataclass
class Position:
    """One message of a history. ``first``: what was delivered under its id."""

    seq: int
    id: str
    first: tuple[str, bool]
    text: str
    is_retracted: bool = False

    @property
    def internal(self) -> bool:
        return self.first[1]

    @property
    def shown(self) -> tuple[int, str, str, bool, bool]:
        return self.seq, self.id, self.text, self.internal, self.is_retracted


class EditMachine(RuleBasedStateMachine):
    """``backend`` and ``loop`` are set by the test."""

    backend: Any
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.backend.clear()
        self.manager: SessionManager = self.backend.open(max_message_history=BOUND)
        self.run(self.manager.delete_session("s"))
        self.run(self.manager.create_session("u", session_id="s", ttl=600))
        self.history: list[Position] = []
        self.count = self.revision = self.epoch = 0
        self.metadata: dict[str, Any] = {}

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    @property
    def live(self) -> list[Position]:
        return [position for position in self.history if not position.is_retracted]

    def find(self, message_id: str) -> Position | None:
        return next((position for position in self.history if position.id == message_id), None)

    def add(self, message_id: str, sent: tuple[str, bool]) -> Position:
        self.count += 1
        position = Position(self.count, message_id, sent, sent[0])
        self.history = [*self.history, position][-BOUND:]
        return position

    def is_fenced_off(self, call: Any, fence: int | None) -> bool:
        """Whether the call is refused because of its epoch, as it must be if that is not the current one."""
        if fence in (None, 0):
            return False
        with pytest.raises(AgentConflict):
            self.run(call)
        return True

    def epoch_of(self, fence: int | None) -> int | None:
        return None if fence is None else max(0, self.epoch + fence)

    @rule(
        batch=st.dictionaries(IDS, SENT, min_size=0, max_size=3),
        fence=FENCES,
        seq=OFFSETS,
        revision=OFFSETS,
        expected=st.sampled_from([{}, {}, {"n": None}, {"n": 1}]),
        metadata=st.sampled_from([None, {"n": 1}, {"n": None}]),
    )
    def append(
        self,
        batch: dict[str, tuple[str, bool]],
        fence: int | None,
        seq: int | None,
        revision: int | None,
        expected: dict[str, Any],
        metadata: dict[str, Any] | None,
    ) -> None:
        if fence == -1 and self.epoch == 0:
            return
        wanted: dict[str, Any] = {
            "expect_seq": None if seq is None else max(0, self.count + seq),
            "expect_revision": None if revision is None else max(0, self.revision + revision),
            "metadata": metadata,
            "expect_metadata": expected or None,
        }
        if not batch and all(value is None for value in wanted.values()):
            return
        messages = [{"id": i, "from": "user", "text": text, "internal": hidden} for i, (text, hidden) in batch.items()]
        call = self.manager.add_messages("s", messages, epoch=self.epoch_of(fence), **wanted)
        known = {i: found for i in batch if (found := self.find(i)) is not None}
        if any(found.first != batch[i] for i, found in known.items()):
            with pytest.raises(MessageConflict):
                self.run(call)
            return
        is_repeat = bool(batch) and len(known) == len(batch)
        if not is_repeat:
            is_conditional = any(value is not None for value in wanted.values())
            can_be_seen = not all(hidden for i, (_, hidden) in batch.items() if i not in known)
            if (is_conditional or can_be_seen) and self.is_fenced_off(call, fence):
                return
            stale = wanted["expect_seq"] not in (None, self.count) or wanted["expect_revision"] not in (
                None,
                self.revision,
            )
            unexpected = any(self.metadata.get(name) != value for name, value in expected.items())
            if stale or unexpected:
                with pytest.raises(SequenceConflict if stale else MetadataConflict):
                    self.run(call)
                return
        results = self.run(call)
        assert [result.duplicate for result in results] == [i in known for i in batch]
        assert [result.seq for result in results if result.duplicate] == [known[i].seq for i in batch if i in known]
        for result in results:
            if result.duplicate:
                found = known[result.message_id]
                assert (result.message.text, result.message.type == "retracted") == (found.text, found.is_retracted)
            else:
                assert result.seq == self.add(result.message_id, batch[result.message_id]).seq
        if not is_repeat:
            merged = {**self.metadata, **(metadata or {})}
            self.metadata = {name: value for name, value in merged.items() if value is not None}

    @rule(message_id=IDS, fence=FENCES)
    def retract(self, message_id: str, fence: int | None) -> None:
        if fence == -1 and self.epoch == 0:
            return
        found = self.find(message_id)
        call = self.manager.retract_message("s", message_id, epoch=self.epoch_of(fence))
        if found is not None and not found.is_retracted and self.is_fenced_off(call, fence):
            return
        result = self.run(call)
        assert result.success == (found is not None)
        if found is not None and not found.is_retracted:
            found.is_retracted, found.text = True, ""
            self.revision += 1

    @rule(count=st.integers(1, 4), fence=FENCES)
    def pop(self, count: int, fence: int | None) -> None:
        if fence == -1 and self.epoch == 0:
            return
        call = self.manager.pop_messages("s", count, epoch=self.epoch_of(fence))
        if self.live and self.is_fenced_off(call, fence):
            return
        popped = self.run(call)
        expected = self.live[-count:]
        assert [(message.seq, message.text) for message in popped] == [(each.seq, each.text) for each in expected]
        for each in expected:
            each.is_retracted, each.text = True, ""
        self.revision += bool(expected)

    @rule(tasks=st.integers(2, 8))
    def pop_by_several_tasks(self, tasks: int) -> None:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self.manager.pop_messages("s") for _ in range(tasks)))

        popped = [message.seq for messages in self.run(together()) for message in messages]
        expected = self.live[-tasks:]
        assert sorted(popped) == [each.seq for each in expected]
        for each in expected:
            each.is_retracted, each.text = True, ""
        self.revision += len(expected)

    @rule(message_id=IDS, sent=SENT, expect=st.sampled_from(["nothing", "the stored one", "another"]), fence=FENCES)
    def replace(self, message_id: str, sent: tuple[str, bool], expect: str, fence: int | None) -> None:
        if fence == -1 and self.epoch == 0:
            return
        found = self.find(message_id)
        seen = None
        if expect != "nothing" and found is not None and not found.is_retracted:
            stored = self.run(self.manager.get_history("s", 100, include_internal=True))
            seen = next(message for message in stored if message.id == message_id).to_dict()
            seen |= {"author": "another"} if expect == "another" else {}
        new: dict[str, Any] = {"id": message_id, "from": "tool", "text": sent[0] + " new", "internal": sent[1]}
        call = self.manager.replace_message("s", new, expect=seen, epoch=self.epoch_of(fence))
        if found is None or found.is_retracted:
            with pytest.raises(MessageNotFound):
                self.run(call)
        elif seen is not None and expect == "another":
            with pytest.raises(MessageConflict):
                self.run(call)
        elif not self.is_fenced_off(call, fence):
            stored = self.run(call)
            assert (stored.seq, stored.internal, stored.sender) == (found.seq, found.internal, "tool")
            found.text = new["text"]
            self.revision += 1

    @rule(fence=FENCES)
    def clear(self, fence: int | None) -> None:
        if fence == -1 and self.epoch == 0:
            return
        call = self.manager.clear_history("s", epoch=self.epoch_of(fence))
        if self.is_fenced_off(call, fence):
            return
        assert self.run(call) == len(self.live)
        self.history = []
        self.revision += 1

    @rule(batch=st.dictionaries(IDS, SENT, max_size=BOUND), revision=OFFSETS, fence=FENCES)
    def replace_history(self, batch: dict[str, tuple[str, bool]], revision: int | None, fence: int | None) -> None:
        if fence == -1 and self.epoch == 0:
            return
        messages = [{"id": i, "from": "user", "text": text, "internal": hidden} for i, (text, hidden) in batch.items()]
        expected = None if revision is None else max(0, self.revision + revision)
        call = self.manager.replace_history("s", messages, expect_revision=expected, epoch=self.epoch_of(fence))
        if self.is_fenced_off(call, fence):
            return
        if expected not in (None, self.revision):
            with pytest.raises(SequenceConflict):
                self.run(call)
            return
        stored = self.run(call)
        self.history = []
        assert [message.seq for message in stored] == [self.add(i, sent).seq for i, sent in batch.items()]
        self.revision += 1

    @rule(note=st.booleans())
    def switch(self, note: bool) -> None:
        self.epoch = self.run(self.manager.switch_agent("s", "human", note="n" if note else None)).epoch
        if note:
            [stored] = self.run(self.manager.get_history("s", 1))
            self.add(stored.id, ("n", False))

    @rule(up_to=st.none() | st.integers(0, 60))
    def fork(self, up_to: int | None) -> None:
        fork = self.run(self.manager.fork_session("s", up_to=up_to))
        last = self.count if up_to is None else min(up_to, self.count)
        assert (fork.message_count, fork.metadata) == (last, self.metadata)
        copied = self.run(Inspector(self.manager).get_stored_history(fork.session_id))
        assert [message.seq for message in copied] == [each.seq for each in self.history if each.seq <= last]
        self.run(self.manager.delete_session(fork.session_id))

    @invariant()
    def everything_is_as_it_should_be(self) -> None:
        session = present(self.run(self.manager.get_session("s")))
        facts = (session.message_count, session.revision, session.agent_epoch, session.metadata)
        assert facts == (self.count, self.revision, self.epoch, self.metadata)
        stored = self.run(Inspector(self.manager).get_stored_history("s"))
        shown = [(m.seq, m.id, m.text, m.internal, m.type == "retracted") for m in stored]
        assert shown == [position.shown for position in self.history]
        public = [each.seq for each in self.live if not each.internal]
        assert [m.seq for m in self.run(self.manager.get_history("s", 3))] == public[-3:]
        assert [m.seq for m in self.run(self.manager.get_history("s", 2, after=0))] == public[:2]
        window = self.run(self.manager.get_window("s", messages=3))
        assert [m.seq for m in window] == [each.seq for each in self.live][-3:]

    def teardown(self) -> None:
        self.run(self.manager.delete_session("s"))
        self.run(self.manager.close())


def test_changes_of_a_history_answer_as_the_model_does(backend: Any) -> None:
    loop = asyncio.new_event_loop()
    machine = type("MachineOnABackend", (EditMachine,), {"backend": backend, "loop": loop})
    checks = (HealthCheck.too_slow, HealthCheck.filter_too_much)
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=checks
            ),
        )
    finally:
        loop.close()
