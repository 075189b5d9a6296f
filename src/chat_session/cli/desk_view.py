"""What the command desk shows: one look at the queue, the operators and the figures."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from chat_session.cli.runner import task_group
from chat_session.clock import now, to_iso
from chat_session.desk import Desk
from chat_session.desk_results import DeskFigures, DeskPage, DeskStats, Operator

MAX_TEAMS = 8  # named in the line above the table
_TAKEOVERS = {"taken_over": "taken over"}  # the others are words already


class DeskView(NamedTuple):
    """``waiting``: the first part of the queue, of ``team`` if that is not None. All else is of the whole desk."""

    waiting: DeskPage
    operators: list[Operator]
    stats: DeskStats
    at: datetime
    team: str | None = None

    @property
    def queue_length(self) -> int:
        """How many wait, also those who are not in ``waiting``."""
        counts = self.stats.waiting
        counted = sum(counts.values()) if self.team is None else counts.get(self.team, 0)
        return max(counted, len(self.waiting))

    def to_dict(self) -> dict[str, Any]:
        return {
            "at": to_iso(self.at),
            "waiting": [entry.to_dict() for entry in self.waiting],
            "cursor": self.waiting.cursor,
            "operators": [{**operator.to_dict(), "away": is_away(operator, self.at)} for operator in self.operators],
            "stats": self.stats.to_dict(),
        }


async def read_view(desk: Desk, team: str | None, limit: int) -> DeskView:
    """Three reads at once. Raises InvalidInput for a bad team or limit, StoreError."""
    async with task_group() as group:
        waiting = group.create_task(desk.waiting(team=team, limit=limit))
        operators = group.create_task(desk.operators())
        stats = group.create_task(desk.stats())
    return DeskView(waiting.result(), operators.result(), stats.result(), now(), team)


def is_away(operator: Operator, at: datetime) -> bool:
    """The presence has lapsed, and no sweep has put the operator's sessions back yet."""
    return operator.present_until <= at


def summary(stats: DeskStats) -> str:
    """How many wait for whom, and how many sessions are with operators."""
    teams = sorted(stats.waiting.items(), key=lambda each: (-each[1], each[0]))
    named = [f"{team or 'no team'} {count}" for team, count in teams[:MAX_TEAMS]]
    if len(teams) > MAX_TEAMS:
        named.append(f"{len(teams) - MAX_TEAMS} more teams")
    waiting = f"{sum(stats.waiting.values())} waiting"
    if teams:
        waiting += f" ({', '.join(named)}), longest wait {span(stats.longest_wait)}"
    return f"{waiting}; {stats.assigned} assigned"


def figures(of: DeskFigures) -> dict[str, str]:
    """What happened in an hour or a day, as names and words."""
    ways = [f"{count} {_TAKEOVERS.get(way, way)}" for way, count in of.takeovers.items()]
    share = f" ({of.sessions_handled / of.sessions_created:.0%})" if of.sessions_created else ""
    return {
        "requests": f"{of.requests}",
        "takeovers": f"{sum(of.takeovers.values())}" + (f" ({', '.join(ways)})" if ways else ""),
        "handed back": f"{of.hand_backs}",
        "lapses": f"{of.lapses}",
        "people handled": f"{of.sessions_handled} of {of.sessions_created} new sessions{share}",
        "wait (median, 95 %)": _pair(of.wait_median, of.wait_p95),
        "response (median, 95 %)": _pair(of.first_response_median, of.first_response_p95),
    }


def figure_lines(stats: DeskStats) -> Iterator[str]:
    """The same in a line for the hour and one for the day."""
    for name, period in (("hour", stats.hour), ("day", stats.day)):
        yield f"last {name}: " + "; ".join(f"{what} {words}" for what, words in figures(period).items())


def _pair(median: float | None, p95: float | None) -> str:
    return "none" if median is None or p95 is None else f"{span(median)}, {span(p95)}"


def span(seconds: float) -> str:
    """A length of time in at most two units: 45 s, 12 min, 3 h 5 min, 2 d 4 h."""
    whole = max(int(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if not minutes:
        return f"{whole} s"
    if not hours:
        return f"{minutes} min"
    if not days:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def since(moment: datetime | None, at: datetime) -> str:
    """How long ago. Nothing, if that is not known."""
    return "" if moment is None else span((at - moment).total_seconds())


def in_one_line(text: str) -> str:
    return " ".join(text.splitlines())
