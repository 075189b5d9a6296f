"""A caller that changes histories: it retracts, pops, replaces and clears, and writes under conditions."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from chaos.history import Operation, text_of, version_of
from chaos.workload import REFUSALS, Caller, Running
from chat_session import Message, StoreError

EDITED = ("edited.1", "edited.2", "cleared.1", "rewritten.1")  # the sessions that editors share
USERS = ("e1", "e2", "e3")  # edited sessions are given from one of them to another
COUNTER, SHARED, LAST = "hits", "shared", "last"  # metadata: incremented; compared and set; set by an append
RACES = ("AgentConflict", "SequenceConflict", "MetadataConflict", "MessageConflict", "MessageNotFound")  # as planned
PAUSE = 0.005  # seconds between two calls: the checker compares every read with every message
SHOWN = 20  # messages that a look asks for
INTERNAL = "i"  # ends the id of an internal message

_EDITS = {  # how often each call is chosen, relative to the others
    "append": 20,
    "append_after": 15,
    "pop": 15,
    "look": 12,
    "replace": 10,
    "retract": 8,
    "increment": 8,
    "compare_and_set": 8,
    "assign": 3,
    "list": 3,
    "show": 3,
    "switch": 2,
}
_BY_PREFIX: dict[str, dict[str, int]] = {"edited": {}, "cleared": {"clear": 6}, "rewritten": {"clear": 3, "rewrite": 5}}


class Editor(Caller):
    """Edits sessions together with other editors.

    The first word of a session's id says what may happen to it: in ``edited`` ones messages are retracted and
    replaced; ``cleared`` ones are cleared, too; in ``rewritten`` ones the whole history is replaced as well. A clear
    of unknown outcome leaves the checker little to say, so most is found in the others.
    """

    async def edit(self, sessions: Sequence[str], running: Running) -> None:
        """Edit randomly chosen sessions while ``running`` returns true. Ends with one call of each kind."""
        while running():
            await self.edit_once(sessions)
            await asyncio.sleep(PAUSE)
        for kind in _EDITS:
            await self.do_edit(kind, sessions[0])

    async def edit_once(self, sessions: Sequence[str]) -> None:
        """One call, chosen at random."""
        session = self.rng.choice(sessions)
        kinds = _EDITS | _BY_PREFIX[session.partition(".")[0]]
        await self.do_edit(self.rng.choices(list(kinds), list(kinds.values()))[0], session)

    async def do_edit(self, kind: str, session: str) -> None:
        """One call of this kind, on messages that are chosen at random."""
        match kind:
            case "append":  # not sent again where its id may be forgotten: then it would be another message
                await self.append(session, give_up=0.0 if session.startswith("edited") else 1.0)
            case "switch":
                await self.switch(session, self.rng.choice(("ai", "human")))
            case "pop":
                found = await self.get(session) if self.rng.random() < 0.3 else None
                epoch = None if found is None else found.agent_epoch
                await self.pop(session, self.rng.choice((1, 1, 1, 2, 5)), epoch=epoch)
            case "look" | "retract" | "replace":
                seen = await self.look(session)
                if seen and kind == "retract":
                    await self.retract(session, self.rng.choice(seen))
                if seen and kind == "replace":
                    await self.replace(session, self.rng.choice(seen))
            case "list":
                await self.list_user(self.rng.choice(USERS))
            case "show":
                await self.get(session)
            case "assign":
                await self.assign(session, self.rng.choice(USERS))
            case _:
                await getattr(self, kind)(session)

    def make_message(self, session: str) -> dict[str, Any]:
        message = super().make_message(session)
        if self.rng.random() < 0.2:
            message |= {"id": message["id"] + INTERNAL, "internal": True}
            message["text"] = text_of(session, message["id"])
        return message

    def is_as_sent(self, session: str, message: Message) -> bool:
        """An append that is answered as a duplicate returns the message as it is now: retracted, or replaced."""
        return message.type == "retracted" or version_of(message.text, session, message.id or "") is not None

    async def look(self, session: str, limit: int = SHOWN) -> list[Message]:
        """Read the newest messages, internal ones too. Empty after an error."""
        with suppress(*REFUSALS), self.recorder.operation("look", session, self.name, limit=limit) as op:
            messages = await self.manager.get_history(session, limit, include_internal=True)
            _note_messages(op, messages)
            return messages
        return []

    async def pop(self, session: str, count: int, *, epoch: int | None = None) -> Operation:
        try:
            with self.recorder.operation("pop", session, self.name, limit=count, epoch=epoch) as op:
                _note_messages(op, await self.manager.pop_messages(session, count, epoch=epoch))
        except REFUSALS:
            pass
        return op

    async def retract(self, session: str, message: Message) -> None:
        message_id = message.id or ""
        with suppress(*REFUSALS), self.recorder.operation("retract", session, self.name, ids=[message_id]) as op:
            result = await self.manager.retract_message(session, message_id)
            op.count = int(result.success)
            if result.message is not None and (result.message.id, result.message.text) != (message_id, ""):
                op.mismatch = f"with {result.message.id} {result.message.text[:60]!r}"

    async def replace(self, session: str, message: Message) -> None:
        """Replace a message by its next version. Half of the calls expect it as it was read."""
        self._sent += 1
        message_id, version = message.id or "", f"{self.name}.{self._sent}"
        expect = message if self.rng.random() < 0.5 else None
        new = Message(id=message_id, sender="user", text=text_of(session, message_id, version))
        old = None if expect is None else version_of(message.text, session, message_id)
        facts: dict[str, Any] = {"ids": [message_id], "new": version, "old": old}
        with suppress(*REFUSALS), self.recorder.operation("replace", session, self.name, **facts) as op:
            stored = await self.manager.replace_message(session, new, expect=expect)
            _note_messages(op, [stored])
            if op.versions.get(message_id) != version:
                op.mismatch = f"with {stored.id} {stored.text[:60]!r}"

    async def clear(self, session: str) -> None:
        with suppress(*REFUSALS), self.recorder.operation("clear", session, self.name) as op:
            op.count = await self.manager.clear_history(session)

    async def rewrite(self, session: str) -> None:
        """Replace the whole history by one to three messages, if no other edit has happened since it was read."""
        found = await self.get(session)
        if found is None:
            return
        messages = [self.make_message(session) for _ in range(self.rng.randrange(1, 4))]
        facts: dict[str, Any] = {"ids": [message["id"] for message in messages], "expect": found.revision}
        with suppress(*REFUSALS), self.recorder.operation("rewrite", session, self.name, **facts) as op:
            _note_messages(op, await self.manager.replace_history(session, messages, expect_revision=found.revision))

    async def append_after(self, session: str) -> None:
        """Append if the newest message is still the one that was read. Sent once."""
        found = await self.get(session)
        if found is None:
            return
        message = self.make_message(session)
        facts: dict[str, Any] = {"id": message["id"], "expect": found.message_count}
        facts["metadata"] = {LAST: message["id"]}
        try:
            with self.recorder.operation("append", session, self.name, **facts) as op:
                [result] = await self.manager.add_messages(
                    session, [message], expect_seq=found.message_count, metadata=facts["metadata"]
                )
                op.seq = result.seq
                if result.message_id != message["id"]:
                    op.mismatch = f"with message {result.message_id}"
        except StoreError:
            op.abandoned = op.outcome == "unknown"
        except REFUSALS:
            pass

    async def increment(self, session: str) -> None:
        by = self.rng.choice((1, 2, 10))
        with suppress(*REFUSALS), self.recorder.operation("increment", session, self.name, new=COUNTER, by=by) as op:
            op.count = await self.manager.increment(session, COUNTER, by)

    async def compare_and_set(self, session: str) -> None:
        """Change an entry of the metadata if it is still as it was read, by one of the two calls for it."""
        found = await self.get(session)
        if found is None:
            return
        self._sent += 1
        old = found.metadata.get(SHARED)
        new = f"{self.name}.{self._sent}"
        append = self.rng.random() < 0.5
        facts: dict[str, Any] = {"metadata": {SHARED: new}, "old": old or "", "new": new}
        kind = "append" if append else "update"
        with suppress(*REFUSALS), self.recorder.operation(kind, session, self.name, **facts):
            if append:
                await self.manager.add_messages(session, [], expect_metadata={SHARED: old}, metadata={SHARED: new})
            else:
                await self.manager.update_session(session, {SHARED: new}, expect={SHARED: old})

    async def list_user(self, user: str) -> None:
        """List the sessions of a user. Which they are is recorded, because sessions come and go."""
        with suppress(*REFUSALS), self.recorder.operation("list", "", self.name, user=user) as op:
            sessions = await self.manager.get_user_sessions(user)
            op.ids, op.count = [session.session_id for session in sessions], len(sessions)
            if len(set(op.ids)) != op.count or any(session.user_id != user for session in sessions):
                op.mismatch = f"with {[(session.session_id, session.user_id) for session in sessions]}"[:400]

    async def assign(self, session: str, user: str) -> None:
        with suppress(*REFUSALS), self.recorder.operation("assign", session, self.name, user=user) as op:
            session_now = await self.manager.assign_session(session, user)
            if (session_now.session_id, session_now.user_id) != (session, user):
                op.mismatch = f"with session {session_now.session_id} of {session_now.user_id}"


def _note_messages(op: Operation, messages: Sequence[Message]) -> None:
    """Record which messages an answer has, and whether they belong to the session."""
    op.ids = [message.id or "" for message in messages]
    op.seqs = [message.seq or 0 for message in messages]
    op.count = len(messages)
    for message in messages:
        version = version_of(message.text, op.session, message.id or "")
        if version is None:
            op.mismatch = f"with {message.text[:80]!r} as {message.id}"
        elif version:
            op.versions[message.id or ""] = version
        if message.internal != (message.id or "").endswith(INTERNAL):
            op.mismatch = f"with internal={message.internal} of {message.id}"
    if any(after <= before for before, after in pairwise(op.seqs)):
        op.mismatch = f"with the seqs {op.seqs}"
