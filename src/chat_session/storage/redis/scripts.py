"""The scripts as Python calls. A test holds each function against its script's header.

A call is one EVALSHA; the first of its script on a connection is an EVAL, which brings the text along.
A server that has forgotten the script all the same (a flush) answers NOSCRIPT, and it is brought again.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from itertools import chain
from typing import NamedTuple

from msgspec import Struct

from chat_session.storage.codec import Element
from chat_session.storage.redis.keys import IndexKeys, SessionKeys

Arg = bytes | str | int

_READING = frozenset(("get_history", "list_entries", "read_entries"))


class Script(NamedTuple):
    """A script's text with its includes in place, and the name under which a server keeps it."""

    name: str
    text: bytes
    sha: bytes
    writes: bool


class Call(Struct, frozen=True, gc=False):
    """One script with its keys and arguments, ready to be sent by its short or its long name."""

    script: Script
    keys: tuple[bytes, ...]
    args: tuple[Arg, ...]

    def by_name(self) -> tuple[Arg, ...]:
        return (b"EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.args)

    def by_text(self) -> tuple[Arg, ...]:
        return (b"EVAL", self.script.text, len(self.keys), *self.keys, *self.args)


def create_session(
    keys: SessionKeys,
    index: IndexKeys | tuple[()],
    *,
    token: str,
    ttl: int,
    member: bytes,
    session_id: str,
    created_ms: int,
    agent: str,
    first_seq: int,
    fields: Mapping[str, bytes],
    elements: Sequence[Element],
) -> Call:
    begin = (token, ttl, member, session_id, created_ms, agent, first_seq, 2 * len(fields))
    args = (*begin, *_flat(fields), *chain.from_iterable(elements))
    return Call(load("create_session"), (*keys, *index), args)


def append_messages(
    keys: SessionKeys,
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    epoch: int | None,
    elements: Sequence[Element],
) -> Call:
    args = (now, default_ttl, max_history, _optional(epoch), *chain.from_iterable(elements))
    return Call(load("append_messages"), keys, args)


def get_history(meta: bytes, history: bytes, *, limit: int, before: int | None, after: int | None) -> Call:
    return Call(load("get_history"), (meta, history), (limit, _optional(before), _optional(after)))


def switch_agent(
    keys: SessionKeys,
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    agent: str,
    expect: int | str | None,
    token: str,
    settled: int,
    elements: Sequence[Element],
) -> Call:
    begin = (now, default_ttl, max_history, agent, _optional(expect), token, settled)
    args = (*begin, *chain.from_iterable(elements))
    return Call(load("switch_agent"), keys, args)


def update_session(
    meta: bytes,
    *,
    max_entries: int,
    max_bytes: int,
    reserved: Iterable[str],
    removed: Sequence[str],
    changes: Mapping[str, bytes],
) -> Call:
    names = f" {' '.join(reserved)} "
    args = (max_entries, max_bytes, names, len(removed), *removed, *_flat(changes))
    return Call(load("update_session"), (meta,), args)


def delete_session(
    keys: SessionKeys, index: IndexKeys | tuple[()], *, member: bytes, session_id: str, user_id: str
) -> Call:
    return Call(load("delete_session"), (*keys, *index), (member, session_id, user_id))


def extend_session(keys: SessionKeys, *, now: str, default_ttl: int) -> Call:
    return Call(load("extend_session"), keys, (now, default_ttl))


def set_ttl(keys: SessionKeys, due: bytes | None, *, session_id: str, ttl: int) -> Call:
    return Call(load("set_ttl"), (*keys, due) if due else keys, (session_id, ttl))


def read_entries(due: bytes, *, lowest: str, skip: int, limit: int) -> Call:
    return Call(load("read_entries"), (due,), (lowest, skip, limit))


def list_entries(index: bytes, *, direction: str, score: str, member: bytes | str, limit: int) -> Call:
    return Call(load("list_entries"), (index,), (direction, score, member, limit))


def begin_entry(due: bytes, *, member: bytes) -> Call:
    return Call(load("begin_entry"), (due,), (member,))


def finish_entry(due: bytes, *, member: bytes, begun: bytes, verdict: str) -> Call:
    return Call(load("finish_entry"), (due,), (member, begun, verdict))


def change_entry(index: bytes, *, member: bytes | str, seen: bytes, verdict: bytes | str) -> Call:
    return Call(load("change_entry"), (index,), (member, seen, verdict))


def enter_user(user: bytes, *, session_id: str, created_ms: int) -> Call:
    return Call(load("enter_user"), (user,), (session_id, created_ms))


def reconcile_entry(
    meta: bytes, due: bytes, user: bytes, *, member: bytes, session_id: str, user_id: str, dead: str
) -> Call:
    return Call(load("reconcile_entry"), (meta, due, user), (member, session_id, user_id, dead))


def remove_orphan(keys: SessionKeys) -> Call:
    return Call(load("remove_orphan"), keys, ())


@cache
def load(name: str) -> Script:
    """Read a script of the lua folder, replacing each ``--#include name`` by that file."""
    folder = files(__package__) / "lua"

    def expand(line: str) -> str:
        word, _, name = line.strip().partition(" ")
        return (folder / "include" / f"{name}.lua").read_text("utf-8") if word == "--#include" else line

    lines = (folder / f"{name}.lua").read_text("utf-8").splitlines(keepends=True)
    text = "".join(map(expand, lines)).encode()
    return Script(name, text, sha1(text, usedforsecurity=False).hexdigest().encode(), name not in _READING)


def _flat(fields: Mapping[str, bytes]) -> Iterable[Arg]:
    return chain.from_iterable(fields.items())


def _optional(value: int | str | None) -> Arg:
    return "" if value is None else value
