"""The desk as tables for a terminal: the queue, the operators, and the figures."""

from bisect import bisect_right
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from chat_session.cli.desk_view import DeskView, figure_lines, figures, in_one_line, is_away, since, summary
from chat_session.cli.output import visible
from chat_session.cli.tables import make_table
from chat_session.desk_results import DeskEntry, Operator

LONG_WAIT = 300  # seconds; who waits longer is marked
URGENT = 7  # the priority from which a session is marked
LOW = 32  # lines of a terminal on which the figures are no table
NARROW = 100  # cells of a line in which names are short
_OPERATOR, _OPERATORS = 30, 10  # cells of a name, rows
_BESIDE_REASON = 62  # cells of the queue's other columns but the team, with a random session id
_LEAST_REASON = 10  # cells


def desk_table(view: DeskView, console: Console, height: int | None = None) -> RenderableType:
    """All of it; with ``height`` as much of the queue as fits into so many lines of the console."""
    if height is None:
        return _whole(view, console.width, len(view.waiting), len(view.operators), low=False)
    operators = min(len(view.operators), max(height // 8, 2), _OPERATORS)

    def build(entries: int) -> RenderableType:
        return _whole(view, console.width, entries, operators, low=height < LOW)

    fitting = bisect_right(
        range(1, len(view.waiting) + 1), height, key=lambda entries: len(console.render_lines(build(entries)))
    )
    return build(max(fitting, 1))


def _whole(view: DeskView, width: int, entries: int, operators: int, *, low: bool) -> RenderableType:
    return Group(
        visible(f"{view.at:%H:%M:%S}Z  ", "dim").append_text(visible(summary(view.stats), "not dim bold")),
        _queue(view, view.waiting[:entries], width),
        _operators(view, view.operators[:operators]),
        Text("\n".join(figure_lines(view.stats))) if low else _figures(view),
    )


def _queue(view: DeskView, entries: Sequence[DeskEntry], width: int) -> RenderableType:
    if not view.waiting:
        return visible("Nobody waits.", "green")
    table = _tight_table("session", "team", "prio", "waiting", "reason")
    teams = [_short(entry.team or "", 10 if width < NARROW else 20) for entry in entries]
    left = width - _BESIDE_REASON - max(team.cell_len for team in teams)
    for entry, team in zip(entries, teams, strict=True):
        waited = 0.0 if entry.waiting_since is None else (view.at - entry.waiting_since).total_seconds()
        table.add_row(
            visible(entry.session_id),
            team,
            Text(str(entry.priority), "bold red" if entry.priority >= URGENT else "", justify="right"),
            Text(since(entry.waiting_since, view.at), "yellow" if waited > LONG_WAIT else "", justify="right"),
            _short(entry.reason or "", max(left, _LEAST_REASON)),
        )
    return _with_rest(table, view.queue_length - len(entries), "wait")


def _operators(view: DeskView, operators: Sequence[Operator]) -> RenderableType:
    if not view.operators:
        return visible("No operator is present.", "yellow")
    table = _tight_table("operator", "", "sessions", "last sign")
    for operator in operators:
        if is_away(operator, view.at):
            state = Text("away", "red")
        else:
            state = Text("available", "green") if operator.available else Text("not available", "yellow")
        table.add_row(
            _short(operator.operator_id, _OPERATOR),
            state,
            Text(f"{operator.assigned}/{operator.capacity}", justify="right"),
            Text(since(operator.seen_at, view.at), justify="right"),
        )
    return _with_rest(table, len(view.operators) - len(operators), "operators")


def _figures(view: DeskView) -> Table:
    table = _tight_table("", "last hour", "last day")
    hour, day = figures(view.stats.hour), figures(view.stats.day)
    for name, words in hour.items():
        table.add_row(Text(name), Text(words), Text(day[name]))
    return table


def _tight_table(*columns: str) -> Table:
    """Without blank lines around it: several of them stand on one screen."""
    table = make_table(*columns)
    table.show_edge = table.pad_edge = False
    return table


def _with_rest(table: Table, rest: int, of_what: str) -> RenderableType:
    return Group(table, visible(f"… {rest} more {of_what}", "dim")) if rest > 0 else table


def _short(text: str, cells: int) -> Text:
    shown = visible(in_one_line(text))
    shown.truncate(cells, overflow="ellipsis")
    return shown
