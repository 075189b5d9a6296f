"""The commands about what is said in a session and who answers: history, say, retract, clear, switch."""

from typing import Annotated, Any, cast

import typer

from chat_session.cli.failures import PARTLY
from chat_session.cli.lines import Source, read_text
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, SessionId, Url, read_number
from chat_session.cli.output import Output, visible
from chat_session.cli.tables import facts_table, history_table
from chat_session.errors import SessionNotFound
from chat_session.manager import SessionManager
from chat_session.session import Agent

Epoch = Annotated[
    int | None, typer.Option(metavar="N", help="Refuse the change if the agent was switched since epoch N.")
]


def history(
    session: SessionId,
    limit: Annotated[int, typer.Option(metavar="N", help="The newest N messages.")] = 20,
    before: Annotated[int | None, typer.Option(metavar="SEQ", help="Only messages before this one.")] = None,
    after: Annotated[int | None, typer.Option(metavar="SEQ", help="Only messages after this one.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Only what a customer may read.")] = False,
    url: Url = None,
    json: Json = False,
) -> int:
    """Show a session's messages, oldest first.

    With who spoke, the calls that a message makes or answers, and the beginning of its content. Internal
    messages are marked. With --json a content is given as it is stored.
    """

    async def work(manager: SessionManager) -> int:
        messages = await manager.get_history(session, limit, before=before, after=after, include_internal=not public)
        if not messages and not await manager.is_session_active(session):
            raise SessionNotFound(session)
        shown = history_table(messages) if messages else visible("There are no messages.")
        Output(json).answer([message.to_raw_dict() for message in messages], shown)
        return 0

    return run_on_store(url, work)


def say(
    session: SessionId,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What is said; - reads standard input.", show_default=False)
    ],
    sender: Annotated[
        str, typer.Option("--from", metavar="SENDER", help="user, assistant, system, tool or operator.")
    ] = "user",
    message_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Sent again with the same id, it is stored once.")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(metavar="N", help="Refuse the message if the agent was switched since epoch N.")
    ] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Append a message to a session."""

    async def work(manager: SessionManager) -> int:
        said = await read_text(Source("-")) if text == "-" else text
        message: dict[str, Any] = {"from": sender, "text": said, "id": message_id}
        result = await manager.add_message(session, message, epoch=epoch)
        known = " (it was stored before)" if result.duplicate else ""
        shown = visible(f"message {result.seq} of session {session}: id {result.message_id}{known}")
        Output(json).answer(result.to_dict(), shown)
        return 0

    return run_on_store(url, work)


def retract(
    session: SessionId,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="The message's id.", show_default=False)],
    epoch: Epoch = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Erase a message for everyone.

    Its place and its id stay, so that no repeated delivery brings it back. Exit code 1 if there is no
    such message.
    """

    async def work(manager: SessionManager) -> int:
        result = await manager.retract_message(session, message, epoch=epoch)
        shown = f"message {message} of session {session}: {'retracted' if result.success else 'no such message'}"
        Output(json).answer(result.to_dict(), visible(shown))
        return 0 if result.success else PARTLY

    return run_on_store(url, work)


def clear(session: SessionId, epoch: Epoch = None, url: Url = None, json: Json = False) -> int:
    """Remove all messages of a session, which itself stays.

    Their ids are forgotten. The numbers of later messages go on from theirs. With --json:
    `{"sessionId": ID, "removed": COUNT}`.
    """

    async def work(manager: SessionManager) -> int:
        removed = await manager.clear_history(session, epoch=epoch)
        Output(json).answer({"sessionId": session, "removed": removed}, visible(f"{removed} messages removed"))
        return 0

    return run_on_store(url, work)


def switch(
    session: SessionId,
    agent: Annotated[str, typer.Argument(metavar="ai|human", help="Who answers from now on.", show_default=False)],
    expect: Annotated[
        str | None, typer.Option(metavar="EPOCH|ai|human", help="Only if this is current now; else exit code 4.")
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Stored as a system message in the same step.")
    ] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Hand a session over to the AI or to a human."""
    expected = None if expect is None else read_number(expect)
    seen = cast("Agent | int | None", expect if expected is None else expected)  # the manager refuses other words

    async def work(manager: SessionManager) -> int:
        result = await manager.switch_agent(session, cast("Agent", agent), expect=seen, note=note)
        shown = facts_table([("session", session), ("agent", result.new_agent), ("epoch", result.epoch)])
        Output(json).answer(result.to_dict(), shown)
        return 0

    return run_on_store(url, work)
