"""The scripts of the desk as typed calls. A test holds each function against its script's header."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from chat_session.errors import OperatorFull
from chat_session.storage.codec import EncodedMessage
from chat_session.storage.redis.keys import DeskKeys, SessionKeys
from chat_session.storage.redis.net.commands import Call
from chat_session.storage.redis.net.decoders import (
    fields,
    flat_scores,
    integer,
    optional_text,
    pair,
    paired,
    refuse,
    text,
    texts,
    whole,
    whole_score,
)
from chat_session.storage.redis.net.wire import Arg
from chat_session.storage.redis.scripts.appended import Stored, read_stored
from chat_session.storage.redis.scripts.loading import load
from chat_session.storage.redis.scripts.status import Facts, Reply, SessionReply, nothing, one


class Presence(NamedTuple):
    """Of one operator. ``capacity`` -1: the default. ``seen`` and ``deadline`` in milliseconds."""

    generation: int
    capacity: int
    available: bool
    seen: int
    deadline: int
    assigned: int


class Lease(NamedTuple):
    session_id: bytes
    entry: bytes
    generation: int
    now: int


class Counts(NamedTuple):
    """``longest`` and ``now`` in microseconds."""

    waiting: list[tuple[bytes, int]]
    assigned: int
    longest: int
    counted: dict[bytes, bytes]
    now: int


def read_desk(session_id: str, keys: SessionKeys) -> Call[tuple[dict[bytes, bytes], int]]:
    """The fields of the session; the time in microseconds since 2025."""
    decode = SessionReply(lambda facts: pair(facts, fields, whole), session_id, keys)
    return Call(load("read_desk"), (keys.meta,), (), decode)


def step_desk(
    session_id: str,
    keys: SessionKeys,
    deadlines: Sequence[bytes],
    *,
    now: str,
    default_ttl: int,
    max_history: int,
    seen_facts: bytes,
    seen_epoch: int,
    seen_ttl: bytes | str,
    facts: bytes,
    new_agent: str,
    new_ttl: int | str,
    token: str,
    answered_below: int,
    own: int,
    elements: Sequence[EncodedMessage],
) -> Call[tuple[dict[bytes, bytes], list[Stored]] | None]:
    """The fields of the session after the step, and what is known of the messages; None if it was not as it was read.

    Of a call that was done before, all messages are known.
    """
    seen = (seen_facts, seen_epoch, seen_ttl)
    begin = (now, default_ttl, max_history, *seen, facts, new_agent, new_ttl, token, answered_below, own)
    decode = SessionReply(partial(_stepped, len(elements)), session_id, keys, codes={b"CHANGED": nothing})
    return Call(load("step_desk"), (*keys, *deadlines), (*begin, *chain.from_iterable(elements)), decode)


def reconcile_desk(
    keys: DeskKeys,
    *,
    session_id: str,
    stamp: int,
    state: str,
    place: str,
    team: str,
    operator: str,
    generation: int,
    facts: bytes,
    idle_at: int | str,
    counted: Sequence[str],
) -> Call[tuple[int, bool]]:
    """The rank in the queue of its team, and whether the operator is present."""
    args = (session_id, stamp, state, place, team, operator, generation, facts, idle_at, *counted)
    return Call(load("reconcile_desk"), keys, args, Reply(_rank_and_presence))


def forget_entry(keys: DeskKeys, *, session_id: str | bytes, stamp: int) -> Call[None]:
    used = (keys.queue, keys.teams, keys.entries, keys.seats, keys.claims, keys.leases, keys.idle)
    return Call(load("forget_entry"), used, (session_id, stamp), Reply(nothing))


def lease_entry(
    keys: DeskKeys,
    *,
    operator: str,
    token: str,
    lease_ms: int,
    presence_ms: int,
    default_capacity: int,
    wanted: Sequence[str],
) -> Call[Lease | None]:
    """None if nobody waits. Raises OperatorFull."""
    places = (keys.queue, keys.teams, keys.entries, keys.seats, keys.claims, keys.leases)
    used = (*places, keys.presence, keys.operators, keys.idle)
    args: tuple[Arg, ...] = (operator, token, lease_ms, presence_ms, default_capacity, *wanted)
    decode: Reply[Lease | None] = Reply(_lease, {b"EMPTY": nothing, b"FULL": partial(_refuse_full, operator)})
    return Call(load("lease_entry"), used, args, decode)


def renew_presence(
    keys: DeskKeys, *, operator: str, lease_ms: int, is_sign: int, capacity: int | str, available: int | str
) -> Call[Presence]:
    used = (keys.presence, keys.operators, keys.seats, keys.lapsed, keys.counts)
    args = (operator, lease_ms, is_sign, capacity, available)
    return Call(load("renew_presence"), used, args, Reply(_presence))


def mark_lapsed(keys: DeskKeys, *, limit: int) -> Call[tuple[list[tuple[bytes, bytes]], list[bytes]]]:
    """Operators with the generations that have lapsed, and sessions whose operators may have been silent too long."""
    return Call(load("mark_lapsed"), keys, (limit,), Reply(lambda facts: pair(facts, flat_scores, texts)))


def end_lapse(keys: DeskKeys, *, operator: str, generation: int) -> Call[None]:
    return Call(load("end_lapse"), (keys.lapsed,), (operator, generation), Reply(nothing))


def list_seats(
    keys: DeskKeys, *, lowest: str | bytes, highest: str | bytes, limit: int
) -> Call[list[tuple[bytes, bytes | None]]]:
    """Seats, ``operator session`` in lines, with the entries of their sessions."""
    return Call(load("list_seats"), (keys.entries, keys.seats), (lowest, highest, limit), Reply(one(_seats)))


def list_operators(keys: DeskKeys) -> Call[list[tuple[bytes, Presence]]]:
    used = (keys.seats, keys.presence, keys.operators)
    return Call(load("list_operators"), used, (), Reply(one(_operators)))


def forget_operators(keys: DeskKeys, *, oldest: int) -> Call[None]:
    return Call(load("forget_operators"), (keys.seats, keys.presence, keys.operators), (oldest,), Reply(nothing))


def read_counts(keys: DeskKeys, *, step: int) -> Call[Counts]:
    used = (keys.queue, keys.teams, keys.seats, keys.leases, keys.counts)
    return Call(load("read_counts"), used, (step,), Reply(_counts))


def plan_check(index: bytes, *, member: str, after_ms: int) -> Call[None]:
    return Call(load("plan_check"), (index,), (member, after_ms), Reply(nothing))


def _stepped(count: int, facts: Facts) -> tuple[dict[bytes, bytes], list[Stored]]:
    if len(facts) != 3 or type(facts[2]) is not list:  # noqa: PLR2004
        refuse(facts)
    return fields(facts[1]), read_stored(count, facts[2][1:])


def _rank_and_presence(facts: Facts) -> tuple[int, bool]:
    rank, present = pair(facts, integer, integer)
    return rank, bool(present)


def _lease(facts: Facts) -> Lease:
    if len(facts) != 4:  # noqa: PLR2004
        refuse(facts)
    return Lease(text(facts[0]), text(facts[1]), whole(facts[2]), whole(facts[3]))


def _refuse_full(operator: str, facts: Facts) -> None:
    assigned, capacity = pair(facts, integer, integer)
    raise OperatorFull(operator, assigned, capacity)


def _presence(facts: Facts) -> Presence:
    if len(facts) != 6:  # noqa: PLR2004
        refuse(facts)
    generation, capacity, available, seen = texts(facts[:4])
    return _make_presence(generation, capacity, available, seen, facts[4], facts[5])


def _make_presence(
    generation: bytes, capacity: bytes, available: bytes, seen: bytes, deadline: Any, assigned: Any
) -> Presence:
    most = -1 if capacity == b"-1" else whole(capacity)
    return Presence(whole(generation), most, available == b"1", whole(seen), whole_score(deadline), integer(assigned))


def _seats(reply: Any) -> list[tuple[bytes, bytes | None]]:
    if type(reply) is not list or len(reply) % 2:
        refuse(reply)
    return [(text(member), optional_text(entry)) for member, entry in zip(reply[::2], reply[1::2], strict=True)]


def _operators(reply: Any) -> list[tuple[bytes, Presence]]:
    found = []
    for operator, deadline, assigned, record in paired(texts(reply), 4):
        words = record.split(b" ")
        if len(words) != 4:  # noqa: PLR2004
            refuse(record)
        generation, capacity, available, seen = words
        presence = _make_presence(generation, capacity, available, seen, deadline, whole(assigned))
        found.append((operator, presence))
    return found


def _counts(facts: Facts) -> Counts:
    if len(facts) != 5:  # noqa: PLR2004
        refuse(facts)
    teams = [(team, whole(count)) for team, count in paired(texts(facts[0]))]
    return Counts(teams, integer(facts[1]), whole(facts[2]), fields(facts[3]), whole(facts[4]))
