"""The commands of an operator on one session: take, answer, hand-back, transfer."""

from typing import Annotated, Any

import typer
from rich.console import Group

from chat_session.cli.failures import PARTLY, report
from chat_session.cli.lines import Source, read_text
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, Note, OperatorId, SessionId, Url
from chat_session.cli.output import Output, visible
from chat_session.cli.tables import handed_table, history_table, session_table
from chat_session.desk import Desk
from chat_session.errors import ChatSessionError
from chat_session.manager import SessionManager
from chat_session.paging import MAX_LIMIT
from chat_session.session import Session


def take(
    operator: OperatorId,
    session: Annotated[
        str | None,
        typer.Argument(metavar="SESSION", help="Left out: the next one that waits.", show_default=False),
    ] = None,
    team: Annotated[
        list[str] | None,
        typer.Option(metavar="TEAM", help="Only a session that waits for this team. Repeatable; without SESSION."),
    ] = None,
    expect_waiting: Annotated[
        bool, typer.Option("--expect-waiting", help="Only if SESSION waits for a person; else exit code 4.")
    ] = False,
    messages: Annotated[int, typer.Option(metavar="N", min=1, max=MAX_LIMIT, help="Show the last N messages.")] = 10,
    url: Url = None,
    json: Json = False,
) -> int:
    """Take a session as an operator, and see who the customer is and what was said last.

    Without SESSION it is the next one that waits; exit code 1 if nobody waits, 4 if the operator has as many
    sessions as the operator's capacity. With SESSION it is that one, whoever has it.

    With --json: `{"session": …, "messages": […]}`; the session is null if nobody waits.
    """
    if session is None and expect_waiting:
        raise typer.BadParameter("It needs a SESSION. Without one, only a session that waits is taken.")
    if session is not None and team:
        raise typer.BadParameter("It is for the next session that waits. Leave SESSION out.", param_hint="--team")

    async def work(manager: SessionManager) -> int:
        desk = Desk(manager)
        if session is None:
            taken = await desk.claim_next(operator, teams=team or ())
        else:
            taken = await desk.take_over(session, operator, expect="waiting" if expect_waiting else None)
        if taken is None:
            Output(json).answer({"session": None, "messages": []}, visible(_nobody_waits(team)))
            return PARTLY
        return await _show_taken(manager, taken, messages, json=json)

    return run_on_store(url, work)


def answer(
    session: SessionId,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What is said; - reads standard input.", show_default=False)
    ],
    operator: OperatorId,
    polite: Annotated[
        bool, typer.Option("--polite", help="Only if the operator has the session; else exit code 4.")
    ] = False,
    message_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Sent again with the same id, it is stored once.")
    ] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Write to the customer as an operator.

    If the operator has not got the session, the same step takes it over, unless --polite is given.
    """

    async def work(manager: SessionManager) -> int:
        said = await read_text(Source("-")) if text == "-" else text
        message: dict[str, Any] = {"text": said, "id": message_id}
        result = await Desk(manager).answer(session, operator, message, polite=polite)
        known = " (it was stored before)" if result.duplicate else ""
        shown = visible(f"message {result.seq} of session {session}: id {result.message_id}{known}")
        Output(json).answer(result.to_dict(), shown)
        return 0

    return run_on_store(url, work)


def hand_back(
    session: SessionId,
    operator: OperatorId,
    note: Note = None,
    say: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Told to the customer in the same step, as the assistant.")
    ] = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="What the customer wanted is done.")] = False,
    url: Url = None,
    json: Json = False,
) -> int:
    """Return a session to the AI.

    Exit code 4 if another operator has it.
    """

    async def work(manager: SessionManager) -> int:
        given_back = await Desk(manager).hand_back(session, operator, note=note, say=say, resolved=resolved)
        Output(json).answer(given_back.to_dict(), handed_table(given_back))
        return 0

    return run_on_store(url, work)


def transfer(
    session: SessionId,
    operator: OperatorId,
    to: Annotated[str | None, typer.Option(metavar="NAME", help="To this operator.")] = None,
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Into the queue of this team.")] = None,
    note: Note = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Give a session that the operator has to another operator, or into the queue of a team.

    Exit code 4 if the operator has not got it.
    """
    if (to is None) == (team is None):
        raise typer.BadParameter("Give one of the two.", param_hint="--to / --team")

    async def work(manager: SessionManager) -> int:
        given = await Desk(manager).transfer(session, operator, to=to, team=team, note=note)
        Output(json).answer(given.to_dict(), handed_table(given))
        return 0

    return run_on_store(url, work)


def _nobody_waits(teams: list[str] | None) -> str:
    if not teams:
        return "Nobody waits for a person."
    return f"Nobody waits for {' or '.join(f'team {team!r}' for team in teams)}."


async def _show_taken(manager: SessionManager, taken: Session, limit: int, *, json: bool) -> int:
    """The session is taken already, so it is shown also where its messages cannot be read."""
    failure, history, left = None, [], -1
    try:
        left = await manager.get_session_ttl(taken.session_id)
        history = await manager.get_history(taken.session_id, limit, include_internal=True)
    except ChatSessionError as error:
        failure = error
    shown = [session_table(taken, left), history_table(history) if history else visible("There are no messages.")]
    document = {"session": taken.to_dict(), "messages": [message.to_raw_dict() for message in history]}
    Output(json).answer(document, Group(*(shown[:1] if failure else shown)))
    return 0 if failure is None else report(failure, json=json)
