"""The commands about sessions: create, show, list, update, count, ttl, extend, delete."""

from types import EllipsisType
from typing import Annotated, Any, cast

import msgspec
import typer

from chat_session.cli.failures import PARTLY, report
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, SessionId, Ttl, Url, UserId, read_ttl
from chat_session.cli.output import Output, visible
from chat_session.cli.tables import duration, facts_table, make_table, session_table, sessions_table
from chat_session.errors import SessionNotFound
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager
from chat_session.session import Agent, check_session_id


def create(
    user: UserId,
    session_id: Annotated[str | None, typer.Option(metavar="ID", help="Left out: a random one.")] = None,
    ttl: Ttl = None,
    agent: Annotated[str, typer.Option(metavar="ai|human", help="Who answers first.")] = "ai",
    meta: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Metadata; VALUE is JSON if it reads as JSON, else text. Repeatable."),
    ] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Start a session."""
    metadata = _read_metadata(meta or [], "--meta")
    seconds: int | EllipsisType | None = ... if ttl is None else read_ttl(ttl)
    first = cast("Agent", agent)  # the manager refuses other words

    async def work(manager: SessionManager) -> int:
        session = await manager.create_session(user, metadata, session_id=session_id, ttl=seconds, agent=first)
        left = -1 if session.ttl is None else session.ttl
        Output(json).answer(session.to_dict(), session_table(session, left))
        return 0

    return run_on_store(url, work, create=True)


def show(session: SessionId, url: Url = None, json: Json = False) -> int:
    """Show a session."""

    async def work(manager: SessionManager) -> int:
        found = await manager.get_session(session)
        if found is None:
            raise SessionNotFound(session)
        left = await manager.get_session_ttl(session)
        Output(json).answer(found.to_dict(), session_table(found, left))
        return 0

    return run_on_store(url, work)


def list_sessions(
    user: Annotated[
        str | None, typer.Argument(metavar="USER", help="Whose sessions. Left out: all users'.", show_default=False)
    ] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="ai|human", help="Of all users' sessions only those where this one answers.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="The size of a page.")] = 100,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="The next page, as the page before names it.")
    ] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """List sessions, page by page.

    A user's come with the newest first; those of all users in no order, and with --agent a page may be
    short, even empty, and still have a next one. A session that cannot be read is named on stderr
    (exit code 1).

    With --json: `{"sessions": [...], "cursor": CURSOR, "damaged": [...]}`; the cursor of the last page is null.
    """
    if user is not None and agent is not None:
        raise typer.BadParameter("It applies to the list of all users only. Leave USER out.", param_hint="--agent")

    async def work(manager: SessionManager) -> int:
        if user is None:
            page = await Inspector(manager).list_sessions(cursor, limit, agent=cast("Agent | None", agent))
        else:
            page = await manager.list_user_sessions(user, limit=limit, cursor=cursor)
        output = Output(json)
        nothing = "There are no sessions." if user is None else f"The user '{user}' has no sessions."
        found = page.sessions or page.damaged or page.cursor
        output.answer(page.to_dict(), sessions_table(page.sessions, user) if found else visible(nothing))
        if page.cursor is not None:
            output.tell(visible(f"There are more. For the next page add: --cursor {page.cursor}"))
        for damage in page.damaged:
            report(damage, json=json)
        return PARTLY if page.damaged else 0

    return run_on_store(url, work)


def update(
    session: SessionId,
    entries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE...]", help="VALUE is JSON if it reads as JSON, else text.", show_default=False
        ),
    ] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Remove this entry. Repeatable.")] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Change a session's metadata: set some entries, remove others, leave the rest.

    Its deadline does not move. An entry that is set to null is removed, too.
    """
    changes = _read_metadata(entries or [], "KEY=VALUE")
    for key in remove or []:
        if changes.setdefault(key) is not None:
            raise typer.BadParameter(
                f"{key[:60]!r} is also set. Set an entry or remove it, not both.", param_hint="--remove"
            )
    if not changes:
        raise typer.BadParameter("Name an entry to set, or an entry to remove with --remove.", param_hint="KEY=VALUE")

    async def work(manager: SessionManager) -> int:
        changed = await manager.update_session(session, changes)
        left = await manager.get_session_ttl(session)
        Output(json).answer(changed.to_dict(), session_table(changed, left))
        return 0

    return run_on_store(url, work)


def count(url: Url = None, json: Json = False) -> int:
    """Count the sessions that live now."""

    async def work(manager: SessionManager) -> int:
        active = await manager.get_active_sessions_count()
        Output(json).answer({"activeSessions": active}, visible(f"{active} active sessions"))
        return 0

    return run_on_store(url, work)


def ttl(
    session: SessionId,
    value: Annotated[str | None, typer.Argument(metavar="SECONDS|never", show_default=False)] = None,
    url: Url = None,
    json: Json = False,
) -> int:
    """Show or set how long a session still lives.

    Set, it is SECONDS from now and slides by that from here on. With --json:
    `{"sessionId": ID, "ttl": SECONDS}`, -1 for never.
    """
    chosen = None if value is None else read_ttl(value)

    async def work(manager: SessionManager) -> int:
        if value is not None:
            await manager.set_session_ttl(session, chosen)
        return await _show_left(manager, session, Output(json))

    return run_on_store(url, work)


def extend(session: SessionId, url: Url = None, json: Json = False) -> int:
    """Slide a session's deadline by its own ttl."""

    async def work(manager: SessionManager) -> int:
        await manager.extend_session(session)
        return await _show_left(manager, session, Output(json))

    return run_on_store(url, work)


def delete(
    sessions: Annotated[list[str], typer.Argument(metavar="SESSION...", help="Their ids.", show_default=False)],
    url: Url = None,
    json: Json = False,
) -> int:
    """Delete sessions with their messages.

    Exit code 1 if one of them was not there.
    """
    ids = [check_session_id(session) for session in dict.fromkeys(sessions)]  # all of them before the first is gone

    async def work(manager: SessionManager) -> int:
        results = {session_id: await manager.delete_session(session_id) for session_id in ids}
        table = make_table("session", "")
        for session_id, result in results.items():
            table.add_row(visible(session_id), "deleted" if result.success else "no such session")
        Output(json).answer([{"sessionId": i, **result.to_dict()} for i, result in results.items()], table)
        return 0 if all(result.success for result in results.values()) else PARTLY

    return run_on_store(url, work)


async def _show_left(manager: SessionManager, session_id: str, output: Output) -> int:
    left = await manager.get_session_ttl(session_id)
    if left == -2:  # noqa: PLR2004 - the specification's number for "no such session"
        raise SessionNotFound(session_id)
    shown = facts_table([("session", session_id), ("left", duration(None if left < 0 else left))])
    output.answer({"sessionId": session_id, "ttl": left}, shown)
    return 0


def _read_metadata(words: list[str], where: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise typer.BadParameter(
                f"Metadata must have the form KEY=VALUE, but {word[:60]!r} has not.", param_hint=where
            )
        if key in metadata:
            raise typer.BadParameter(f"{key[:60]!r} is given twice. Give it once.", param_hint=where)
        metadata[key] = _read_value(value)
    return metadata


def _read_value(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return text
