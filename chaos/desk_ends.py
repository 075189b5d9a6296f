"""The invariant I25: at the end, sessions are what their last markers say, and the lists of the desk follow."""

from collections.abc import Callable, Iterator

from chaos.case import Case, Violation
from chaos.desk_case import handled_sessions
from chaos.snapshot import DeskLists, VisibleSession

STATES = ("open", "waiting", "assigned")


def _the_last_marker_is_true(case: Case) -> Iterator[Violation]:
    """I25: a session is open, waiting or assigned, in the epoch that its last marker began."""
    for handled in handled_sessions(case):
        session, last, visible = handled.transcript.session, handled.transcript.last, handled.transcript.visible
        desk = visible.desk
        shown = desk.state, desk.operator_id, visible.epoch
        said = last.state, last.operator, last.epoch
        if shown != said or desk.state not in STATES:
            yield Violation("I25", session, f"it is {shown}; its last marker says {said}")
        if last.state == desk.state != "open" and (desk.priority, desk.team) != (last.priority, last.team):
            text = f"its priority and team are {desk.priority, desk.team}; its markers say {last.priority, last.team}"
            yield Violation("I25", session, text)
        wanted = {"open": "ai", "assigned": "human"}.get(desk.state, visible.agent)
        if visible.agent != wanted:
            yield Violation("I25", session, f"it is {desk.state}, and {visible.agent} answers")


def _lists_follow_the_sessions(case: Case) -> Iterator[Violation]:
    """I25: after the last sweep the queue, the seats and the counts are what the sessions say."""
    lists = case.snapshot.desk
    if lists is None or case.allowances.lossy:
        return
    queue = sorted(((session, each) for session, each in case.snapshot.visible.items()), key=_place)
    waiting = [session for session, each in queue if each.desk.state == "waiting"]
    teams: dict[str, list[str]] = {}
    for session in waiting:
        teams.setdefault(case.snapshot.visible[session].desk.team or "", []).append(session)
    seats: dict[str, set[str]] = {}
    for session, each in case.snapshot.visible.items():
        if each.desk.state == "assigned" and each.desk.operator_id is not None:
            seats.setdefault(each.desk.operator_id, set()).add(session)
    yield from _differences("the queue", lists.queue, waiting)
    for team in sorted({*lists.teams, *teams} - {""}):
        yield from _differences(f"the queue of {team}", lists.teams.get(team, []), teams.get(team, []))
    yield from _differences("those waiting", lists.waiting, {team: len(found) for team, found in teams.items()})
    listed = {operator: set(found) for operator, found in lists.seats.items()}
    yield from _differences("the seats", listed, seats)
    yield from _differences("those assigned", lists.assigned, sum(map(len, seats.values())))
    for operator, taken in lists.taken.items():
        yield from _differences(f"the sessions of {operator}", taken, len(seats.get(operator, ())))
    yield from _lifetimes(case, lists)


def _lifetimes(case: Case, lists: DeskLists) -> Iterator[Violation]:
    """I25: a session lives at least WAITING_TTL while people depend on it, and has its own ttl afterwards."""
    for session in sorted(case.handled):
        visible, stored = case.snapshot.visible.get(session), case.snapshot.stored.get(session)
        if visible is None or stored is None or visible.ttl is None:
            continue
        desk = visible.desk
        is_handled = desk.state == "waiting" or desk.operator_id is not None
        wanted = max(visible.ttl, lists.ttl) if is_handled else visible.ttl
        if stored.ttl != wanted and not (desk.state == "assigned" and desk.operator_id is None):
            yield Violation("I25", session, f"it is {desk.state} with a ttl of {stored.ttl}, not {wanted}")


def _place(session: tuple[str, VisibleSession]) -> tuple[int, float, str]:
    name, visible = session
    since = visible.desk.waiting_since
    return -visible.desk.priority, 0.0 if since is None else since.timestamp(), name


def _differences(what: str, found: object, wanted: object) -> Iterator[Violation]:
    if found != wanted:
        yield Violation("I25", "", f"of {what} the desk says {found}, the sessions say {wanted}"[:1000])


RULES: tuple[Callable[[Case], Iterator[Violation]], ...] = (_the_last_marker_is_true, _lists_follow_the_sessions)
