"""The messages of a session on Redis: append, read, retract, replace, clear. Each write is one script."""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha1
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from chat_session.checks import MAX_JSON_BYTES, MAX_METADATA_ENTRIES
from chat_session.clock import now, to_iso
from chat_session.errors import MessageConflict, MessageNotFound, SessionNotFound
from chat_session.message import RETRACTED, Draft, Message, with_seq
from chat_session.session import RESERVED
from chat_session.storage.codec import (
    decode_message,
    encode_id,
    encode_message,
    encode_tombstone,
    make_replacement,
    make_tombstone,
)
from chat_session.storage.contract import Appended, Conditional
from chat_session.storage.redis.history import HistoryReader
from chat_session.storage.redis.keys import Keys
from chat_session.storage.redis.net.commands import Call, Command
from chat_session.storage.redis.net.executor import CommandExecutor
from chat_session.storage.redis.scripts import sessions as scripts
from chat_session.storage.redis.scripts.appended import Stored
from chat_session.storage.redis.scripts.state import update_state
from chat_session.storage.redis.tokens import Tokens
from chat_session.storage.redis.tries import count_tries
from chat_session.storage.redis.turn_entries import TurnEntries

RESERVED_NAMES = f" {' '.join(sorted(RESERVED))} "  # as include/merge.lua takes them
MAX_PAGE = 1000  # elements that a pop reads at once behind tombstones


class _Change(NamedTuple):
    """Another element in the place of one that was read."""

    seq: int
    read: bytes
    element: bytes


