"""The command desk: who waits for a person, which operators are there, and what happened lately."""

import asyncio
import sys
from math import isfinite
from typing import Annotated, NoReturn

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from chat_session.cli.desk_lines import desk_lines
from chat_session.cli.desk_table import desk_table
from chat_session.cli.desk_view import DeskView, read_view
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, Url
from chat_session.cli.output import OUT, Output, visible, warnings_hidden
from chat_session.desk import Desk
from chat_session.errors import StoreError
from chat_session.manager import SessionManager

SHORTEST, LONGEST = 0.1, 3600.0  # seconds between two looks


def desk(
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Only the queue of this team.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="The first N sessions that wait.")] = 50,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="How often the table is renewed.")] = 2.0,
    present_as: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Be present as this operator, whose sessions stay while the table is shown."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    url: Url = None,
    json: Json = False,
) -> int:
    """Show the desk: who waits for a person, the operators, and what happened in the last hour and day.

    On a terminal it is a table that is renewed until Ctrl-C. Into a pipe or a file it is written once, as plain
    lines. With --json it is one JSON document.
    """
    if not isfinite(interval) or not SHORTEST <= interval <= LONGEST:
        raise typer.BadParameter(
            f"It must be a number of seconds from {SHORTEST} to {LONGEST:,.0f}.", param_hint="--interval"
        )
    # A terminal that cannot move its cursor would show nothing before the end.
    on_terminal = sys.stdout.isatty() and OUT.is_terminal and not OUT.is_dumb_terminal

    async def work(manager: SessionManager) -> int:
        looking = _Looking(Desk(manager), team, limit, present_as)
        if on_terminal and not once and not json:
            await looking.show_live(interval)
        _show(await looking.read(), on_terminal=on_terminal, json=json)
        return 0

    return run_on_store(url, work)


def _show(view: DeskView, *, on_terminal: bool, json: bool) -> None:
    if json:
        Output(json).answer(view.to_dict(), "")
    elif on_terminal:
        OUT.print(desk_table(view, OUT))
    else:
        for line in desk_lines(view):
            OUT.print(visible(line), soft_wrap=True)


class _Looking:
    """Looks at one desk, again and again."""

    def __init__(self, desk: Desk, team: str | None, limit: int, operator: str | None) -> None:
        self._desk = desk
        self._team = team
        self._limit = limit
        self._operator = operator  # who looks

    async def read(self) -> DeskView:
        if self._operator is not None:
            await self._desk.operator_seen(self._operator)
        return await read_view(self._desk, self._team, self._limit)

    async def show_live(self, interval: float) -> NoReturn:
        """Until it is cancelled. An error of the first look ends it; later ones are shown, and the next look comes."""
        view = await self.read()
        problem = ""
        with (
            warnings_hidden(),
            Live(console=OUT, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live,
        ):
            while True:
                live.update(_frame(view, problem), refresh=True)
                await asyncio.sleep(interval)
                try:
                    view = await self.read()
                    problem = ""
                except StoreError as error:
                    problem = str(error)


def _frame(view: DeskView, problem: str) -> RenderableType:
    """As high as the terminal at most. With a problem, what was seen last stands under it."""
    if not problem:
        return desk_table(view, OUT, OUT.height - 1)
    said = visible(f"error: {problem}", "red")
    lines = len(OUT.render_lines(said, pad=False))
    return Group(said, desk_table(view, OUT, OUT.height - 1 - lines))
