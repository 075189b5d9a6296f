"""What the keys of the desk say, and what they would say if they followed from the sessions alone."""

from typing import Any

from chat_session.desk_status import decode_facts, encode_facts
from chat_session.handoff import queue_place
from chat_session.storage.redis.desk.facts import Found, find
from chat_session.storage.redis.keys import Keys
from testkit.raw_server import RawServer

DeskState = dict[str, Any]  # the content of each key, by what it is


def find_session(server: RawServer, keys: Keys, session_id: str) -> Found | None:
    """None if it is gone."""
    key = keys.meta(session_id)
    [flat] = server.send((b"HGETALL", key))
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return find(key, fields, 0, 600) if b"userId" in fields else None


def read_desk_state(server: RawServer, keys: Keys, bucket: bytes) -> DeskState:
    """``bucket``: that of the checks."""
    desk = keys.desk()
    queue, teams, seats, entries, claims, leases, lapsed, idle, checks = server.send(
        (b"ZRANGE", desk.queue, 0, -1, b"WITHSCORES"),
        (b"ZRANGE", desk.teams, 0, -1),
        (b"ZRANGE", desk.seats, 0, -1),
        (b"HGETALL", desk.entries),
        (b"HGETALL", desk.claims),
        (b"ZRANGE", desk.leases, 0, -1),
        (b"ZRANGE", desk.lapsed, 0, -1),
        (b"ZRANGE", desk.idle, 0, -1),
        (b"ZRANGE", bucket, 0, -1),
    )
    return {
        "queue": {session: int(float(place)) for session, place in zip(queue[::2], queue[1::2], strict=True)},
        "teams": set(teams),
        "seats": set(seats),
        "entries": dict(zip(entries[::2], entries[1::2], strict=True)),
        "claims": claims,
        "leases": leases,
        "lapsed": lapsed,
        "idle": set(idle),
        "checks": set(checks),
    }


def expected_desk_state(found: dict[str, Found | None]) -> DeskState:
    """After every check. The sessions are the truth."""
    state: DeskState = {"queue": {}, "teams": set(), "seats": set(), "entries": {}, "idle": set(), "checks": set()}
    for name, each in found.items():
        if each is None or each.facts.state == "open" or _is_left_alone(each):
            continue
        session, facts = name.encode(), each.facts
        team, operator, place = (
            (facts.team or "").encode(),
            (facts.operator or "").encode(),
            b"%016d" % queue_place(facts),
        )
        if facts.state == "waiting":
            state["queue"][session] = queue_place(facts)
            state["teams"].add(b"\n".join((team, place, session)))
        else:
            state["idle"].add(session)
            if facts.operator is not None:
                state["seats"].add(b"\n".join((operator, session)))
        lines = (b"%d %s %s" % (facts.stamp, facts.state.encode(), place), team, operator, encode_facts(facts))
        state["entries"][session] = b"\n".join(lines)
        state["checks"].add(session)
    return state | {"claims": [], "leases": [], "lapsed": []}


def _is_left_alone(found: Found) -> bool:
    """Switched to a person without the desk while the desk did not look after it, and it does not yet."""
    return not found.stored or (found.is_bypassed and decode_facts(found.stored).state == "open")


def differences(actual: DeskState, expected: DeskState) -> dict[str, tuple[Any, Any]]:
    return {name: (actual[name], expected[name]) for name in expected if actual[name] != expected[name]}