class RedisMessages:
    """The part of SessionStore that is about messages."""

    def __init__(
        self,
        executor: CommandExecutor,
        keys: Keys,
        turn_entries: TurnEntries,
        *,
        on_cluster: bool,
        default_ttl: int,
        max_history: int,
    ) -> None:
        self._executor = executor
        self._keys = keys
        self._turn_entries = turn_entries
        self._tokens = Tokens()
        self._popping: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by session
        self._on_cluster = on_cluster
        self._default_ttl = default_ttl
        self._max_history = max_history

    async def append_messages(
        self, session_id: str, drafts: Sequence[Draft], epoch: int | None, conditional: Conditional | None = None
    ) -> list[Appended]:
        if conditional is not None:
            return await self._append_conditionally(session_id, drafts, epoch, conditional)
        elements = [encode_message(draft) for draft in drafts]

        def make(noted: int | str) -> Call[list[Stored] | None]:
            return scripts.append_messages(
                session_id,
                self._keys.session(session_id),
                now=to_iso(now()),
                default_ttl=self._default_ttl,
                max_history=self._max_history,
                epoch=epoch,
                noted=noted,
                elements=elements,
            )

        return read_appended(drafts, await self._append(session_id, drafts, make))

    async def _append(
        self, session_id: str, drafts: Sequence[Draft], make: Callable[[int | str], Call[list[Stored] | None]]
    ) -> list[Stored]:
        """Write the session's entry in the index of turns first, if it is to have one for what its customer says."""
        is_customers = any(draft.message.sender == "user" for draft in drafts)
        if not (is_customers and self._turn_entries.is_known(session_id)):
            stored = await self._executor.run("append_messages", make(""))
            if stored is not None:
                return stored
        if self._on_cluster:
            await self._turn_entries.write("append_messages", session_id)
            stored = await self._executor.run("append_messages", make(1))
        else:
            self._turn_entries.remember(session_id)
            commands: list[Command[Any]] = [self._turn_entries.call(session_id), make(1)]
            _, stored = await self._executor.run_all("append_messages", commands)
        return stored or []

    async def _append_conditionally(
        self, session_id: str, drafts: Sequence[Draft], epoch: int | None, conditional: Conditional
    ) -> list[Appended]:
        states: Mapping[str, Mapping[str, Any]] = conditional.state
        if states and self._on_cluster:  # they are on other nodes than the session
            await self._executor.run_all("append_messages", [self._update_state(*each) for each in states.items()])
            states = {}
        token = self._tokens.take()
        elements = [encode_message(draft) for draft in drafts]

        def make(noted: int | str) -> Call[list[Stored] | None]:
            return scripts.append_conditionally(
                session_id,
                self._keys.session(session_id),
                [self._keys.state(scope) for scope in states],
                now=to_iso(now()),
                default_ttl=self._default_ttl,
                max_history=self._max_history,
                epoch=epoch,
                expect_seq=conditional.expect_seq,
                expect_revision=conditional.expect_revision,
                max_entries=MAX_METADATA_ENTRIES,
                max_bytes=MAX_JSON_BYTES,
                reserved=RESERVED_NAMES,
                token=token.text,
                answered_below=token.answered_below,
                noted=noted,
                expected=conditional.expect_metadata,
                changes=[conditional.metadata, *states.values()],
                elements=elements,
            )

        with self._tokens.answering(token):
            stored = await self._append(session_id, drafts, make)
        return read_appended(drafts, stored)

    def _update_state(self, scope: str, changes: Mapping[str, Any]) -> Any:
        key = self._keys.state(scope)
        return update_state(key, max_entries=MAX_METADATA_ENTRIES, max_bytes=MAX_JSON_BYTES, changes=changes)

    async def get_history(self, session_id: str, limit: int, before: int | None, after: int | None) -> list[Message]:
        reader = self._reader(session_id)
        try:
            if before is None and after is None:
                return (await reader.newest("get_history", limit)).decode()
            return (await reader.window("get_history", limit, before, after)).decode()
        except SessionNotFound:
            return []

    async def retract_message(self, session_id: str, message_id: str, epoch: int | None) -> Message | None:
        tombstone = None

        def change(seq: int, read: bytes) -> _Change | None:
            nonlocal tombstone
            found = decode_message(read, seq)
            tombstone = make_tombstone(found)
            return None if found.type == RETRACTED else _Change(seq, read, encode_tombstone(found))

        is_there = await self._change_one("retract_message", session_id, message_id, epoch, change)
        return tombstone if is_there else None

    async def replace_message(
        self, session_id: str, draft: Draft, expect: Message | None, epoch: int | None
    ) -> Message:
        message_id = draft.message.id or ""
        stored = None

        def change(seq: int, read: bytes) -> _Change | None:
            nonlocal stored
            found = decode_message(read, seq)
            if found.type == RETRACTED:
                stored = None
                return None
            if expect is not None and found != expect:
                raise MessageConflict(session_id, message_id, "Read it again before you replace it.")
            stored = make_replacement(draft, found)
            return _Change(seq, read, encode_message(Draft(stored, timestamp_generated=False)).json)

        is_there = await self._change_one("replace_message", session_id, message_id, epoch, change)
        if stored is None or not is_there:
            raise MessageNotFound(session_id, message_id)
        return stored

    async def pop_messages(self, session_id: str, count: int, epoch: int | None) -> list[Message]:
        async with self._popping.setdefault(session_id, asyncio.Lock()):  # else of those at once one succeeds each time
            for _ in self._count_tries("pop_messages", session_id):
                newest, read = await self._read_newest(session_id, count)
                popped = [decode_message(element, seq) for seq, element in read]
                changes = [
                    _Change(seq, element, encode_tombstone(message))
                    for (seq, element), message in zip(read, popped, strict=True)
                ]
                if not read or await self._replace("pop_messages", session_id, changes, epoch, newest):
                    return popped
        raise AssertionError

    async def clear_history(self, session_id: str, epoch: int | None) -> int:
        removed, *_ = await self._replace_history("clear_history", session_id, (), epoch=epoch)
        return removed

    async def replace_history(
        self,
        session_id: str,
        drafts: Sequence[Draft],
        expect_revision: int | None,
        epoch: int | None,
        expect_seq: int | None = None,
    ) -> list[Message]:
        _, last, kept = await self._replace_history(
            "replace_history", session_id, drafts, epoch=epoch, expect_seq=expect_seq, expect_revision=expect_revision
        )
        stored = drafts[len(drafts) - kept :]
        return [with_seq(draft.message, seq) for seq, draft in enumerate(stored, last - kept + 1)]

    def _reader(self, session_id: str) -> HistoryReader:
        return HistoryReader(self._executor, session_id, self._keys.session(session_id))

    async def _read_newest(self, session_id: str, count: int) -> tuple[int, list[tuple[int, bytes]]]:
        """The newest sequence number given out, and the newest elements that are no tombstones, oldest first."""
        reader = self._reader(session_id)
        page = await reader.newest("pop_messages", count)
        newest = page.first + len(page.elements) - 1
        found: list[tuple[int, bytes]] = []
        size = count
        while page.elements:
            read = list(enumerate(page.elements, page.first))
            found = [(seq, each) for seq, each in read if not is_tombstone(each)] + found
            if len(found) >= count or len(page.elements) < size:
                break
            size = min(2 * size, MAX_PAGE)
            page = await reader.window("pop_messages", size, page.first, None)
        return newest, found[-count:]

    async def _change_one(
        self,
        name: str,
        session_id: str,
        message_id: str,
        epoch: int | None,
        change: Callable[[int, bytes], _Change | None],
    ) -> bool:
        """Read a message, then put another in its place, None for none; again if it was changed meanwhile.

        Whether it was there when it was read last.
        """
        keys = self._keys.session(session_id)
        for _ in self._count_tries(name, session_id):
            found = await self._executor.run(name, scripts.find_message(session_id, keys, id=encode_id(message_id)))
            if found is None:
                return False
            changed = change(*found)
            if changed is None or await self._replace(name, session_id, [changed], epoch, None):
                return True
        raise AssertionError

    def _count_tries(self, name: str, session_id: str) -> Iterator[int]:
        obstacle = f"others changed the history of session {session_id!r}"
        return count_tries(name, self._executor.call_timeout, obstacle, session_id)

    async def _replace(
        self, name: str, session_id: str, changes: Sequence[_Change], epoch: int | None, newest: int | None
    ) -> bool:
        """Whether all were as they were read, and were changed."""
        token = self._tokens.take()
        call = scripts.replace_elements(
            session_id,
            self._keys.session(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            epoch=epoch,
            newest=newest,
            token=token.text,
            answered_below=token.answered_below,
            tag=_make_tag(),
            changes=[(seq, sha1(read, usedforsecurity=False).hexdigest(), element) for seq, read, element in changes],
        )
        with self._tokens.answering(token):
            return await self._executor.run(name, call)

    async def _replace_history(
        self,
        name: str,
        session_id: str,
        drafts: Sequence[Draft],
        *,
        epoch: int | None,
        expect_seq: int | None = None,
        expect_revision: int | None = None,
    ) -> tuple[int, int, int]:
        token = self._tokens.take()
        call = scripts.replace_history(
            session_id,
            self._keys.session(session_id),
            now=to_iso(now()),
            default_ttl=self._default_ttl,
            max_history=self._max_history,
            epoch=epoch,
            expect_seq=expect_seq,
            expect_revision=expect_revision,
            token=token.text,
            answered_below=token.answered_below,
            tag=_make_tag(),
            elements=[encode_message(draft) for draft in drafts],
        )
        with self._tokens.answering(token):
            return await self._executor.run(name, call)


def is_tombstone(element: bytes) -> bool:
    return element.endswith(b',"type":"retracted"}')


def _make_tag() -> str:
    """Two characters that tell a revision from another of the same number, after a failover lost the first."""
    return secrets.token_urlsafe(2)[:2]


def read_appended(drafts: Sequence[Draft], stored: Sequence[Stored]) -> list[Appended]:
    return [
        Appended(with_seq(draft.message, seq), duplicate=False)
        if element is None
        else Appended(decode_message(element, seq), duplicate=True)
        for draft, (seq, element) in zip(drafts, stored, strict=True)
    ]
