"""The command erase-user: all that there is of a user, after a question."""

import sys
from typing import Annotated

import typer

from chat_session.cli.failures import USAGE
from chat_session.cli.opening import run_on_store
from chat_session.cli.options import Json, Url, UserId
from chat_session.cli.output import ERR, Output, visible
from chat_session.manager import SessionManager
from chat_session.session import check_user_id


def erase_user(
    user: UserId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    json: Json = False,
) -> int:
    """Delete all sessions of a user with their messages, and the user's state.

    It cannot be undone: run export --user USER before, if the data may be needed. It may be repeated, also after it
    was stopped. Unless --yes is given it asks on standard error and reads the answer, y or yes, from standard input;
    any other answer ends it with exit code 2. With --json: `{"success": FOUND, "userId": USER, "sessions": COUNT,
    "stateEntries": COUNT}`.
    """
    user = check_user_id(user)
    if not yes and not _is_confirmed(user):
        ERR.print(visible("Nothing was erased."))
        return USAGE

    async def work(manager: SessionManager) -> int:
        erased = await manager.erase_user(user)
        found = f"sessions: {erased.sessions}, entries of state: {erased.state_entries}"
        Output(json).answer(erased.to_dict(), visible(f"Erased of the user '{user}': {found}."))
        return 0

    return run_on_store(url, work)


def _is_confirmed(user: str) -> bool:
    question = f"Erase all sessions and the state of the user '{user}'? This cannot be undone. [y/N] "
    ERR.print(visible(question), end="", soft_wrap=True)
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except (KeyboardInterrupt, UnicodeDecodeError):
        return False
