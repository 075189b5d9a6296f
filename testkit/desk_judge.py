"""What must be true of a session and of the desk whatever the order of calls was, and after a crash."""

from typing import Any, NamedTuple

from chat_session.markers import HANDOFF
from chat_session.storage.codec import decode_message
from chat_session.storage.contract import Stepped
from testkit.desk_calls import BYPASSES, World
from testkit.desk_state import DeskState, differences, expected_desk_state, find_session, read_desk_state
from testkit.orders import Calls


def look_at_others(world: World) -> Any:
    """What the desk and the server have of the sessions that nobody touches."""
    found = [find_session(world.server, world.keys, name) for name in ("t", "u")]
    entries = world.server.send(
        (b"HMGET", world.desk_keys.entries, b"t", b"u"),
        *((b"LRANGE", world.keys.session(name).history, 0, -1) for name in ("t", "u")),
    )
    return [each and each.facts for each in found], entries


async def judge(world: World, names: tuple[str, ...], calls: Calls, *, is_crashed: bool) -> None:
    judge_transcript(world, names, calls)
    if not is_crashed and not {*BYPASSES, "delete"} & {*names}:
        judge_places(world)
    if is_crashed:
        copy = world.server.copy()
        await judge_claims(world)
        world.server.put_back(copy)
        world.end_leases()
    await check(world)
    judge_transcript(world, names, calls)
    assert await world.store().sessions.count_sessions() == len(
        [name for name in ("s", "t", "u") if find_session(world.server, world.keys, name)]
    )


def look(world: World, names: tuple[str, ...] = ("s", "t", "u")) -> tuple[DeskState, DeskState]:
    """What the desk says, and what follows from the sessions."""
    found = {name: find_session(world.server, world.keys, name) for name in names}
    return read_desk_state(world.server, world.keys, world.bucket), expected_desk_state(found)


async def check(world: World) -> None:
    """One sweep with all checks due leaves a desk that follows from the sessions."""
    world.make_checks_due()
    await world.store().desk.sweep()
    wrong = differences(*look(world))
    if {*wrong} == {"checks"}:  # after a switch without the desk the session is checked once more, a minute later
        world.make_checks_due()
        await world.store().desk.sweep()
        wrong = differences(*look(world))
    assert not wrong, wrong
    seats, present = world.server.send(
        (b"ZRANGE", world.desk_keys.seats, 0, -1), (b"ZRANGE", world.desk_keys.presence, 0, -1)
    )
    assert {seat.partition(b"\n")[0] for seat in seats} <= {*present}, "only those who are present have sessions"


def judge_places(world: World) -> None:
    """Queue and seats are right as soon as all calls have ended, without any check."""
    actual, expected = look(world)
    wrong = {
        name: each
        for name, each in differences(actual, expected).items()
        if name not in ("entries", "checks", "lapsed")
    }
    assert not wrong, wrong
    assert expected["checks"] <= actual["checks"]


async def judge_claims(world: World) -> None:
    """After a crash, before any check: when the leases are over, a session is claimed once, if it waits."""
    world.end_leases()
    before = find_session(world.server, world.keys, "s")
    store = world.store()
    got = [await store.desk.claim(operator, ["a", "b"]) for operator in ("first", "second")]
    claimed = [stepped.session.session_id for stepped in got if stepped is not None]
    assert claimed in ([], ["s"])
    if claimed:
        assert before is not None
        assert before.facts.state == "waiting"
    await check(world)
    if before is not None and before.facts.state == "waiting" and not claimed:
        found = await store.desk.claim("third", ["a", "b"])
        assert found is not None, "it is back after the check"
        judge_places(world)


class Marked(NamedTuple):
    state: str
    operator: str | None = None
    priority: int = 0
    team: str | None = None


def judge_transcript(world: World, names: tuple[str, ...], calls: Calls) -> None:
    """The markers tell what the session is; each step of a call that ended has one; and no answer is lost."""
    found = find_session(world.server, world.keys, "s")
    results = calls.results()
    if found is None:
        assert "delete" in names
        return
    assert found.session.current_agent == ("ai" if found.facts.state == "open" else "human")
    [elements] = world.server.send((b"LRANGE", world.keys.session("s").history, 0, -1))
    messages = [decode_message(element, i) for i, element in enumerate(elements)]
    for who, (name, result) in enumerate(zip(names, results, strict=True)):
        if name in ("answer", "note") and isinstance(result, Stepped):
            assert [message.id for message in messages].count(f"{name}{who}") == 1
    markers = [message.extra[HANDOFF] for message in messages if message.type == HANDOFF]
    events = [marker["event"] for marker in markers]
    for result in results:
        if isinstance(result, Stepped) and result.change is not None and result.change.event:
            assert result.change.event in events
    if {*BYPASSES} & {*names}:
        return
    told = Marked("open", None)
    for marker in markers:
        told = follow(told, marker)
    facts = found.facts
    assert told == Marked(facts.state, facts.operator, facts.priority, facts.team), events


def follow(before: Marked, marker: dict[str, Any]) -> Marked:
    """What a session is after a marker. Each step was possible in the state before."""
    event, operator = marker["event"], marker.get("operatorId")
    match event:
        case "requested":
            assert before.state == "open"
            return Marked("waiting", None, marker.get("priority", 0), marker.get("team"))
        case "raised":
            assert before.state == "waiting"
            assert before.priority < marker["priority"]
            return before._replace(priority=marker["priority"])
        case "claimed" | "taken_over" | "answered":
            assert before.state == "waiting" or event != "claimed"
            assert before.operator == marker.get("before") != operator
            return before._replace(state="assigned", operator=operator)
    assert (before.state, before.operator) in (("assigned", operator), ("waiting", None))
    if event == "handed_back":
        return Marked("open")
    assert before.state == "assigned"
    if marker.get("to"):
        return before._replace(operator=marker["to"])
    return before._replace(state="waiting", operator=None, team=marker.get("team", before.team))
