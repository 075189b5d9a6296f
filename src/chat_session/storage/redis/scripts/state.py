"""The scripts of state as typed calls. A test holds each function against its script's header."""

from collections.abc import Mapping
from typing import Any, NoReturn

from chat_session.checks import refuse_large_metadata
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.decoders import fields, integer, pair, refuse
from chat_session.storage.redis.scripts.changes import write_changes
from chat_session.storage.redis.scripts.loading import load
from chat_session.storage.redis.scripts.status import Facts, Reply, one


def update_state(state: bytes, *, max_entries: int, max_bytes: int, changes: Mapping[str, Any]) -> Call[Any]:
    """The fields, as HGETALL gives them. Raises InvalidInput if they would be over the limits."""
    decode = Reply(one(fields), {b"FULL": _refuse_full})
    return Call(load("update_state"), (state,), (max_entries, max_bytes, *write_changes(changes)), decode)


def delete_state(state: bytes) -> Call[int]:
    """How many entries were removed."""
    return Call(load("delete_state"), (state,), (), Reply(one(integer)))


def _refuse_full(facts: Facts) -> NoReturn:
    entries, size = pair(facts, integer, integer)
    refuse_large_metadata(entries, size, "state")
    refuse(facts)
